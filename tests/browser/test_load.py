"""A capacity search in a real browser, from the button to the answer and its charts."""

from __future__ import annotations

import pytest

from tests.browser.test_app import Visitor, visitor

__all__ = ["visitor"]


@pytest.mark.timeout(180)
def test_a_capacity_search_shows_progress_and_its_answer(visitor: Visitor) -> None:
    visitor.open("capacity?scenario=financial-sentiment&lang=en")
    visitor.sees("Ready to search", timeout=60_000)
    visitor.press("Find the fewest replicas")
    visitor.sees("Cancel")
    visitor.sees("Fewest replicas", timeout=120_000)
    visitor.settle()
    visitor.sees("Held back by", timeout=60_000)
    visitor.page.locator(".js-plotly-plot").first.wait_for(timeout=30_000)
    visitor.page.get_by_role("tab", name="Percentiles").click()
    visitor.sees("time to first token")
    assert visitor.page.get_by_role("button", name="Answered").is_disabled()
    visitor.page.get_by_role("tab", name="Failures and heat").click()
    visitor.sees("Replicas that fail")
    visitor.press("Simulate the event")
    visitor.sees("Requests that arrive meanwhile", timeout=60_000)

"""The real app in a real browser: what a first-time user does, in one pass each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Server

SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
OWN = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "about:")


class Visitor:
    """One browser tab that notes every request to anywhere but the app."""

    def __init__(self, browser: Any, server: Server, folder: Path) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
        self.page = self.context.new_page()
        self.server, self.folder = server, folder
        self.strangers: list[str] = []
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith(OWN):
            self.strangers.append(request.url)

    def open(self, path: str = "") -> None:
        self.page.goto(f"{self.server.url}/{path}")
        self.page.wait_for_selector("h1", timeout=30_000)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector(SETTLED, timeout=30_000)

    def sees(self, text: str, *, timeout: float = 15_000) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=timeout)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def key(self, name: str) -> Any:
        """The element of a widget or container by its key."""
        return self.page.locator(f".st-key-{re.sub(r'[^a-zA-Z0-9_-]', '-', name)}")


@pytest.fixture
def visitor(browser: Any, server: Server, tmp_path: Path) -> Iterator[Visitor]:
    one = Visitor(browser, server, tmp_path)
    yield one
    strangers = one.strangers
    one.context.close()
    assert strangers == []


def test_the_server_answers_within_two_seconds(server: Server) -> None:
    """Twice that is allowed here: other tests may be using the processor."""
    assert server.start_s < 4.0


def test_the_first_page_has_an_address_of_its_own(visitor: Visitor) -> None:
    visitor.open("advise")
    visitor.sees("Medical record drafting on premises")
    assert visitor.page.get_by_text("Page not found").count() == 0
    assert visitor.page.get_by_role("link", name="Advise").count() == 1
    visitor.press("Find configurations")
    visitor.page.wait_for_url("**/plans?**", timeout=30_000)


def test_from_a_scenario_to_an_exported_plan(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.get_by_text("Medical record drafting on premises").click()
    visitor.sees("Doctors dictate notes")
    visitor.press("Find configurations")
    visitor.page.wait_for_url("**/plans?scenario=medical-records", timeout=30_000)
    visitor.sees("meet every limit")
    visitor.settle()

    visitor.key("plans.pick.cheapest").get_by_role("button").click()
    visitor.settle()
    card = visitor.key("plan-detail")
    card.get_by_text("Does it fit?").wait_for(timeout=15_000)
    card.locator(".js-plotly-plot .barlayer .bars").first.wait_for(timeout=15_000)
    legend = card.locator(".legendtext").all_text_contents()
    assert {"Weights", "Cache", "Engine overhead", "Free"} <= set(legend)

    visitor.page.get_by_role("link", name="Report").click()
    visitor.sees("Preview")
    with visitor.page.expect_download(timeout=30_000) as waiting:
        visitor.key("report.html").get_by_role("button").click()
    html = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert waiting.value.suggested_filename == "fathom-medical-records-en.html"
    assert "Medical record drafting on premises" in html
    assert "<svg" in html


def test_the_language_changes_everywhere_and_keeps_the_scenario(visitor: Visitor) -> None:
    visitor.open("plans?scenario=mathematics-tutoring")
    visitor.sees("Mathematics tutoring")
    visitor.page.get_by_text("中文", exact=True).click()
    visitor.page.get_by_role("heading", name="方案", exact=True).wait_for(timeout=15_000)
    visitor.settle()
    chrome = visitor.page.locator('[data-testid="stSidebar"]').inner_text()
    assert "决策路径" in chrome
    assert "Plans" not in chrome
    visitor.page.get_by_role("link", name="决策路径").click()
    visitor.page.get_by_role("heading", name="决策路径", exact=True).wait_for(timeout=15_000)
    visitor.page.locator('[data-testid="stMain"]').get_by_text("数学").first.wait_for(timeout=15_000)


def test_a_probe_is_watched_survives_a_reload_and_is_cancelled(visitor: Visitor) -> None:
    visitor.open("machine")
    visitor.press("Load and measure")
    card = visitor.key("probe-card")
    card.get_by_text("running", exact=True).wait_for(timeout=15_000)
    visitor.open("machine")  # a reload is a new session: the probe must still be there
    card.get_by_text("running", exact=True).wait_for(timeout=15_000)
    visitor.key("probe.cancel").get_by_role("button").click()
    card.get_by_text("cancelled", exact=True).wait_for(timeout=15_000)
    from playwright.sync_api import expect

    start = visitor.key("probe.start").get_by_role("button")
    expect(start).to_be_enabled(timeout=15_000)  # as soon as the process has ended


@pytest.mark.timeout(600)
def test_a_small_probe_runs_to_its_end_and_enters_the_history(visitor: Visitor) -> None:
    visitor.open("machine")
    visitor.page.get_by_label("Model").first.click()
    visitor.page.get_by_role("option", name="DeepSeek Coder 1.3B Instruct").click()
    visitor.settle()
    visitor.page.get_by_text("Quick run").click()
    visitor.settle()
    visitor.press("Load and measure")
    card = visitor.key("probe-card")
    ended = re.compile(r"^(done|not believable|not started|cancelled|ended early|failed|out of memory|took too long)$")
    card.get_by_text(ended).first.wait_for(timeout=480_000)  # compiles kernels first, beside other tests
    assert card.get_by_text("done", exact=True).count() == 1, card.inner_text()
    card.get_by_text("Decode (tok/s)").first.wait_for(timeout=5_000)
    visitor.sees("Download all measurements")


@pytest.mark.parametrize("page", ["", "plans", "decision", "report", "machine", "matrix", "catalogue"])
def test_no_page_breaks_or_asks_the_network(visitor: Visitor, page: str) -> None:
    visitor.open(page)
    assert visitor.page.locator('[data-testid="stException"]').count() == 0


def test_a_damaged_link_says_so_and_keeps_the_page(visitor: Visitor) -> None:
    visitor.open("?s=eNqrVkrOz0")
    visitor.sees("The link is damaged")
    visitor.sees("Find configurations")


def test_a_form_with_zero_tokens_gets_one_message(visitor: Visitor) -> None:
    visitor.open()
    field = visitor.page.get_by_role("spinbutton", name="Input tokens per request")
    field.fill("0")
    field.press("Enter")
    visitor.sees("input_tokens")
    visitor.sees("greater than or equal to 1")
    assert visitor.page.get_by_role("button", name="Find configurations").is_disabled()
    field.fill("500")
    field.press("Enter")
    visitor.settle()
    visitor.page.get_by_role("button", name="Find configurations").wait_for()


def test_a_fifty_megabyte_upload_is_refused_in_one_line(visitor: Visitor) -> None:
    big = visitor.folder / "config.json"
    with big.open("wb") as file:
        file.truncate(50 * 2**20)
    visitor.open("catalogue")
    visitor.page.get_by_role("tab", name="Your own model").click()
    field = visitor.key("own.upload").locator("input[type=file]")
    field.wait_for(state="attached", timeout=15_000)
    field.set_input_files(big)
    visitor.sees("1.0MB or smaller")
    visitor.sees("No model yet")

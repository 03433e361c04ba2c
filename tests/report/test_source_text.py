"""Sources of numbers in the reader's language."""

from __future__ import annotations

import pytest

from advisor.catalog import load_catalog
from advisor.decision.recommend import recommend
from advisor.decision.scenarios import load_scenarios
from advisor.report.rows import quantities
from advisor.report.source_text import source_text

RENT = "2 x 1.5 / h x 730 h x 1; rent per hour, 7 published, 2025-01-02 to 2026-03-04"


def test_own_phrases_are_translated_and_formulas_stay() -> None:
    assert source_text("closed form on the step model", "zh") == "步时模型上的闭式解"
    assert source_text(RENT, "zh") == "2 x 1.5 / h x 730 h x 1; 每小时租价，7 个公开报价，2025-01-02 至 2026-03-04"
    assert source_text("a title; nobody translates it", "zh") == "a title; nobody translates it"


def test_english_stays_as_it_is() -> None:
    assert source_text(RENT, "en") == RENT


@pytest.mark.parametrize("name", ["customer-service", "cpu-office", "mobile-question-answering"])
def test_no_source_of_a_latency_or_price_stays_english(name: str) -> None:
    catalog = load_catalog()
    for candidate in recommend(load_scenarios(catalog)[name], catalog).candidates:
        known = [q for q in quantities(candidate).values() if q is not None]
        left = [source_text(q.source, "zh") for q in known]
        assert not [text for text in left if "step model" in text or "published" in text or "owned" in text]

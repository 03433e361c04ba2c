"""Numbers for people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog.quantity import Basis, Quantity
from advisor.report.numbers import bytes_text, gib_text, interval_text, latency_text, money_text, number, value_text
from advisor.report.svg_axis import decades, ticks


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(84.9, "84.9 ms"), (999, "999 ms"), (999.9, "1 s"), (1234, "1.23 s"), (160_000, "160 s")]
)
def test_latency_from_a_second_on_is_in_seconds(milliseconds: float, text: str) -> None:
    assert latency_text(milliseconds) == text
    assert value_text(Quantity(milliseconds, milliseconds, milliseconds, Basis.EXACT), "ms") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123, "0.0123"),
        (1.5, "1.5"),
        (42, "42"),
        (999.6, "1,000"),
        (1234, "1,234"),
        (9999, "9,999"),
        (12_340, "12.3k"),
        (999_960, "1M"),
        (4_560_000, "4.56M"),
        (-12_340, "-12.3k"),
        (math.inf, "∞"),
        (math.nan, "–"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(1e-9, 1e14))
def test_number_is_right_to_three_digits(value: float) -> None:
    text = number(value).replace(",", "")
    scale = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    shown = float(text.rstrip("kMGT")) * scale
    assert shown == pytest.approx(value, rel=0.0051)


def test_bytes() -> None:
    assert bytes_text(673_100_000_000) == "673 GB"
    assert gib_text(80 * 2**30) == "80 GiB"
    assert gib_text(1536 * 2**30) == "1.5 TiB"
    assert bytes_text(512) == "512 B"


def test_money() -> None:
    assert money_text(1_200_000) == "$1.2M"
    assert money_text(-0.12) == "-$0.12"


def test_interval() -> None:
    assert interval_text(Quantity(40, 35, 48, Basis.ESTIMATED), "tok/s") == "35–48 tok/s"
    assert interval_text(Quantity.exact(40), "GiB") == "40 GiB"


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6))
def test_ticks_lie_inside_and_are_few(low: float, span: float) -> None:
    values = [value for value, _ in ticks([low, low + span])]
    assert all(low - 1e-9 * span <= value <= low + span * (1 + 1e-9) for value in values)
    assert len(values) <= 7


def test_decades() -> None:
    assert [text for _, text in decades([3, 4000])] == ["10", "100", "1,000"]
    assert [text for _, text in decades([3, 40])] == ["5", "10", "20"]
    assert [text for _, text in decades([7000, 9000])] == ["7,000", "7,500", "8,000", "8,500", "9,000"]

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog.errors import InputError
from advisor.catalog.units import (
    format_bytes,
    format_count,
    format_ops,
    format_rate,
    format_seconds,
    format_usd,
    parse_bytes,
    parse_count,
)


@pytest.mark.parametrize(
    ("size", "decimal", "binary"),
    [
        (673_149_554_089, "673.1 GB", "626.9 GiB"),
        (80 * 2**30, "85.9 GB", "80.0 GiB"),
        (999_999, "1.0 MB", "976.6 KiB"),
        (512, "512 B", "512 B"),
        (0, "0 B", "0 B"),
    ],
)
def test_bytes_are_written_in_either_system(size: int, decimal: str, binary: str) -> None:
    assert format_bytes(size) == decimal
    assert format_bytes(size, binary=True) == binary


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GB", 80 * 10**9), ("80 GiB", 80 * 2**30), ("79.6gib", round(79.6 * 2**30)), ("512", 512), (".5k", 500)],
)
def test_sizes_are_read_as_written(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "80 GBps", "1iB", "nan", "9" * 41, "9999999 PB"])
def test_bad_sizes_name_the_field(text: str) -> None:
    with pytest.raises(InputError, match="memory: expected a size"):
        parse_bytes(text, "memory")


@pytest.mark.parametrize(
    ("text", "count"), [("32K", 32_000), ("8192", 8192), ("1.5b", 1_500_000_000), ("2T", 2 * 10**12)]
)
def test_counts_are_read_as_written(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "K", "-5", "1,000", "12Q", "9" * 30])
def test_bad_counts_name_the_field(text: str) -> None:
    with pytest.raises(InputError, match="users: expected a number"):
        parse_count(text, "users")


@given(size=st.integers(0, 10**17), binary=st.booleans())
def test_written_bytes_read_back_within_the_digits_shown(size: int, binary: bool) -> None:
    back = parse_bytes(format_bytes(size, binary=binary, digits=3))
    assert abs(back - size) <= max(1, size * 1e-3)


@given(count=st.integers(0, 10**15))
def test_written_counts_read_back_within_the_digits_shown(count: int) -> None:
    assert abs(parse_count(format_count(count, digits=3)) - count) <= max(1, count * 1e-3)


@given(size=st.integers(1, 10**17), binary=st.booleans())
def test_the_unit_is_the_largest_that_keeps_at_least_one(size: int, binary: bool) -> None:
    text = format_bytes(size, binary=binary)
    number, _, unit = text.partition(" ")
    assert 1 <= float(number) < (1024 if binary else 1000)
    assert ("i" in unit) == (binary and size >= 1024)


def test_rates_and_times_carry_their_units() -> None:
    assert format_rate(3.35e12) == "3.4 TB/s"
    assert format_ops(9.894e14) == "989.4 TFLOPS"
    assert format_ops(1.9789e15, integer=True) == "1,978.9 TOPS"
    assert [format_seconds(s) for s in (2e-5, 0.0213, 3.5, 600, 9000, 400_000)] == [
        "20.0 µs", "21.3 ms", "3.5 s", "10.0 min", "2.5 h", "4.6 d",
    ]  # fmt: skip


@pytest.mark.parametrize(("usd", "text"), [(1_234_567, "$1,234,567"), (3.87, "$3.87"), (0.0123456, "$0.0123")])
def test_dollars_keep_meaningful_digits(usd: float, text: str) -> None:
    assert format_usd(usd) == text
    assert re.match(r"^\$", text)

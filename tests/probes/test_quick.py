"""The first figure of memory, on a machine whose cores others use at first."""

from __future__ import annotations

import math

import pytest

from probes import quick

WAITED, WORKED = 0.0, math.inf


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each reader says of its core, one after the other; the last one for all that follow."""
    said: list[float] = []
    monkeypatch.setattr(quick, "BLOCK_BYTES", 2**10)
    monkeypatch.setattr(quick, "_read", lambda _block: said.pop(0) if len(said) > 1 else said[0])
    return said


def test_rounds_that_waited_for_their_core_do_not_count(readers: list[float]) -> None:
    readers += [WAITED] * 50 + [WORKED] * quick.ROUNDS + [0.25, 0.75]
    assert quick.quick_bandwidth.__wrapped__(1, 60.0) > 0
    assert readers == [0.25, 0.75]  # it ended as soon as enough rounds were alone


def test_one_reader_that_waited_spoils_its_round(readers: list[float]) -> None:
    readers += [WAITED, WORKED] * 10 + [WORKED, WORKED] * quick.ROUNDS + [0.25, 0.75]
    assert quick.quick_bandwidth.__wrapped__(2, 60.0) > 0
    assert readers == [0.25, 0.75]


def test_a_machine_that_stays_busy_is_not_waited_for(readers: list[float]) -> None:
    readers += [WAITED]
    assert quick.quick_bandwidth.__wrapped__(1, 0.02) > 0


def test_a_real_reader_counts_the_time_of_its_core() -> None:
    assert 1e8 < quick.quick_bandwidth.__wrapped__(1, 0.1) < 1e13

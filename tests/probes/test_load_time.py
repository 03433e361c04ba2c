"""Seconds of a load before it: from the machine's earlier loads, with an interval that the kept series bear out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis, Quantity
from advisor.evidence.own_truth import PROBES_FOLDER, kept_results
from probes import load_time
from probes.engines.block import POOL_ELEMENTS
from probes.load_time import VIRTUAL_SPREAD, foreseen_load
from probes.quick import LoadRates, quick_load
from probes.result import Measured, ProbeResult, State
from probes.spec import EngineName, ProbeSpec

RATES = LoadRates(normals_per_s=50e6, first_writes_bytes_per_s=1e9)
POOL_S = POOL_ELEMENTS / 50e6


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    monkeypatch.setattr(load_time, "quick_load", lambda: RATES)


@pytest.fixture(scope="module")
def spec() -> ProbeSpec:
    variant_id = "deepseek-r1-distill-qwen-1.5b"
    return ProbeSpec(variant_id, "bf16", load_catalog().variant(variant_id).architecture)


def loaded(spec: ProbeSpec, tensor_bytes: int, seconds: float) -> ProbeResult:
    return ProbeResult(
        "a", spec, State.DONE, "here", "2026-11-22T00:00:00+00:00", 1.0, load_s=Measured.of([seconds]),
        tensor_bytes=tensor_bytes,
    )  # fmt: skip


def foreseen(tensor_bytes: int, *earlier: ProbeResult, virtual: bool = True) -> Quantity:
    return foreseen_load(tensor_bytes, earlier, EngineName.TORCH, virtual=virtual)


def test_the_machine_is_asked_for_both_rates():
    rates = quick_load()
    assert 1e5 < rates.normals_per_s < 1e11
    assert 1e7 < rates.first_writes_bytes_per_s < 1e12
    assert quick_load() is rates


def test_a_small_model_is_mostly_its_random_pool():
    """4.2 million random numbers at 50 million per second, then 4 MB at 1 GB/s: bytes alone would say 4 ms."""
    said = foreseen(4_000_000)
    assert said.value == pytest.approx(POOL_S + 0.004)
    assert said.basis is Basis.ESTIMATED


def test_before_the_first_load_a_virtual_machine_may_be_ten_times_as_slow():
    said, own = foreseen(10**9), foreseen(10**9, virtual=False)
    assert said.high == pytest.approx(10 * said.value)
    assert own.high == pytest.approx(3 * own.value)


def test_an_earlier_load_teaches_the_rate_without_the_pool(spec):
    """0.084 s of pool and 0.5 GB/s: a model a hundred times as large is not a hundred times the pool."""
    said = foreseen(10**9, loaded(spec, 10_000_000, POOL_S + 0.02))
    assert said.value == pytest.approx(POOL_S + 2.0)
    assert said.basis is Basis.CALIBRATED


def test_more_loads_narrow_the_interval_to_what_one_load_differs_by(spec):
    """One before it: by the spread of two loads; many: by that of one."""
    one = loaded(spec, 10**9, POOL_S + 1.0)
    first, later = foreseen(10**9, one), foreseen(10**9, *[one] * 15)
    assert math.log(first.high / first.value) == pytest.approx(VIRTUAL_SPREAD * math.sqrt(2))
    assert math.log(later.high / later.value) == pytest.approx(VIRTUAL_SPREAD * math.sqrt(16 / 15))


def test_where_pages_are_the_machines_own_loads_differ_less(spec):
    one = loaded(spec, 10**9, POOL_S + 1.0)
    said, own = foreseen(10**9, one), foreseen(10**9, one, virtual=False)
    assert own.low > said.low
    assert own.high < said.high


def test_loads_that_differ_more_here_widen_the_interval(spec):
    """1, 8 and 1 s, then 1, 1 and 1 s: the rates' standard deviation is ln 8 / sqrt 3."""
    steady = [loaded(spec, 10**9, POOL_S + 1.0)] * 3
    unsteady = [steady[0], loaded(spec, 10**9, POOL_S + 8.0), steady[0]]
    said = foreseen(10**9, *unsteady)
    assert math.log(said.high / said.value) == pytest.approx(1.645 * math.log(8) / math.sqrt(3) * math.sqrt(4 / 3))
    assert foreseen(10**9, *steady).high < said.high


def test_a_failed_load_teaches_nothing(spec):
    failed = replace(loaded(spec, 10**9, 60.0), state=State.FAILED)
    assert foreseen(10**9, failed) == foreseen(10**9)


def kept_loads() -> Iterator[tuple[ProbeResult, list[ProbeResult]]]:
    """Each load of the kept series of processors that had one before it, and those before it, newest first."""
    for path in sorted((PROBES_FOLDER / "cpu").glob("*.json")):
        runs = sorted(kept_results(path), key=lambda r: r.started_at)
        loads = [r for r in runs if r.is_valid and r.load_s and r.tensor_bytes and r.spec.engine is EngineName.TORCH]
        for n in range(1, len(loads)):
            yield loads[n], loads[n - 1 :: -1]


def test_four_of_five_kept_loads_lie_within():
    """Stated are 90 %; the distances are not normal (a load into memory just freed is three times as fast)."""
    inside = []
    for run, earlier in kept_loads():
        said = foreseen(run.tensor_bytes, *earlier)
        inside.append(said.low <= run.load_s.value <= said.high)
    assert len(inside) > 100
    assert sum(inside) / len(inside) > 0.8

"""The rules on figures: what cannot be true is invalid, what is true of a kernel or of a bad moment only is said."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from probes.extrapolation import Extrapolated
from probes.kinds.full import decode_flags, prefill_flags
from probes.kinds.machine import _is_noisy
from probes.kinds.slices import _decode
from probes.kinds.slices import _flags as _slice_flags
from probes.kinds.sustained import _flags
from probes.layers import LayerCount
from probes.measure import DecodeRounds
from probes.result import Conditions, Measured, Point, ProbeResult, State
from probes.spec import LoadTarget, ProbeSpec
from probes.traffic import Account
from tests.jobs.test_registry import TINY

BEST = 20e9  # bytes per second that memory was read at
GIB = 2**30


def session(*, warnings: tuple[str, ...] = (), gemm: float = 1e12) -> SimpleNamespace:
    spec = ProbeSpec("tiny", "bf16", TINY)
    points = [Point("gemm", {}, {"ops_per_s": Measured.of([gemm])}, "bf16")]
    return SimpleNamespace(
        device=SimpleNamespace(type="cpu"), cache_bytes=8 * 2**20, spec=spec, reporter=SimpleNamespace(points=points),
        best_read=lambda: Measured.of([BEST]), conditions=lambda: Conditions(warnings=warnings),
    )  # fmt: skip


def flags(
    rate: float, *, tensor_bytes: int = GIB, steps: tuple[float, ...] = (), best_round: float = 1.0, **state: object
) -> list[str]:
    """Of a model that reads `rate` bytes per second while it decodes, in one round `best_round` times as much."""
    step = GIB / rate
    rounds = DecodeRounds(steps or (step,) * 8, (step, step, step / best_round), (BEST,), GIB)
    return decode_flags(session(**state), SimpleNamespace(tensor_bytes=tensor_bytes), rounds, Measured.of([BEST]))


def test_a_model_cannot_read_faster_than_memory() -> None:
    assert flags(1.2 * BEST) == ["invalid_faster_than_memory"]
    assert flags(1.05 * BEST) == []  # within what two readings differ by
    assert flags(3 * BEST, tensor_bytes=2**20) == ["fits_in_cache"]  # which is another matter


def test_one_round_in_a_good_moment_of_memory_is_believed() -> None:
    assert flags(0.95 * BEST, best_round=1.3) == []


def test_one_visit_of_a_slice_in_a_good_moment_does_not_say_how_fast_it_reads() -> None:
    engine = Layers(per_layer_s=0.1)
    canaries: list[float] = []
    reporter = SimpleNamespace(phase=lambda *_: None, point=lambda *_: None)
    spec = ProbeSpec("tiny", "bf16", TINY, prompt_tokens=(16,))
    here = SimpleNamespace(spec=spec, reporter=reporter, canary=lambda: lambda: canaries.append(BEST))
    step, usual_read = _decode(here, engine, (LayerCount(1, 0), LayerCount(2, 0)), LayerCount(4, 0))
    assert engine.visits > 8
    assert canaries
    assert step.value == pytest.approx(0.4)
    assert usual_read == pytest.approx(GIB / 0.1)


class Layers:
    """Each layer reads a GiB in the same time, but for one visit, which is three times as fast."""

    def __init__(self, per_layer_s: float) -> None:
        self.per_layer_s, self.visits, self.count = per_layer_s, 0, LayerCount(0, 0)

    def use(self, count: LayerCount) -> None:
        self.count = count

    def decode(self, context_tokens: int, batch: int, steps: int) -> list[float]:
        self.visits += 1
        return [self.count.dense * self.per_layer_s / (3 if self.visits == 7 else 1)] * steps

    def read_bytes(self, context_tokens: int, batch: int) -> int:
        return self.count.dense * GIB


def test_a_slow_kernel_is_told_from_a_slow_moment() -> None:
    assert flags(0.45 * BEST) == ["slow_decode_kernel"]
    assert flags(0.55 * BEST) == []
    assert flags(0.45 * BEST, warnings=("foreign_load",)) == []  # others slow a step more than a plain reading
    assert flags(0.25 * BEST, warnings=("foreign_load",)) == ["slow_decode_kernel"]


def test_scattered_steps_are_noisy() -> None:
    step = GIB / (0.9 * BEST)
    assert flags(0.9 * BEST, steps=(step, step, step, 1.6 * step, 1.6 * step)) == ["noisy"]


def test_a_machine_whose_readings_scatter_is_noisy() -> None:
    steady, shaky = Measured(10e9, 9e9, 11.4e9, 5), Measured(10e9, 8e9, 10.6e9, 5)  # spread by 24 and by 26 %
    assert not _is_noisy(steady, [steady])
    assert not _is_noisy(steady, [])
    assert _is_noisy(shaky, [steady])
    assert _is_noisy(steady, [steady, shaky])


def test_products_under_a_quarter_of_the_machine_are_a_slow_kernel() -> None:
    run = ProbeResult("p", ProbeSpec("tiny", "bf16", TINY), State.DONE, "f", "", 1.0, prefill_tok_s=Measured.of([1e4]))
    reached = _operations(1e4)
    assert prefill_flags(session(gemm=5 * reached), run) == ["slow_prefill_kernel"]
    assert prefill_flags(session(gemm=3 * reached), run) == []
    assert prefill_flags(session(gemm=5 * reached, warnings=("foreign_load",)), run) == []


def _operations(tok_s: float) -> float:
    """By hand: two layers of (q 128x128, k and v 128x64 each, o 128x128, three of 128x256) and a head of 128x512."""
    layer = 128 * 128 + 2 * 128 * 64 + 128 * 128 + 3 * 128 * 256
    return 2 * (2 * layer + 128 * 512) * tok_s


def test_a_slice_says_when_it_is_unsure_or_was_disturbed() -> None:
    sure = Extrapolated(1.0, 0.95, 1.05, noise=0.07, rounds=8, left_out=2)
    assert _slice_flags(sure) == ["extrapolated"]
    assert _slice_flags(replace(sure, noise=0.071)) == ["extrapolated", "slice_unsure"]
    assert _slice_flags(replace(sure, left_out=3)) == ["extrapolated", "contaminated_slice"]


def test_a_queue_that_grows_is_saturated_and_memory_that_grows_a_leak() -> None:
    """A slope of 1 GB per hour over an hour with 4 GB in use; limit 2 s at 10 requests per second: 20 may wait."""
    target = LoadTarget(10.0, 3600.0, 8, ttft_limit_ms=2000.0)
    leak, flat = ([(60.0 * n, 3e9 + n * rise / 60) for n in range(61)] for rise in (1e9, 0.0))
    whole = Account(target, finished=500)
    assert _flags(leak, 21, whole) == ["saturated", "memory_grows"]
    assert _flags(flat, 20, whole) == []
    assert _flags(leak, 20, Account(target, finished=4)) == ["memory_undecided"]

"""What a sweep measures at a position: prompts as far as they end in time, slow kernels by name, threads that exist."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from advisor.catalog import load_catalog
from probes.foresee import foresee
from probes.kinds.sweep import _measure, _prompt
from probes.machine import detect
from probes.measure import Reporter
from probes.need import need_of
from probes.process import Identity, ProbeProcess
from probes.result import Conditions, Measured, State
from probes.spec import Kind, ProbeSpec, SweepAxis, SweepLimit

BEST = 20e9  # bytes per second that memory was read at
GIB = 2**30


class Played:
    """An engine whose step reads a GiB at `rate`, and whose prompts take 10 ms a token."""

    tensor_bytes = GIB

    def __init__(self, rate: float = BEST) -> None:
        self.step_s, self.prompts = GIB / rate, []

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        return [self.step_s] * steps

    def prefill(self, tokens: int, slot: int = 0) -> float:
        self.prompts.append(tokens)
        return 0.01 * tokens

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        return GIB


@pytest.fixture
def session(spec) -> SimpleNamespace:
    reporter = Reporter(lambda *_: None, lambda _: None)
    return SimpleNamespace(
        device=SimpleNamespace(type="cpu"), cache_bytes=8 * 2**20, spec=spec, reporter=reporter,
        best_read=lambda: Measured.of([BEST]), conditions=Conditions, canary=lambda: lambda: BEST,
        reached=lambda rate: None, multiply=lambda: None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "rate", "is_slow"),
    [(SweepAxis.FORMAT, 0.4 * BEST, True), (SweepAxis.FORMAT, 0.8 * BEST, False), (SweepAxis.BATCH, 0.4 * BEST, False)],
)
def test_a_slow_kernel_does_not_pass_as_the_speed_of_its_format(session, axis, rate, is_slow):
    _measure(session, Played(rate), axis, 1, Measured.of([BEST]))
    (point,) = session.reporter.points
    assert ("slow_kernel" in point.values) is is_slow
    assert point.label == "bf16"


def test_prompts_are_processed_until_one_would_take_a_minute(session):
    """10 ms a token: 4096 tokens take 41 s, 8192 would take 82."""
    engine, found = Played(), []
    for tokens in (512, 4096, 8192, 16_384):
        found.append(_prompt(session, engine, tokens, found))
    assert [one.is_measured for one in found] == [True, True, False, False]
    assert max(engine.prompts) == 4096
    points = {p.at["prompt_tokens"]: p.values for p in session.reporter.points}
    assert set(points) == {512, 4096}
    assert points[4096]["prefill_tok_s"].value == pytest.approx(100.0)
    assert points[4096]["ttft_ms"].value == pytest.approx(40_960.0)


def test_a_first_prompt_that_is_too_long_is_not_tried(session):
    engine = Played()
    assert not _prompt(session, engine, 100_000, []).is_measured
    assert engine.prompts == [128, 128]


def test_memory_for_the_prompts_of_a_context_sweep_is_counted(spec):
    sweep = replace(spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.CONTEXT, sweep_values=(16, 4096))
    shallow = replace(sweep, sweep_values=(16,))
    assert sweep.longest_prompt == 4096
    prompt = need_of(replace(shallow, prompt_tokens=(4096,)))
    assert need_of(shallow).activation_bytes < prompt.activation_bytes == need_of(sweep).activation_bytes
    assert need_of(shallow).scratch_bytes < prompt.scratch_bytes == need_of(sweep).scratch_bytes


@pytest.mark.probe
def test_a_real_sweep_of_threads_uses_those_that_exist(spec, tiny):
    catalog, machine = load_catalog(), detect()
    small = replace(catalog.variant("deepseek-r1-distill-qwen-1.5b"), id="tiny", architecture=tiny)
    catalog = replace(catalog, variants={"tiny": small})
    beyond = machine.cpu.threads + 1
    wanted: ProbeSpec = replace(spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.THREADS, sweep_values=(1, beyond))
    foreseen = foresee(wanted, machine, catalog)
    assert foreseen.runs is not None
    found = ProbeProcess(foreseen.runs, Identity("p1", "f1", "box", foreseen.prediction)).result()
    assert found.state is State.DONE, found.error
    assert [p.at["threads"] for p in found.points if p.name == "decode"] == [1]
    end = found.sweep_end
    assert (end.limit, end.value, end.allowed) == (SweepLimit.THREADS, beyond, machine.cpu.threads)

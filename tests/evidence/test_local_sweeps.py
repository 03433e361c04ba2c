"""What the points of a sweep teach: how decoding slows with depth and with sequences, not only how fast it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis
from advisor.evidence.in_force import with_measurements
from advisor.sizing.tensors import active_params
from probes.foresee import foresee
from probes.need import need_of
from probes.place import place_of
from probes.result import Measured, Point, ProbeResult, State
from probes.spec import Kind, ProbeSpec, SweepAxis

SMALL = "deepseek-r1-distill-qwen-1.5b"
BANDWIDTH, FP32, BF16 = 22e9, 340e9, 2100e9
SHARE, CACHE_SHARE = 0.8, 0.1  # of the bandwidth at which weights are read, and the cache
DEPTHS = (512, 1024, 2048, 4096, 8192)


def sweep_of(catalog, **changes) -> ProbeSpec:
    a = catalog.variant(SMALL).architecture
    values = {"kind": Kind.SWEEP, "sweep_axis": SweepAxis.CONTEXT, "sweep_values": DEPTHS, **changes}
    return ProbeSpec(SMALL, "bf16", a, **values)


def decode_s(spec: ProbeSpec, tokens: int) -> float:
    """28 layers keep 2 x 2 heads of 128 in 16 bit: 28,672 bytes a token."""
    weights = need_of(replace(spec, prompt_tokens=(1,), sweep_axis=None, kind=Kind.FULL)).read_bytes
    return weights / (SHARE * BANDWIDTH) + (tokens + 16) * 28_672 / (CACHE_SHARE * BANDWIDTH)


def measured(value: float, n: int = 20) -> Measured:
    return Measured(value, value * 0.98, value * 1.02, n)


def run_at(catalog, machine, spec: ProbeSpec, depths: tuple[int, ...]) -> ProbeResult:
    """A run that decodes after each depth and processes each as a prompt."""
    prompt_tok_s = 900e9 / (2 * active_params(spec.architecture))
    gemm = [Point("gemm", {}, {"ops_per_s": measured(v, 3)}, n) for n, v in (("fp32", FP32), ("bf16", BF16))]
    decodes = [
        Point("decode", {"context_tokens": n, "batch": 1}, {"decode_tok_s": measured(1 / decode_s(spec, n))}, "bf16")
        for n in depths
    ]
    prompts = [Point("prefill", {"prompt_tokens": n}, {"prefill_tok_s": measured(prompt_tok_s, 3)}) for n in depths]
    return ProbeResult(
        f"run-{len(depths)}", spec, State.DONE, machine.fingerprint, "2026-11-22T00:00:00+00:00", 1.0,
        decode_tok_s=decodes[0].values["decode_tok_s"], bandwidth_bytes_per_s=measured(BANDWIDTH),
        points=(*gemm, *decodes, *prompts), place=place_of(spec, machine, catalog),
    )  # fmt: skip


def foreseen_at(catalog, machine, history: list[ProbeResult], tokens: int):
    known = with_measurements(catalog, history, machine)
    said = foresee(sweep_of(catalog, sweep_values=(tokens,)), machine, known, history).prediction
    return said.points[-1].values["decode_tok_s"]


def test_depths_teach_how_fast_the_cache_is_read(catalog, machine):
    """Cached tokens at a tenth of the bandwidth: a step after 6,144 takes half again as long as after 512. One depth
    cannot tell, five can.
    """
    full = replace(sweep_of(catalog), kind=Kind.FULL, sweep_axis=None, sweep_values=(), prompt_tokens=(512,))
    true = 1 / decode_s(full, 6144)
    one = foreseen_at(catalog, machine, [run_at(catalog, machine, full, (512,))], 6144)
    five = foreseen_at(catalog, machine, [run_at(catalog, machine, sweep_of(catalog), DEPTHS)], 6144)
    assert one.value > 1.1 * true
    assert five.value == pytest.approx(true, rel=0.05)
    assert five.low < true < five.high


def test_one_depth_does_where_attention_was_timed_by_itself(catalog, machine):
    """What 512 cached tokens add to a step of a quarter of the layers, also in a format whose weights are read by other
    kernels.
    """
    full = replace(sweep_of(catalog), kind=Kind.FULL, sweep_axis=None, sweep_values=(), prompt_tokens=(512,))
    run, true = run_at(catalog, machine, full, (512,)), 1 / decode_s(full, 6144)
    adds = 512 * 28_672 / 4 / (CACHE_SHARE * BANDWIDTH)
    timed = Point("attention", {"dense_layers": 7, "moe_layers": 0, "context_tokens": 512},
                  {"attention_ms": measured(1e3 * adds)})  # fmt: skip
    said = foreseen_at(catalog, machine, [replace(run, points=(*run.points, timed))], 6144)
    assert said.value == pytest.approx(true, rel=0.05)
    assert said.low < true < said.high


def test_a_sweep_that_ended_early_is_measured_as_deep_as_it_went(catalog, machine):
    short = run_at(catalog, machine, sweep_of(catalog), DEPTHS[:3])  # the spec asked for 8,192
    assert foreseen_at(catalog, machine, [short], 2048).basis is Basis.MEASURED
    assert foreseen_at(catalog, machine, [short], 4096).basis is Basis.CALIBRATED

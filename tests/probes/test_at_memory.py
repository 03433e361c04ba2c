"""Decode foreseen for the speed that memory turns out to have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis, Quantity
from advisor.report.memory_text import at_memory_text
from probes.at_memory import SPEEDS, decode_by_memory, foreseen_at_memory
from probes.codec import decode, encode
from probes.foresee import foresee
from probes.place import place_of
from probes.result import Conditions, DecodeAtMemory, Measured, Prediction, ProbeResult, State
from probes.spec import Kind, ProbeSpec, SweepAxis

SMALL = "deepseek-r1-distill-qwen-1.5b"


def spec_of(catalog, **changes) -> ProbeSpec:
    return ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture, **changes)


def run_of(catalog, read: float | None, rate: float = 8.0) -> ProbeResult:
    """Foreseen: 8 tok/s at 20 GB/s, of which half waits for memory on a logarithmic scale."""
    curve = tuple(DecodeAtMemory(share * 20e9, 8.0 * share**0.5) for share in SPEEDS)
    said = Quantity(8.0, 6.0, 10.0, Basis.CALIBRATED)
    return ProbeResult(
        id="one", spec=spec_of(catalog), state=State.DONE, fingerprint="f", started_at="2026-11-26T00:00:00+00:00",
        duration_s=1.0, decode_tok_s=Measured.of([rate]), conditions=Conditions(canary_bytes_per_s=read),
        predicted=Prediction(decode_tok_s=said, decode_by_memory=curve),
    )  # fmt: skip


def test_the_rate_for_the_memory_of_the_run_lies_on_the_curve(catalog):
    read, said = foreseen_at_memory(run_of(catalog, 16.2e9))
    assert read == 16.2e9
    assert said.value == pytest.approx(8.0 * 0.81**0.5)
    assert said.low / said.value == pytest.approx(6 / 8)
    assert said.high / said.value == pytest.approx(10 / 8)
    assert said.basis is Basis.CALIBRATED


@pytest.mark.parametrize("read", [None, 9.9e9, 30.1e9])
def test_nothing_is_said_without_a_reading_or_beyond_the_curve(catalog, read):
    run = run_of(catalog, read)
    assert foreseen_at_memory(run) is None
    assert at_memory_text(run, "en") == ""


def test_runs_stored_before_have_no_curve(catalog):
    run = run_of(catalog, 20e9)
    old = encode(run)
    del old["predicted"]["decode_by_memory"]
    assert foreseen_at_memory(decode(ProbeResult, old)) is None
    assert foreseen_at_memory(decode(ProbeResult, encode(run))) == foreseen_at_memory(run)


def test_foresight_holds_the_curve_and_passes_through_the_headline(catalog, machine):
    spec = spec_of(catalog)
    said = foresee(spec, machine, catalog).prediction
    speeds = [p.bytes_per_s for p in said.decode_by_memory]
    rates = [p.decode_tok_s for p in said.decode_by_memory]
    assert speeds == sorted(speeds)
    assert rates == sorted(rates)
    usual = speeds[SPEEDS.index(1.0)]
    assert rates[SPEEDS.index(1.0)] == pytest.approx(said.decode_tok_s.value, rel=1e-6)
    place = place_of(spec, machine, catalog)
    assert usual == pytest.approx(
        place.host.measured_bandwidth_bytes_per_s or place.host.memory_bandwidth_bytes_per_s, rel=0.5
    )  # timed anew each time


def test_accelerators_and_sweeps_have_no_curve(catalog, machine):
    spec = spec_of(catalog)
    here = place_of(spec, machine, catalog)
    assert decode_by_memory(spec, here, catalog, None)
    assert decode_by_memory(spec, replace(here, device_id="h100-sxm", on_accelerator=True), catalog, None) == ()
    sweep = replace(spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2))
    assert decode_by_memory(sweep, here, catalog, None) == ()


@pytest.mark.parametrize(
    ("language", "words"), [("en", "memory was read at 16.2 GB/s"), ("zh", "内存的读取速度为 16.2 GB/s")]
)
def test_the_sentence_names_speed_foreseen_interval_and_ratio(catalog, language, words):
    text = at_memory_text(run_of(catalog, 16.2e9, rate=7.2), language)
    assert words in text
    assert "7.2 (5.4–9)" in text
    assert " 1 " in text

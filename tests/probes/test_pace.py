"""Rates foreseen for the pace that the machine turns out to have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis, Quantity
from advisor.report.pace_text import at_pace_text
from probes.codec import decode, encode
from probes.foresee import foresee
from probes.pace import SHARES, foreseen_at_pace, rates_by_pace
from probes.pace_curves import PaceCurves, RatesAt
from probes.place import place_of
from probes.result import Conditions, Measured, Prediction, ProbeResult, State
from probes.spec import Kind, ProbeSpec, SweepAxis

SMALL = "deepseek-r1-distill-qwen-1.5b"


def spec_of(catalog, **changes) -> ProbeSpec:
    return ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture, **changes)


def run_of(catalog, read: float | None, products: float | None = None, rate: float = 8.0) -> ProbeResult:
    """Foreseen: 8 tok/s at 20 GB/s and 60 GFLOP/s, of which half waits for memory and a tenth for products, on a
    logarithmic scale; 24 tok/s of the prompt, of which all waits for products.
    """
    curves = PaceCurves(
        tuple(RatesAt(share * 20e9, 8.0 * share**0.5, 24.0) for share in SHARES),
        tuple(RatesAt(share * 60e9, 8.0 * share**0.1, 24.0 * share) for share in SHARES),
    )
    said = {
        "decode_tok_s": Quantity(8.0, 6.0, 10.0, Basis.CALIBRATED),
        "prefill_tok_s": Quantity(24.0, 20.0, 30.0, Basis.CALIBRATED),
    }
    meanwhile = None if products is None else Measured.of([products])
    return ProbeResult(
        id="one", spec=spec_of(catalog), state=State.DONE, fingerprint="f", started_at="2026-11-26T00:00:00+00:00",
        duration_s=1.0, decode_tok_s=Measured.of([rate]), prefill_tok_s=Measured.of([30.0]),
        conditions=Conditions(canary_bytes_per_s=read, product_ops_per_s=meanwhile),
        predicted=Prediction(by_pace=curves, **said),
    )  # fmt: skip


def test_rates_for_the_pace_of_the_run_lie_on_the_curves(catalog):
    found = foreseen_at_pace(run_of(catalog, 16.2e9, 75e9))
    assert (found.memory_bytes_per_s, found.product_ops_per_s) == (16.2e9, 75e9)
    assert found.decode_tok_s.value == pytest.approx(8.0 * 0.81**0.5 * 1.25**0.1)
    assert found.decode_tok_s.low / found.decode_tok_s.value == pytest.approx(6 / 8)
    assert found.decode_tok_s.high / found.decode_tok_s.value == pytest.approx(10 / 8)
    assert found.decode_tok_s.basis is Basis.CALIBRATED
    assert found.prefill_tok_s.value == pytest.approx(24.0 * 1.25)


def test_where_products_were_not_read_memory_alone_counts(catalog):
    found = foreseen_at_pace(run_of(catalog, 16.2e9))
    assert found.product_ops_per_s is None
    assert found.decode_tok_s.value == pytest.approx(8.0 * 0.81**0.5)
    assert found.prefill_tok_s.value == pytest.approx(24.0)


@pytest.mark.parametrize(("read", "products"), [(None, 60e9), (9.9e9, 60e9), (30.1e9, None), (20e9, 91e9)])
def test_nothing_is_said_without_a_reading_or_beyond_the_curves(catalog, read, products):
    run = run_of(catalog, read, products)
    assert foreseen_at_pace(run) is None
    assert at_pace_text(run, "en") == ""


def test_runs_stored_before_have_no_curves(catalog):
    run = run_of(catalog, 20e9, 60e9)
    old = encode(run)
    del old["predicted"]["by_pace"]
    assert foreseen_at_pace(decode(ProbeResult, old)) is None
    assert foreseen_at_pace(decode(ProbeResult, encode(run))) == foreseen_at_pace(run)


def test_foresight_holds_curves_that_pass_through_the_headline(catalog, machine):
    spec = spec_of(catalog)
    said = foresee(spec, machine, catalog).prediction
    usual = SHARES.index(1.0)
    for curve in (said.by_pace.by_memory, said.by_pace.by_products):
        assert [p.speed for p in curve] == sorted(p.speed for p in curve)
        assert [p.decode_tok_s for p in curve] == sorted(p.decode_tok_s for p in curve)
        assert curve[usual].decode_tok_s == pytest.approx(said.decode_tok_s.value, rel=1e-6)
        assert curve[usual].prefill_tok_s == pytest.approx(said.prefill_tok_s.value, rel=1e-6)
    prompts = [p.prefill_tok_s for p in said.by_pace.by_products]
    assert prompts[-1] > 1.4 * prompts[usual]  # prompts wait for products


def test_accelerators_and_sweeps_have_no_curves(catalog, machine):
    spec = spec_of(catalog)
    here = place_of(spec, machine, catalog)
    assert rates_by_pace(spec, here, catalog, None).by_memory
    card = replace(here, device_id="h100-sxm", on_accelerator=True)
    assert rates_by_pace(spec, card, catalog, None) == PaceCurves()
    sweep = replace(spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2))
    assert rates_by_pace(sweep, here, catalog, None) == PaceCurves()


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "memory was read at 16.2 GB/s and the processors multiplied at 60 GFLOP/s"),
     ("zh", "内存的读取速度为 16.2 GB/s，处理器的矩阵乘法速度为 60 GFLOP/s")],
)  # fmt: skip
def test_the_sentences_name_speeds_foreseen_interval_and_ratio(catalog, language, words):
    text = at_pace_text(run_of(catalog, 16.2e9, 60e9, rate=7.2), language)
    assert words in text
    assert "7.2 (5.4–9)" in text
    assert "24 (20–30)" in text
    assert "1.25" in text
    assert "GFLOP" not in at_pace_text(run_of(catalog, 16.2e9), language)

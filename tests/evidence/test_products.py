"""Prompts are set against the products that the machine was capable of while they ran."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.evidence.local_rows import product_changes
from advisor.evidence.observations import runs_of
from probes.place import as_measured, own_products, place_of, usual_products
from probes.result import Conditions, Measured, Point, ProbeResult, State
from probes.spec import ProbeSpec

SMALL = "deepseek-r1-distill-qwen-1.5b"
BEFORE = {"fp32": 60e9, "bf16": 1.2e9}


@pytest.fixture
def run_of(catalog, machine):
    spec = ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture)
    gemm = tuple(Point("gemm", {}, {"ops_per_s": Measured(v, 0.5 * v, v, 3)}, name) for name, v in BEFORE.items())
    prompt = Point("prefill", {"prompt_tokens": 512}, {"prefill_tok_s": Measured.of([22.0])})

    def made(meanwhile: float | None, name: str = "one") -> ProbeResult:
        products = None if meanwhile is None else Measured(meanwhile, 0.95 * meanwhile, 1.05 * meanwhile, 9)
        return ProbeResult(
            name, spec, State.DONE, machine.fingerprint, "2026-11-27T00:00:00+00:00", 1.0, points=(*gemm, prompt),
            prefill_tok_s=Measured.of([22.0]), bandwidth_bytes_per_s=Measured.of([25e9]),
            conditions=Conditions(product_ops_per_s=products), place=place_of(spec, machine, catalog),
        )  # fmt: skip

    return made


def test_products_of_a_run_are_those_between_its_prompts_else_the_best_before(run_of):
    assert own_products(run_of(75e9)) == {"fp32": 75e9, "bf16": 1.2e9}
    assert own_products(run_of(None)) == BEFORE


def test_usual_products_are_the_middle_of_all_runs(run_of, machine):
    history = [run_of(rate) for rate in (80e9, 50e9, None)]
    assert usual_products(machine.fingerprint, history) == BEFORE
    assert usual_products("elsewhere", history) == {}


def test_a_run_on_a_fast_machine_is_set_against_fast_products_of_every_precision(run_of):
    fast = run_of(75e9)
    host = as_measured(fast.place.host, fast, BEFORE)
    assert host.peak_fp32_ops_per_s == pytest.approx(75e9)
    assert host.peak_bf16_ops_per_s == pytest.approx(1.2e9 * 75 / 60)
    plain = as_measured(fast.place.host, run_of(None), BEFORE)
    assert (plain.peak_fp32_ops_per_s, plain.peak_bf16_ops_per_s) == (60e9, 1.2e9)
    card = replace(fast, spec=replace(fast.spec, device="cuda:0"))
    assert as_measured(fast.place.host, card, BEFORE) is fast.place.host


def test_what_prompts_are_set_against_varies_as_it_was_read(run_of, machine, catalog):
    steady, before = (next(runs_of([run_of(rate)], machine, catalog)) for rate in (60e9, None))
    (prompt,), (other,) = ([o for o in run.observations if o.is_prefill] for run in (steady, before))
    assert prompt.disturbed < other.disturbed  # 5 % around the middle, not from half to all of it
    runs = list(runs_of([run_of(60e9), run_of(66e9, "two")], machine, catalog))
    assert product_changes(runs) == pytest.approx(0.0674, abs=1e-3)  # log(66 / 60) / sqrt(2)

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis
from advisor.evidence.local import local_calibrations, local_table, miss_of
from advisor.sizing.efficiency import efficiency_table
from advisor.sizing.size import size
from probes.foresee import foresee, load_of, plan_of
from probes.machine import detect
from probes.result import Measured, ProbeResult, State
from probes.spec import Kind, ProbeSpec

BANDWIDTH = 20e9
SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(scope="module")
def machine():
    return detect()


def spec_of(catalog, variant_id: str, format_id: str = "bf16") -> ProbeSpec:
    return ProbeSpec(variant_id, format_id, catalog.variant(variant_id).architecture, prompt_tokens=(128,))


def run_of(catalog, machine, variant_id: str = SMALL, *, slower: float = 2.0, **changes: object) -> ProbeResult:
    """A measurement that took `slower` times as long as the public prediction says."""
    spec = spec_of(catalog, variant_id)
    public = size(plan_of(spec, machine, catalog, BANDWIDTH), load_of(spec), catalog)
    decode, prefill = public.decode_tok_s.value / slower, public.prefill_tok_s.value / slower
    values: dict[str, object] = {
        "id": "r", "spec": spec, "state": State.DONE, "fingerprint": machine.fingerprint,
        "started_at": "2026-11-22T00:00:00+00:00", "duration_s": 1.0,
        "decode_tok_s": Measured(decode, decode * 0.95, decode * 1.05, 20),
        "prefill_tok_s": Measured(prefill, prefill * 0.95, prefill * 1.05, 3),
        "bandwidth_bytes_per_s": Measured(BANDWIDTH, BANDWIDTH, BANDWIDTH),
    }  # fmt: skip
    return ProbeResult(**{**values, **changes})  # type: ignore[arg-type]


def test_one_run_corrects_the_prediction_for_a_larger_model(catalog, machine):
    history = [run_of(catalog, machine)]
    spec = spec_of(catalog, LARGE)
    public = foresee(spec, machine, catalog, history).prediction
    learned = foresee(spec, machine, catalog, history, local_table(history, machine, catalog)).prediction
    assert public.decode_tok_s is not None
    assert learned.decode_tok_s is not None
    assert learned.decode_tok_s.value == pytest.approx(public.decode_tok_s.value / 2, rel=1e-6)
    assert learned.decode_tok_s.basis is Basis.CALIBRATED
    before = public.decode_tok_s.high / public.decode_tok_s.low
    assert learned.decode_tok_s.high / learned.decode_tok_s.low < before


def test_factor_and_width_by_hand(catalog, machine):
    history = [run_of(catalog, machine, slower=s) for s in (1.8, 2.0, 2.2)]
    (found,) = local_calibrations(history, machine, catalog)
    assert (found.device_id, found.engine_id, found.format_id, found.runs) == ("this-machine", "torch", "bf16", 3)
    assert found.decode_factor == pytest.approx(2.0)
    scatter = 1.645 * 0.10050  # standard deviation of log 1.8, 2.0, 2.2
    inside = math.log(1.05 / 0.95) / 2
    assert found.decode_factor_90 == pytest.approx(math.exp(math.hypot(scatter, inside)), rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.INVALID},
        {"state": State.CANCELLED},
        {"fingerprint": "another machine"},
        {"decode_tok_s": None},
        {"bandwidth_bytes_per_s": None},
        {"flags": ("fits_in_cache",)},
    ],
)
def test_runs_that_teach_nothing(catalog, machine, changes):
    assert local_calibrations([run_of(catalog, machine, **changes)], machine, catalog) == ()


def test_other_formats_kinds_and_unknown_models_are_untouched(catalog, machine):
    run = run_of(catalog, machine)
    sweep = replace(run, spec=replace(run.spec, kind=Kind.SWEEP))
    unknown = replace(run, spec=replace(run.spec, variant_id="no-such-model"))
    assert miss_of(sweep, machine, catalog) is None
    assert miss_of(unknown, machine, catalog) is None
    table = local_table([run], machine, catalog)
    spec = spec_of(catalog, SMALL, "int8-w8a8")
    plan = plan_of(spec, machine, catalog, BANDWIDTH)
    assert size(plan, load_of(spec), catalog, table=table) == size(
        plan, load_of(spec), catalog, table=efficiency_table()
    )


def test_no_history_is_the_public_table(catalog, machine):
    assert local_table([], machine, catalog).local == ()

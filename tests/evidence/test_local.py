"""What own measurements teach: synthetic runs of a machine whose true coefficients are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis, Quantity
from advisor.evidence.in_force import with_measurements
from advisor.evidence.local import first_off, local_calibrations
from advisor.evidence.observations import UNREPEATED, runs_of
from advisor.sizing.columns import PlanColumns
from advisor.sizing.efficiency import efficiency_table, table_for
from advisor.sizing.plan import Load
from advisor.sizing.size import size
from advisor.sizing.tensors import active_params
from probes.foresee import foresee, load_of
from probes.machine import THIS_MACHINE
from probes.need import need_of
from probes.place import place_of, plan_at
from probes.result import Conditions, Measured, Place, Point, Prediction, ProbeResult, State
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

BANDWIDTH, FP32, BF16 = 22e9, 340e9, 2100e9
SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"
SHARES = {"bf16": 0.80, "int8-w8a8": 0.62, "fp32": 0.95}  # of the bandwidth that decoding reaches here
OVERHEAD_S = 5e-3  # of each step, whatever the format
GEMM_OPS_PER_S = {"bf16": 900e9, "int8-w8a8": 1100e9, "fp32": 300e9}


def spec_of(catalog, variant_id: str, format_id: str = "bf16", **changes) -> ProbeSpec:
    values = {"prompt_tokens": (128, 512), **changes}
    return ProbeSpec(variant_id, format_id, catalog.variant(variant_id).architecture, **values)


def measured(value: float, n: int = 20) -> Measured:
    return Measured(value, value * 0.97, value * 1.03, n)


def true_decode_s(spec: ProbeSpec) -> float:
    return need_of(spec).read_bytes / (BANDWIDTH * SHARES[spec.format_id]) + OVERHEAD_S


def true_prefill_tok_s(spec: ProbeSpec, tokens: int = 512) -> float:
    """The weights are read once and every token is multiplied by them."""
    reading = need_of(spec).read_bytes / (BANDWIDTH * SHARES[spec.format_id])
    return tokens / (reading + tokens * 2 * active_params(spec.architecture) / GEMM_OPS_PER_S[spec.format_id])


def run_of(catalog, machine, variant_id: str = SMALL, format_id: str = "bf16", *, slower=1.0, **changes) -> ProbeResult:
    """A run on a machine that reads and multiplies as above."""
    spec = changes.pop("spec", None) or spec_of(catalog, variant_id, format_id)
    decode = measured(1 / true_decode_s(spec) / slower)
    place = place_of(spec, machine, catalog)
    prefill = true_prefill_tok_s(spec)
    points = tuple(
        Point("prefill", {"prompt_tokens": n}, {"prefill_tok_s": measured(true_prefill_tok_s(spec, n), 3)})
        for n in spec.prompt_tokens
    )
    points += tuple(Point("gemm", {}, {"ops_per_s": measured(v, 3)}, n) for n, v in (("fp32", FP32), ("bf16", BF16)))
    points += (Point("decode", {"context_tokens": 512, "batch": 1}, {"decode_tok_s": decode}),)
    values: dict[str, object] = {
        "id": f"{variant_id}-{format_id}", "spec": spec, "state": State.DONE, "fingerprint": machine.fingerprint,
        "started_at": "2026-11-22T00:00:00+00:00", "duration_s": 1.0, "decode_tok_s": decode,
        "prefill_tok_s": measured(prefill, 3), "bandwidth_bytes_per_s": measured(BANDWIDTH), "points": points,
        "place": place,
    }  # fmt: skip
    return ProbeResult(**{**values, **changes})  # type: ignore[arg-type]


def test_the_small_model_alone_foresees_the_large_one(catalog, machine):
    """Bytes at the measured share of bandwidth plus overheads; products at the measured rate: within 10 %."""
    history = [run_of(catalog, machine, SMALL, name) for name in ("bf16", "int8-w8a8", "fp32")]
    known = with_measurements(catalog, history, machine)
    for name in ("bf16", "int8-w8a8"):
        spec = spec_of(catalog, LARGE, name)
        foreseen = foresee(spec, machine, known, history).prediction
        assert foreseen.decode_tok_s is not None
        assert foreseen.prefill_tok_s is not None
        assert foreseen.decode_tok_s.basis is Basis.CALIBRATED
        assert foreseen.decode_tok_s.value == pytest.approx(1 / true_decode_s(spec), rel=0.10)
        assert foreseen.prefill_tok_s.value == pytest.approx(true_prefill_tok_s(spec), rel=0.10)
        assert foreseen.decode_tok_s.low < 1 / true_decode_s(spec) < foreseen.decode_tok_s.high


def test_one_format_is_enough_for_the_ten_percent(catalog, machine):
    history = [run_of(catalog, machine)]
    known = with_measurements(catalog, history, machine)
    spec = spec_of(catalog, LARGE)
    public = foresee(spec, machine, catalog, history).prediction.decode_tok_s
    learned = foresee(spec, machine, known, history).prediction.decode_tok_s
    assert public is not None
    assert learned is not None
    assert learned.value == pytest.approx(1 / true_decode_s(spec), rel=0.10)
    assert learned.high / learned.low < public.high / public.low


def test_the_share_of_memory_is_foreseen_of_its_usual_speed(catalog, machine):
    """As a run measures it: its rounds are set against the readings beside them, not against its best one."""
    moved = {"bandwidth_bytes_per_s": measured(1.3 * BANDWIDTH), "conditions": Conditions(canary_bytes_per_s=BANDWIDTH)}
    history = [run_of(catalog, machine, **moved)]
    spec = spec_of(catalog, SMALL)
    foreseen = foresee(spec, machine, with_measurements(catalog, history, machine), history).prediction
    assert foreseen.mbu is not None
    assert foreseen.decode_tok_s is not None
    assert foreseen.bandwidth_bytes_per_s is not None
    assert foreseen.mbu.value == pytest.approx(foreseen.decode_tok_s.value * need_of(spec).read_bytes / BANDWIDTH)
    assert foreseen.bandwidth_bytes_per_s.value == pytest.approx(1.3 * BANDWIDTH, rel=0.05)


def test_what_was_run_is_measured_and_exact(catalog, machine):
    """The model's own median comes back under the conditions that were measured, with basis and width."""
    history = [run_of(catalog, machine)]
    known = with_measurements(catalog, history, machine)
    spec, host = spec_of(catalog, SMALL), known.hosts[THIS_MACHINE]
    plan = plan_at(spec, Place(host), known)
    found = size(plan, load_of(spec), known)
    assert found.decode_tok_s.basis is Basis.MEASURED
    assert found.decode_tok_s.value == pytest.approx(1 / true_decode_s(spec), rel=0.01)
    deeper = size(plan, Load(4096, 128, 8192, 1), known)
    assert deeper.decode_tok_s.basis is Basis.CALIBRATED
    many = size(plan, Load(256, 32, 512, 8), known)
    assert many.decode_tok_s.basis is Basis.CALIBRATED  # no batch was measured
    public = size(plan, Load(256, 32, 512, 8), catalog)
    assert many.decode_tok_s.high / many.decode_tok_s.low == pytest.approx(
        public.decode_tok_s.high / public.decode_tok_s.low
    )


def test_a_sweep_of_batches_narrows_loaded_plans(catalog, machine):
    spec = spec_of(catalog, SMALL, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 4, 8))
    points = tuple(
        Point("decode", {"context_tokens": 512, "batch": n}, {"decode_tok_s": measured(1 / true_decode_s(spec))})
        for n in (1, 4, 8)
    )
    run = run_of(catalog, machine, spec=spec, points=points, id="sweep")
    known = with_measurements(catalog, [run], machine)
    plan = plan_at(spec, Place(known.hosts[THIS_MACHINE]), known)
    eight, public = (size(plan, Load(512, 32, 544, 8), c).decode_tok_s for c in (known, catalog))
    assert eight.basis is Basis.MEASURED
    assert eight.high / eight.low < public.high / public.low


def test_scatter_of_runs_widens(catalog, machine):
    steady = [run_of(catalog, machine, id=str(n)) for n in range(3)]
    shaky = [run_of(catalog, machine, id=str(n), slower=s) for n, s in enumerate((0.8, 1.0, 1.3))]
    narrow, wide = (local_calibrations(runs, machine, catalog)[0].decode_factor_90 for runs in (steady, shaky))
    assert narrow == pytest.approx(1.05, abs=0.01)
    assert wide > 1.3


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.INVALID},
        {"state": State.CANCELLED},
        {"fingerprint": "another machine"},
        {"bandwidth_bytes_per_s": None},
        {"flags": ("fits_in_cache",)},
        {"points": (), "decode_tok_s": None, "prefill_tok_s": None},
    ],
)
def test_runs_that_teach_nothing(catalog, machine, changes):
    assert local_calibrations([run_of(catalog, machine, **changes)], machine, catalog) == ()


def test_endpoints_and_unknown_models_teach_nothing(catalog, machine):
    run = run_of(catalog, machine)
    unknown = replace(run, spec=replace(run.spec, variant_id="no-such-model"))
    endpoint = replace(run, spec=replace(run.spec, engine=EngineName.ENDPOINT))
    assert not list(runs_of([unknown, endpoint], machine, catalog))


def test_other_engines_are_untouched(catalog, machine):
    known = with_measurements(catalog, [run_of(catalog, machine)], machine)
    spec = spec_of(catalog, SMALL, "gguf-q8_0", engine=EngineName.LLAMACPP)
    plan = plan_at(spec, Place(known.hosts[THIS_MACHINE]), catalog)
    assert size(plan, load_of(spec), known) == size(plan, load_of(spec), catalog)


@pytest.mark.parametrize(("model", "format_id"), [(SMALL, "int8-w8a8"), ("deepseek-r1", "bf16")])
def test_formats_and_kinds_of_model_that_were_not_run_move_but_stay_as_uncertain(catalog, machine, model, format_id):
    """A slow kernel here says something about others of the same engine, though not how much they differ."""
    known = with_measurements(catalog, [run_of(catalog, machine, slower=3.0)], machine)
    spec = spec_of(catalog, model, format_id)
    plan = plan_at(spec, Place(known.hosts[THIS_MACHINE]), catalog)
    now, public = (size(plan, load_of(spec), c).decode_tok_s for c in (known, catalog))
    run = size(plan_at(spec_of(catalog, SMALL), Place(known.hosts[THIS_MACHINE]), catalog), load_of(spec), known)
    assert run.decode_tok_s.basis is Basis.MEASURED
    assert now.basis in (Basis.ESTIMATED, Basis.EXTRAPOLATED)
    assert now.value < 0.8 * public.value
    assert now.high / now.low == pytest.approx(public.high / public.low)


def test_no_history_is_the_public_table(catalog, machine):
    assert table_for(catalog) is efficiency_table()
    assert with_measurements(catalog, [], machine).calibrations == ()


def test_a_graphics_card_measured_anywhere_corrects_that_card(catalog, machine):
    spec = spec_of(catalog, SMALL, device="cuda:0")
    host = place_of(spec_of(catalog, SMALL), machine, catalog).host
    place = Place(host, "rtx-4090", on_accelerator=True)
    plan = plan_at(spec, place, catalog)
    public = size(plan, load_of(spec), catalog).decode_tok_s.value
    run = replace(
        run_of(catalog, machine), spec=spec, fingerprint="a colleague's", place=place, points=(), prefill_tok_s=None,
        decode_tok_s=measured(public / 1.5), bandwidth_bytes_per_s=measured(9e11),
    )  # fmt: skip
    known = with_measurements(catalog, [run], machine)
    found = size(plan, load_of(spec), known).decode_tok_s
    assert found.basis is Basis.MEASURED
    assert found.value == pytest.approx(public / 1.5, rel=1e-6)
    other = replace(plan, device=catalog.device("rtx-3090"))
    assert size(other, load_of(spec), known) == size(other, load_of(spec), catalog)
    assert THIS_MACHINE not in known.hosts  # nothing was measured here


def test_the_first_prediction_is_remembered(catalog, machine):
    run = run_of(catalog, machine)
    said = foresee(run.spec, machine, catalog).prediction
    new, old = replace(run, id="new", predicted=Prediction()), replace(run, id="old", predicted=said)
    off = first_off(old)[0]
    assert off == pytest.approx(run.decode_tok_s.value / said.decode_tok_s.value)
    found = local_calibrations([new, old], machine, catalog)[0]
    assert found.measured
    assert found.first_decode_off == off
    assert found.newest == "2026-11-22"
    assert math.isfinite(found.decode_factor)


def test_each_run_is_set_against_the_rates_that_it_had_itself(catalog, machine):
    """Twice as fast a memory in the second run, and twice the rate: the same share of it, nothing left over."""
    slow = run_of(catalog, machine, id="slow", bandwidth_bytes_per_s=measured(BANDWIDTH / 2), slower=2.0)
    runs = list(runs_of([run_of(catalog, machine), slow], machine, catalog))
    columns = PlanColumns.from_plans([run.plan for run in runs])
    rates = [columns.hardware[n].host.measured_bandwidth_bytes_per_s for n in columns.machine]
    assert rates == [BANDWIDTH, BANDWIDTH / 2]


def test_prompts_that_handle_their_weights_often_are_foreseen_for_a_larger_model(catalog, machine):
    """A fixed part of each prompt, a tenth of 512 tokens, in proportion to the weights: two lengths tell it apart."""

    def prompt_s(spec: ProbeSpec, tokens: int) -> float:
        fixed = 12 * need_of(spec).read_bytes / BANDWIDTH
        return fixed + tokens * 2 * active_params(spec.architecture) / GEMM_OPS_PER_S["bf16"]

    small, large = (spec_of(catalog, name) for name in (SMALL, LARGE))
    run = run_of(catalog, machine)
    others = tuple(p for p in run.points if p.name != "prefill")
    prompts = tuple(
        Point("prefill", {"prompt_tokens": n}, {"prefill_tok_s": measured(n / prompt_s(small, n), 3)})
        for n in small.prompt_tokens
    )
    history = [replace(run, points=(*others, *prompts), prefill_tok_s=measured(512 / prompt_s(small, 512), 3))]
    known = with_measurements(catalog, history, machine)
    for tokens in (128, 512):
        spec = replace(large, prompt_tokens=(tokens,))
        found = foresee(spec, machine, known, history).prediction.prefill_tok_s
        assert found is not None
        assert found.value == pytest.approx(tokens / prompt_s(large, tokens), rel=0.05)


def test_a_slow_moment_of_one_product_moves_no_prediction_but_widens_it(catalog, machine):
    """Prompts are set against the usual product of the machine, not against the half second of the same run."""

    def with_product(run: ProbeResult, share: float) -> ProbeResult:
        points = [
            replace(p, values={"ops_per_s": measured(share * FP32, 3)}) if p.label == "fp32" else p for p in run.points
        ]
        return replace(run, points=tuple(points))

    runs = [run_of(catalog, machine, id=f"run-{n}") for n in range(3)]
    steady = [with_product(run, 1.0) for run in runs]
    slowed = [with_product(runs[0], 0.6), *steady[1:]]
    spec = spec_of(catalog, LARGE)
    found = []
    for history in (steady, slowed):
        known = with_measurements(catalog, history, machine)
        peaks = [run.plan.host.peak_fp32_ops_per_s for run in runs_of(history, machine, known)]
        assert peaks == pytest.approx([1.03 * FP32] * 3)
        found.append(foresee(spec, machine, known, history).prediction.prefill_tok_s)
    same, wider = found
    assert wider.value == pytest.approx(same.value, rel=1e-6)
    assert wider.high / wider.low > 1.2 * same.high / same.low


def test_a_prompt_measured_once_is_known_less_well_than_one_repeated(catalog, machine):
    """The shorter it took the less so: what disturbs it averages out over its seconds."""

    def foreseen(repeats: int) -> Quantity:
        run = run_of(catalog, machine)
        points = [
            replace(p, values={"prefill_tok_s": replace(p.values["prefill_tok_s"], n=repeats)})
            if p.name == "prefill" else p for p in run.points
        ]  # fmt: skip
        history = [replace(run, points=tuple(points))]
        known = with_measurements(catalog, history, machine)
        found = foresee(run.spec, machine, known, history).prediction.prefill_tok_s
        assert found is not None
        return found

    once, repeated = foreseen(1), foreseen(5)
    assert once.value == pytest.approx(repeated.value, rel=0.05)
    assert math.log(once.high / once.value) >= UNREPEATED / math.sqrt(512 / once.value)
    assert math.log(repeated.high / repeated.value) < 0.6 * math.log(once.high / once.value)

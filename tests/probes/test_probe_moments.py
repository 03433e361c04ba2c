"""Every point of a sweep is foreseen before the run, and set beside what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.calibration_records import LocalCalibration
from advisor.catalog.quantity import Basis, Quantity
from advisor.cli import main
from advisor.commands import probe
from advisor.evidence.surprises import point_checks, surprises
from advisor.report.surprise_text import surprise_texts
from advisor.sizing.alone import Moment, speeds_alone
from advisor.sizing.efficiency import efficiency_table, table_for
from advisor.sizing.plan import Load
from advisor.sizing.size import size
from probes.codec import decode, encode
from probes.foresee import foresee
from probes.moments import foreseen_moments
from probes.need import need_of
from probes.place import place_of, plan_at
from probes.result import Conditions, ForeseenPoint, Measured, Point, Prediction, ProbeResult, State
from probes.spec import Kind, ProbeSpec, SweepAxis

SMALL = "deepseek-r1-distill-qwen-1.5b"


def sweep_of(catalog, axis: SweepAxis, **changes) -> ProbeSpec:
    return ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture, kind=Kind.SWEEP, sweep_axis=axis, **changes)


def test_many_moments_at_once_are_what_each_is_alone(catalog, machine):
    """One sequence: the steady answer. Several: a step of all of them, with no prompt of others in between."""
    spec = sweep_of(catalog, SweepAxis.CONTEXT, sweep_values=(512,))
    plan = plan_at(spec, place_of(spec, machine, catalog), catalog)
    found = speeds_alone([Moment(plan, 512, 32), Moment(plan, 512, 32, 8), Moment(plan, 4096, 32)], efficiency_table())
    for speed, tokens in ((found[0], 512), (found[2], 4096)):
        steady = size(plan, Load(tokens, 32, tokens + 32), catalog)
        assert speed.decode_tok_s.value == pytest.approx(steady.decode_tok_s.value)
        assert speed.prefill_tok_s.value == pytest.approx(steady.prefill_tok_s.value)
        assert speed.ttft_ms.value == pytest.approx(steady.ttft_ms.value)
    serving = size(plan, Load(512, 32, 544, 8), catalog)
    assert serving.decode_tok_s.value < found[1].decode_tok_s.value < found[0].decode_tok_s.value
    assert found[1].ttft_ms == found[0].ttft_ms


def test_no_step_is_foreseen_faster_than_its_bytes_are_read(catalog, machine):
    """What one format teaches another may add up to that; the upper end stays, for memory may be faster next time."""
    spec = ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture)
    here = place_of(spec, machine, catalog)
    fast = LocalCalibration(
        here.host.id, "torch", "16bit", 1.0, 1.1, 1.0, 1.1, 3,
        effects=(("bandwidth", 4.0), ("compute", 9.0), ("layer_s", 0.1), ("cache", 4.0)),
    )  # fmt: skip
    rates = {"memory_bandwidth_bytes_per_s": 2e9, "measured_bandwidth_bytes_per_s": 2e9}
    slow_memory = replace(here, host=replace(here.host, **rates))
    taught = replace(catalog, calibrations=(fast,))
    (free,) = speeds_alone([Moment(plan_at(spec, slow_memory, taught), 512, spec.output_tokens)], table_for(taught))
    (found,) = foreseen_moments(spec, slow_memory, taught, None)
    most = 2e9 / need_of(spec).read_bytes
    decode = found.speed.decode_tok_s
    assert free.decode_tok_s.value > 2 * most
    assert decode.value == pytest.approx(most)
    assert decode.low / decode.value == pytest.approx(free.decode_tok_s.low / free.decode_tok_s.value)
    assert decode.high == free.decode_tok_s.high
    (usual,) = foreseen_moments(spec, slow_memory, catalog, None)
    assert usual.speed.decode_tok_s.value < most


@pytest.mark.parametrize(
    ("axis", "changes", "positions"),
    [
        (SweepAxis.CONTEXT, {"sweep_values": (512, 4096)}, [(512, 1, "bf16"), (4096, 1, "bf16")]),
        (SweepAxis.BATCH, {"sweep_values": (1, 4)}, [(512, 1, "bf16"), (512, 4, "bf16")]),
        (SweepAxis.FORMAT, {"sweep_formats": ("bf16", "w4a16-g128")}, [(512, 1, "bf16"), (512, 1, "w4a16-g128")]),
    ],
)
def test_every_point_is_foreseen_with_its_interval(catalog, machine, axis, changes, positions):
    said = foresee(sweep_of(catalog, axis, **changes), machine, catalog).prediction
    points = [p for p in said.points if p.name == "decode"]
    assert [(p.at["context_tokens"], p.at["batch"], p.label) for p in points] == positions
    rates = [p.values["decode_tok_s"] for p in points]
    assert said.decode_tok_s == rates[0]
    assert all(q.low < q.value < q.high for q in rates)
    assert (rates[1].value > rates[0].value) is (axis is SweepAxis.FORMAT)  # half the bytes; else more to read


def test_of_threads_only_that_of_all_cores_is_foreseen(catalog, machine):
    cores = machine.cpu.cores
    both = sweep_of(catalog, SweepAxis.THREADS, sweep_values=(cores, machine.cpu.threads))
    (point,) = foresee(both, machine, catalog).prediction.points
    assert point.at == {"context_tokens": 512, "batch": 1, "threads": cores}
    one = replace(machine, cpu=replace(machine.cpu, cores=cores + 1, threads=cores + 1))
    fewer = foresee(sweep_of(catalog, SweepAxis.THREADS, sweep_values=(cores, cores + 1)), one, catalog).prediction
    assert fewer.decode_tok_s is None  # the first point has fewer threads than cores
    assert [p.at["threads"] for p in fewer.points] == [cores + 1]


def test_slower_points_take_longer(catalog, machine):
    few, many = (
        foresee(sweep_of(catalog, SweepAxis.BATCH, sweep_values=values), machine, catalog).prediction.duration_s.value
        for values in ((1, 1 + 1), (1, 64))
    )
    assert many > few


def of_points(**changes) -> ProbeResult:
    """Two depths, both foreseen as 10 tokens per second within 9 to 11; the second was measured at half."""
    said = Quantity(10.0, 9.0, 11.0, Basis.MEASURED, "step model")
    at = [{"context_tokens": n, "batch": 1} for n in (512, 4096)]
    values = [{"decode_tok_s": Measured(rate, rate, rate)} for rate in (10.5, 5.0)]
    predicted = Prediction(
        decode_tok_s=said, points=tuple(ForeseenPoint("decode", a, {"decode_tok_s": said}, "bf16") for a in at)
    )
    spec = ProbeSpec("x", "bf16", kind=Kind.SWEEP, sweep_axis=SweepAxis.CONTEXT, sweep_values=(512, 4096))
    found = ProbeResult(
        "1", spec, State.DONE, "f", "2026-01-01T00:00:00Z", 1.0, predicted=predicted,
        decode_tok_s=values[0]["decode_tok_s"],
        points=(Point("bandwidth", {}), *(Point("decode", a, v, "bf16") for a, v in zip(at, values, strict=True))),
    )  # fmt: skip
    return replace(found, **changes)


def test_the_point_outside_is_named_with_its_reason():
    result = of_points(conditions=Conditions(warnings=("foreign_load",)))
    assert [bool(check.surprises) for check in point_checks(result)] == [False, True]
    (found,) = surprises(result)
    assert (found.name, found.at["context_tokens"]) == ("decode_tok_s", 4096)
    assert (found.ratio, found.reasons) == (0.5, ("busy",))
    assert surprise_texts(result, "en")[0].startswith("decode at a context of 4,096 tokens: 0.50 ×")
    assert "4,096" in surprise_texts(result, "zh")[0]


def test_a_slow_kernel_is_the_points_own_reason():
    result = of_points()
    slow = replace(result.points[2], values={**result.points[2].values, "slow_kernel": Measured.of([1.0])})
    (found,) = surprises(replace(result, points=(*result.points[:2], slow)))
    assert found.reasons == ("slow_kernel",)


def test_the_first_point_stands_for_the_headline():
    """The same figure outside is one finding, not two."""
    result = of_points()
    first = replace(result.points[1], values={"decode_tok_s": Measured(20.0, 20.0, 20.0)})
    points = (first, *result.points[2:])
    found = surprises(replace(result, decode_tok_s=Measured(20.0, 20.0, 20.0), points=points))
    assert [s.at["context_tokens"] for s in found] == [512, 4096]


def test_points_foreseen_survive_storing_and_older_records_have_none():
    result = of_points()
    text = json.loads(json.dumps(encode(result)))
    assert decode(ProbeResult, text) == result
    del text["predicted"]["points"]
    assert decode(ProbeResult, text).predicted.points == ()


@pytest.mark.probe
@pytest.mark.parametrize("language", ["C", "zh_CN.UTF-8"])
def test_a_real_sweep_shows_measured_beside_foreseen(capsys, monkeypatch, tmp_path, tiny, language):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    monkeypatch.setenv("LC_ALL", language)
    catalog = load_catalog()
    small = replace(catalog.variant(SMALL), id="tiny", architecture=tiny)
    monkeypatch.setattr(probe, "load_catalog", lambda: replace(catalog, variants={"tiny": small}))
    words = ["probe", "tiny", "--sweep", "context", "--values", "16", "64", "--prompt", "8", "--output", "4"]
    as_json = language == "C"
    assert main([*words, "--repeats", "1", *(["--json"] if as_json else [])]) == 0
    shown = capsys.readouterr().out
    if not as_json:
        assert shown.count("预测 ") >= 2
        return
    body = json.loads(shown)
    prompts = [p for p in body["foreseen_points"] if p["name"] == "prefill"]
    assert [p["at"]["prompt_tokens"] for p in prompts] == [16, 64]
    assert prompts[0]["figures"]["ttft_ms"]["measured"] == body["ttft_ms"] > 0
    assert body["predicted"]["ttft_ms"] == prompts[0]["figures"]["ttft_ms"]["predicted"]
    decodes = [p for p in body["foreseen_points"] if p["name"] == "decode"]
    assert [p["at"]["context_tokens"] for p in decodes] == [16, 64]
    for point in decodes:
        figure = point["figures"]["decode_tok_s"]
        assert figure["inside"] is (figure["predicted"]["low"] <= figure["measured"] <= figure["predicted"]["high"])
        assert point["inside"] or point["reasons"]["decode_tok_s"]

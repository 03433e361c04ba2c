"""Runs that others disturbed teach less, and say so: modelled on a day on which a browser watched the runs of a model
on two cores, and a quiet run followed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis, Quantity
from advisor.evidence.in_force import with_measurements
from advisor.evidence.local import local_calibrations
from advisor.evidence.surprises import surprises
from advisor.report.surprise_text import surprise_texts
from probes.codec import decode, encode
from probes.disturbance import disturbance_of, is_disturbed
from probes.foresee import foresee
from probes.lessons import lessons_of
from probes.place import place_of
from probes.result import Conditions, Lessons, Measured, Point, Prediction, ProbeResult, State
from probes.spec import ProbeSpec

MODEL = "deepseek-r1-distill-qwen-1.5b"
QUIET = Conditions(foreign_cores=0.01, steal_share=0.001)
WATCHED = Conditions(foreign_cores=0.35, steal_share=0.001, warnings=("foreign_load",))


def run_of(catalog, machine, name: str, decode_tok_s: float, prefill_tok_s: float, conditions=QUIET, **changes):
    """Two cores that read 26 GB/s; as wide as the samples of a run beside a browser, or of a quiet one."""
    spec = ProbeSpec(MODEL, "bf16", catalog.variant(MODEL).architecture, prompt_tokens=(512,))
    place = place_of(spec, machine, catalog)
    place = replace(place, host=replace(place.host, cores=2))
    wide = 1.6 if conditions is WATCHED else 1.04
    rate = Measured(decode_tok_s, decode_tok_s / wide, decode_tok_s * 1.1, 96)
    prompt = Measured(prefill_tok_s, prefill_tok_s, prefill_tok_s)
    points = (
        Point("prefill", {"prompt_tokens": 512}, {"prefill_tok_s": prompt}),
        Point("decode", {"context_tokens": 512, "batch": 1}, {"decode_tok_s": rate}),
    )
    result = ProbeResult(
        name, spec, State.DONE, machine.fingerprint, "2026-11-26T15:00:00+00:00", 60.0, decode_tok_s=rate,
        prefill_tok_s=prompt, place=place, points=points,
        bandwidth_bytes_per_s=Measured(26.2e9, 25.5e9, 26.2e9, 11), conditions=conditions,
    )  # fmt: skip
    return replace(result, **changes)


def foreseen(catalog, machine, history):
    known = with_measurements(catalog, history, machine)
    return foresee(history[0].spec, machine, known, history).prediction


def test_the_width_is_what_the_run_counted(catalog, machine):
    """A third of a core on one of two: -ln(1 - 0.35) = 0.431; readings from 14.6 to 27.7: ln(27.7/14.6)/2 = 0.320."""
    watched = run_of(catalog, machine, "w", 6.7, 17.5, WATCHED, bandwidth_bytes_per_s=None)
    assert disturbance_of(watched).width == pytest.approx(0.431 + 0.001, abs=1e-3)
    unsteady = replace(watched, conditions=Conditions(), bandwidth_bytes_per_s=Measured(27.7e9, 14.6e9, 27.7e9, 11))
    assert disturbance_of(unsteady).width == pytest.approx(0.320, abs=1e-3)
    both = replace(watched, bandwidth_bytes_per_s=unsteady.bandwidth_bytes_per_s)
    assert disturbance_of(both).width == pytest.approx(math.hypot(0.432, 0.320), abs=2e-3)
    flooded = replace(watched, conditions=Conditions(foreign_cores=7.0))
    assert disturbance_of(flooded).cores == pytest.approx(math.log(2))
    assert disturbance_of(replace(watched, conditions=Conditions())).width == 0


def test_free_cores_take_the_others_first(catalog, machine):
    watched = run_of(catalog, machine, "w", 6.7, 17.5, WATCHED)
    one_thread = replace(watched, spec=replace(watched.spec, threads=1))
    card = replace(watched, spec=replace(watched.spec, device="cuda:0"))
    assert disturbance_of(one_thread).cores < disturbance_of(watched).cores / 100
    assert disturbance_of(card).cores < disturbance_of(watched).cores / 100


def test_a_throttled_card_is_as_wide_as_its_clock_fell(catalog, machine):
    clocks = {"sm_clock_hz": 1.2e9, "max_sm_clock_hz": 1.8e9}
    slow = run_of(catalog, machine, "t", 6.7, 17.5, Conditions(warnings=("throttled",), gpu=clocks))
    assert disturbance_of(slow).clock == pytest.approx(math.log(1.5))
    unread = replace(slow, conditions=Conditions(warnings=("throttled",)))
    assert disturbance_of(unread).clock == pytest.approx(math.log(2))
    assert is_disturbed(slow)
    assert is_disturbed(replace(slow, conditions=Conditions(), flags=("noisy",)))


def test_a_quiet_run_after_disturbed_ones_is_inside(catalog, machine):
    """Measured on such a day: 6.73 and 17.5 tok/s beside a browser, 7.41 and 21.4 quiet."""
    said = foreseen(catalog, machine, [run_of(catalog, machine, "w", 6.73, 17.45, WATCHED)])
    assert said.decode_tok_s.holds(7.41)
    assert said.prefill_tok_s.holds(21.37)


@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("foreign", [0.05, 0.2, 0.35, 1.0, 4.0])
def test_a_disturbed_run_never_narrows_more_than_a_quiet_one(catalog, machine, others, foreign):
    """Beside any number of quiet runs with the same figures."""
    before = [run_of(catalog, machine, f"q{n}", 7.2, 20.0) for n in range(others)]
    busy = Conditions(foreign_cores=foreign, warnings=("foreign_load",))
    quiet, disturbed = (
        local_calibrations([run_of(catalog, machine, "new", 7.2, 20.0, c), *before], machine, catalog)[0]
        for c in (QUIET, busy)
    )
    assert disturbed.decode_factor_90 >= quiet.decode_factor_90
    assert disturbed.prefill_factor_90 >= quiet.prefill_factor_90


def test_many_disturbed_runs_stay_as_wide_as_one(catalog, machine):
    """All of them err to the same side: they do not average out."""
    runs = [run_of(catalog, machine, str(n), 6.7, 17.5, WATCHED) for n in range(8)]
    one, many = (local_calibrations(given, machine, catalog)[0] for given in (runs[:1], runs))
    assert many.prefill_factor_90 == pytest.approx(one.prefill_factor_90)
    assert many.prefill_factor_90 > 1.5


def test_a_quiet_run_outweighs_disturbed_ones(catalog, machine):
    watched = [run_of(catalog, machine, f"w{n}", 6.0, 15.0, WATCHED) for n in range(3)]
    said = foreseen(catalog, machine, [run_of(catalog, machine, "q", 7.4, 21.4), *watched])
    assert said.prefill_tok_s.value == pytest.approx(21.4, rel=0.05)
    assert said.decode_tok_s.value == pytest.approx(7.4, rel=0.05)


def outside(catalog, machine, conditions=QUIET, **changes) -> ProbeResult:
    """A quiet run that is faster than the interval of two runs of which one was watched."""
    history = [run_of(catalog, machine, "w", 6.7, 17.5, WATCHED), run_of(catalog, machine, "q", 6.7, 17.5)]
    lessons = lessons_of(history[0].spec, history)
    said = Prediction(decode_tok_s=Quantity(6.7, 6.0, 7.5, Basis.MEASURED, "step model"), lessons=lessons)
    return run_of(catalog, machine, "new", 8.02, 21.3, conditions, predicted=replace(said, **changes))


def test_the_lessons_behind_a_prediction_are_kept_with_it(catalog, machine):
    watched = run_of(catalog, machine, "w", 6.7, 17.5, WATCHED)
    said = foreseen(catalog, machine, [watched])
    assert said.lessons is not None
    assert (said.lessons.runs, said.lessons.disturbed) == (1, 1)
    assert said.lessons.foreign_cores == 0.35
    assert said.lessons.memory_moved == pytest.approx(1 - 25.5 / 26.2)
    assert said.lessons.slowed_by == pytest.approx(math.exp(disturbance_of(watched).width))
    assert decode(Prediction, encode(said)).lessons == said.lessons
    assert lessons_of(replace(watched.spec, format_id="int8-w8a8"), [watched]) is None


def test_a_quiet_run_faster_than_disturbed_ones_taught_is_named(catalog, machine):
    (found,) = surprises(outside(catalog, machine))
    assert found.reasons == ("taught_by_disturbed",)
    assert found.figures["disturbed"] == 1
    assert found.figures["foreign_cores"] == 0.35


def test_it_explains_neither_a_slower_run_nor_one_as_disturbed(catalog, machine):
    assert surprises(outside(catalog, machine, WATCHED))[0].reasons == ("busy",)
    slower = outside(catalog, machine, decode_tok_s=Quantity(12.0, 11.0, 13.0, Basis.MEASURED, "step model"))
    assert surprises(slower)[0].reasons == ("unknown",)
    quiet = outside(catalog, machine, lessons=Lessons(3, 0))
    assert surprises(quiet)[0].reasons == ("unknown",)
    public = outside(catalog, machine, decode_tok_s=Quantity(6.7, 6.0, 7.5, Basis.ESTIMATED, "step model"))
    assert surprises(public)[0].reasons == ("never_measured",)


@pytest.mark.parametrize(
    ("language", "words"), [("en", "2 earlier runs, 1 of which"), ("zh", "此前 2 次运行，其中 1 次")]
)
def test_the_sentence_names_the_figures(catalog, machine, language, words):
    (text,) = surprise_texts(outside(catalog, machine), language)
    assert words in text
    assert "0.35" in text
    assert "{" not in text

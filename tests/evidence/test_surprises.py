"""Figures outside their predicted interval name a reason that the run itself gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.text import texts
from advisor.evidence.surprises import surprises
from advisor.report.surprise_text import surprise_texts
from probes.result import Conditions, Measured, Prediction, ProbeResult, State
from probes.spec import ProbeSpec

SPEC = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16")


def result(decode: float, basis: Basis = Basis.MEASURED, **changes) -> ProbeResult:
    foreseen = Prediction(
        decode_tok_s=Quantity(10.0, 9.0, 11.0, basis, "step model"),
        bandwidth_bytes_per_s=Quantity(20e9, 10e9, 40e9, Basis.CALIBRATED, "earlier"),
    )
    found = ProbeResult("1", SPEC, State.DONE, "f", "2026-01-01T00:00:00Z", 1.0, predicted=foreseen)
    return replace(found, decode_tok_s=Measured(decode, decode, decode), **changes)


def test_inside_is_no_surprise():
    assert surprises(result(9.0)) == ()
    assert surprises(replace(result(20.0), predicted=Prediction())) == ()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (result(20.0, Basis.EXTRAPOLATED), "never_measured"),
        (result(20.0, Basis.CALIBRATED), "carried_over"),
        (result(5.0, flags=("slow_decode_kernel",)), "slow_kernel"),
        (result(5.0, conditions=Conditions(warnings=("foreign_load",))), "busy"),
        (result(5.0, conditions=Conditions(warnings=("unsteady_memory",))), "unsteady"),
        (result(5.0, bandwidth_bytes_per_s=Measured(15e9, 15e9, 15e9)), "bandwidth"),
        (result(15.0, bandwidth_bytes_per_s=Measured(30e9, 30e9, 30e9)), "bandwidth"),
        (result(5.0), "unknown"),
    ],
)
def test_the_reason_comes_from_the_run(run, reason):
    (found,) = surprises(run)
    assert found.name == "decode_tok_s"
    assert found.reasons == (reason,)
    assert found.ratio == pytest.approx(run.decode_tok_s.value / 10)


def test_memory_that_was_faster_explains_no_slower_step():
    (found,) = surprises(result(5.0, bandwidth_bytes_per_s=Measured(30e9, 30e9, 30e9)))
    assert found.reasons == ("unknown",)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentences(language):
    (text,) = surprise_texts(result(5.0, flags=("slow_decode_kernel",)), language)
    assert "0.50" in text
    assert texts(language)["probes.why.slow_kernel"] in text


def test_a_longer_run_is_explained_unless_it_follows_from_slower_figures():
    foreseen = replace(result(10.0).predicted, duration_s=Quantity(300.0, 250.0, 400.0, Basis.ESTIMATED, "phases"))
    late = replace(result(10.0, flags=("saturated",)), predicted=foreseen, duration_s=633.0)
    (found,) = surprises(late)
    assert (found.name, found.reasons) == ("duration_s", ("drained",))
    slow = replace(result(5.0), predicted=foreseen, duration_s=633.0)
    assert [found.name for found in surprises(slow)] == ["decode_tok_s"]
    cut = replace(late, state=State.CANCELLED)  # it never came to its end
    assert surprises(cut) == ()

"""A measurement says less about another prompt, depth, batch or model, and the less the further away that is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from advisor.catalog.quantity import Basis
from advisor.evidence.distance import fit_drift
from advisor.evidence.in_force import with_measurements
from advisor.sizing.distance import Drift, drifts, gap
from advisor.sizing.efficiency import efficiency_table
from advisor.sizing.plan import Load
from advisor.sizing.products import product_elements
from advisor.sizing.size import size
from probes.machine import THIS_MACHINE
from probes.place import place_of, plan_at
from probes.result import Measured, Place, Point, ProbeResult, State
from probes.spec import ProbeSpec

SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"


def run_at(catalog, machine, prompts: tuple[int, ...], rate=21.3) -> ProbeResult:
    spec = ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture, prompt_tokens=prompts)
    decode = Measured(8.0, 7.9, 8.1, 96)
    points = tuple(
        Point("prefill", {"prompt_tokens": n}, {"prefill_tok_s": Measured(rate, rate, rate, 6)}) for n in prompts
    )
    points += (Point("decode", {"context_tokens": max(prompts), "batch": 1}, {"decode_tok_s": decode}),)
    return ProbeResult(
        "quiet", spec, State.DONE, machine.fingerprint, "2026-11-26T16:00:00+00:00", 40.0, decode_tok_s=decode,
        prefill_tok_s=Measured(rate, rate, rate, 6), bandwidth_bytes_per_s=Measured(28e9, 27.8e9, 28e9, 11),
        points=points, place=place_of(spec, machine, catalog),
    )  # fmt: skip


def asked(catalog, machine, prompts: tuple[int, ...], prompt: int, model: str = SMALL, sequences: int = 1):
    run = run_at(catalog, machine, prompts)
    known = with_measurements(catalog, [run], machine)
    spec = ProbeSpec(model, "bf16", catalog.variant(model).architecture)
    plan = plan_at(spec, Place(known.hosts[THIS_MACHINE]), known)
    return size(plan, Load(prompt, run.spec.output_tokens, 16_384, sequences), known)


def width(quantity) -> float:
    """Half-width, log units."""
    return float(np.log(quantity.high / quantity.low)) / 2


def test_gaps_by_hand():
    """Beyond the last: the log ratio. Between two: d1 d2 / (d1 + d2), at most a quarter of the stretch."""
    found = gap(np.array([32.0, 128.0, 256.0, 512.0, 2048.0]), (128.0, 512.0))
    assert found == pytest.approx([np.log(4), 0.0, np.log(2) / 2, 0.0, np.log(4)])
    assert gap(np.array([5.0]), ()) == 0.0


def test_a_prompt_four_times_as_long_is_calibrated_and_as_wide_as_fitted(catalog, machine):
    """From 128 to 512 tokens, ln 4 = 1.39: 0.395 √1.39 = 0.465 beside the 0.05 of the run itself."""
    there, further = asked(catalog, machine, (128,), 128), asked(catalog, machine, (128,), 512)
    assert there.prefill_tok_s.basis is Basis.MEASURED
    assert further.prefill_tok_s.basis is Basis.CALIBRATED
    slope = drifts(efficiency_table().intervals)["prefill|context"].slope
    here = width(there.prefill_tok_s)
    assert width(further.prefill_tok_s) == pytest.approx(np.hypot(here, slope * np.sqrt(np.log(4))), rel=1e-3)
    assert further.prefill_tok_s.holds(17.0)
    assert further.prefill_tok_s.holds(21.0)


def test_distance_never_narrows_and_never_exceeds_the_public_interval(catalog, machine):
    lengths = (128, 140, 200, 512, 2048, 8192)
    found = [asked(catalog, machine, (128,), n) for n in lengths]
    for figure in ("prefill_tok_s", "ttft_ms", "decode_tok_s"):
        widths = [width(getattr(item, figure)) for item in found]
        assert all(a <= b + 1e-12 for a, b in pairwise(widths)), figure
    spec = ProbeSpec(SMALL, "bf16", catalog.variant(SMALL).architecture)
    plan = plan_at(spec, place_of(spec, machine, catalog), catalog)
    public = size(plan, Load(8192, 32, 16_384, 1), catalog)
    assert width(found[-1].prefill_tok_s) <= width(public.prefill_tok_s) + 1e-12


def test_a_second_length_closes_the_gap(catalog, machine):
    one, both = (asked(catalog, machine, prompts, 512) for prompts in ((128,), (128, 512)))
    assert both.prefill_tok_s.basis is Basis.MEASURED
    assert width(both.prefill_tok_s) < width(one.prefill_tok_s)


def test_models_with_products_of_other_sizes_are_less_sure(catalog, machine):
    """R1's experts are 7168 x 2048, V2-Lite's 2048 x 1408: five times smaller. What the one teaches, the other may miss
    by half; a 7B is nearer to a 1.5B.
    """
    sizes = {name: product_elements(catalog.variant(name).architecture) for name in ("deepseek-r1", "deepseek-v2-lite")}
    assert sizes == {"deepseek-r1": 7168 * 2048, "deepseek-v2-lite": 2048 * 1408}
    drift = drifts(efficiency_table().intervals)
    ratio = np.log(sizes["deepseek-r1"] / sizes["deepseek-v2-lite"])
    assert drift["prefill|product"].at(ratio) > drift["decode|product"].at(ratio) > 0.3
    same, other = (asked(catalog, machine, (512,), 512, model) for model in (SMALL, LARGE))
    assert other.decode_tok_s.basis is Basis.CALIBRATED
    assert width(other.decode_tok_s) > width(same.decode_tok_s)


def test_drift_is_found_again_in_pairs_made_with_it():
    random = np.random.default_rng(7)
    distance = random.uniform(0.0, 4.0, 4000)
    true = Drift(0.1, 0.3)
    spread = np.hypot(true.repeat, true.at(distance)) / 1.645
    found = fit_drift(distance, random.normal(0, spread), np.ones(4000))
    assert found.repeat == pytest.approx(true.repeat, abs=0.03)
    assert found.slope == pytest.approx(true.slope, abs=0.02)
    assert found.pairs == 4000

"""Two fleets in a row: what a request pays in each, and that nothing is lost in between."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.catalog.errors import InputError
from advisor.serving.fleet import Fleet, Pool, single
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate, simulate_fleet
from advisor.serving.stages import Transfer, cascade, disaggregated, edge_then_central
from advisor.serving.step_costs import StepCosts

COSTS = StepCosts((0, 64, 1024), (0.01, 0.011, 0.03), 8e-8, 1.6e-7, 1.5e-9, 256, 60_000, 64, 1024)
FREE = StepCosts((0, 1024), (0.01, 0.01), 0.0, 0.0, 0.0, 0, 60_000, 64, 1024)


def traffic(n=400, rate=15.0, seed=1):
    rng = np.random.default_rng(seed)
    lengths = [np.clip(np.rint(rng.lognormal(m, 0.7, n)), 2, 2000).astype(int) for m in (6.5, 4.5)]
    return request_table(np.cumsum(rng.exponential(1 / rate, n)), *lengths)


def test_one_request_apart_by_hand():
    """A prompt step, 0.2 s + 500 * 1 ms on the way, then nine decode steps."""
    table = request_table(np.zeros(1), np.array([500]), np.array([10]))
    result = disaggregated(single(FREE), single(FREE), table, Transfer(0.2, 1e-3))
    assert result.ttft_s[0] == pytest.approx(0.01)
    assert result.e2e_s[0] == pytest.approx(0.01 + 0.7 + 9 * 0.01)


def test_apart_decodes_are_not_disturbed_by_prompts():
    table = traffic()
    together = simulate_fleet(Fleet((Pool("a", COSTS, 2),)), table)
    apart = disaggregated(single(COSTS), single(COSTS), table, Transfer(0.005))
    assert apart.tpot_ms.p99 < together.tpot_ms.p99
    assert not np.isnan(apart.e2e_s).any()


def test_one_token_answers_stay_on_the_prefill_side():
    table = request_table(np.arange(5.0), np.full(5, 100), np.ones(5, int))
    result = disaggregated(single(COSTS), single(COSTS), table, Transfer())
    assert result.second is None
    assert result.e2e_ms.mean == pytest.approx(result.ttft_ms.mean)


def test_cascade_ends_are_the_two_fleets_alone():
    table = traffic(200)
    never = cascade(single(FREE), single(COSTS), table, escalated_share=0.0)
    np.testing.assert_allclose(never.e2e_s, simulate(FREE, table).outcome.e2e_s)
    always = cascade(single(FREE), single(COSTS), table, escalated_share=1.0, judge_s=0.5)
    assert always.passed_on == 1.0
    assert np.all(always.e2e_s >= never.e2e_s + 0.5)


def test_cascade_passes_on_its_share_and_repeats_itself():
    table = traffic(2000, rate=20.0)
    one, two = (cascade(single(FREE), single(COSTS), table, escalated_share=0.3, seed=4) for _ in range(2))
    assert one.passed_on == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(one.e2e_s, two.e2e_s)
    assert one.second.served == round(one.passed_on * 2000)


def test_edge_summaries_shorten_what_the_centre_reads():
    table = traffic(300, rate=5.0)
    edge = Fleet((Pool("edge", COSTS, 4),))
    result = edge_then_central(edge, single(COSTS), table, summary_tokens=50, passed_share=0.5, link=Transfer(0.1))
    assert result.second.requests == pytest.approx(150, abs=30)
    assert result.second.input_tok_s < result.first.input_tok_s / 5
    assert not np.isnan(result.ttft_s).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Transfer(-1.0),
        lambda: cascade(single(FREE), single(FREE), traffic(5), escalated_share=1.5),
        lambda: edge_then_central(
            single(FREE), single(FREE), traffic(5), summary_tokens=0, passed_share=0.5, link=Transfer()
        ),
    ],
)
def test_senseless_settings_are_refused(make):
    with pytest.raises(InputError):
        make()

"""The closed form of continuous batching: hand-worked cases, textbook laws, and the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.serving.steady import Demand, StepCurve, fewest_replicas
from advisor.serving.workload import Slo

POINTS = np.array([1.0, 8.0, 64.0, 1024.0])


def _curve(
    *,
    base_s: float = 0.01,
    per_sequence_s: float = 0.0001,
    chunk_s: float = 0.002,
    output: float = 100,
    outside_s: float = 0.0,
    seats: float = 256,
) -> StepCurve:
    one = np.ones(1)
    return StepCurve(
        sequences=POINTS,
        decode_s=(base_s + per_sequence_s * (POINTS - 1))[:, None],
        chunk_s=np.full((4, 1), chunk_s),
        alone_s=one * (base_s + chunk_s),
        outside_s=one * outside_s,
        chunks=one,
        chunks_per_step=one * 20,
        output_tokens=one * output,
        seats=one * seats,
    )


def test_one_user_has_the_replica_alone() -> None:
    answer = fewest_replicas(_curve(), Demand(users=1), Slo(tpot_ms=10.1))
    assert answer.replicas[0] == 1
    assert answer.ttft_s[0] == pytest.approx(0.012, rel=1e-2)
    assert answer.tpot_s[0] == pytest.approx(0.010, rel=1e-2)
    assert answer.e2e_s[0] == pytest.approx(0.012 + 99 * 0.010, rel=1e-2)


def test_constant_steps_are_a_queue_without_waiting() -> None:
    """Steps that cost the same for any batch: M/G/infinity, so rate x time are in flight (Little)."""
    curve = _curve(per_sequence_s=0.0, chunk_s=0.0)
    answer = fewest_replicas(curve, Demand(rate_per_s=40.0), Slo())
    assert answer.replicas[0] == 1
    assert answer.sequences[0] == pytest.approx(40.0 * 100 * 0.010, rel=1e-2)


def test_steps_that_grow_follow_littles_law() -> None:
    """x = rate * T(x) with T = 100 * (0.01 + 0.0001 x) and 50 requests a second: x = 50 / (1 - 0.5) = 100."""
    answer = fewest_replicas(_curve(chunk_s=0.0), Demand(rate_per_s=50.0), Slo())
    assert answer.sequences[0] == pytest.approx(100, rel=2e-2)


def test_users_without_pause_share_the_replicas() -> None:
    """Each step costs 10 ms and 0.1 ms for every other of the batch: 20 ms allow 101 at once without prompts."""
    answer = fewest_replicas(_curve(chunk_s=0.0), Demand(users=404), Slo(tpot_ms=20.0))
    assert answer.replicas[0] in (4, 5)
    assert answer.sequences[0] == pytest.approx(404 / answer.replicas[0], rel=1e-2)


def test_impossible_limits_get_no_number() -> None:
    assert np.isinf(fewest_replicas(_curve(), Demand(rate_per_s=1.0), Slo(tpot_ms=9.0)).replicas[0])
    assert np.isinf(fewest_replicas(_curve(seats=0), Demand(rate_per_s=1.0), Slo()).replicas[0])


@given(rate=st.floats(0.1, 1e4), factor=st.floats(1.0, 5.0), limit=st.floats(11, 100))
def test_more_traffic_or_slower_steps_never_need_fewer(rate: float, factor: float, limit: float) -> None:
    slo = Slo(tpot_ms=limit)
    few = fewest_replicas(_curve(), Demand(rate_per_s=rate), slo)
    assert fewest_replicas(_curve(), Demand(rate_per_s=rate * factor), slo).replicas[0] >= few.replicas[0]
    slow = _curve(base_s=0.01 * factor, per_sequence_s=0.0001 * factor, chunk_s=0.002 * factor)
    assert fewest_replicas(slow, Demand(rate_per_s=rate), slo).replicas[0] >= few.replicas[0]
    if np.isfinite(few.replicas[0]):
        assert few.tpot_s[0] * 1e3 <= limit * (1 + 1e-6)
        assert few.utilisation[0] <= 0.9 + 1e-6


def test_time_outside_the_engine_delays_the_first_token_and_takes_no_seat() -> None:
    """The server's own 50 ms per request are waited for, but no step is slower for them."""
    demand, slo = Demand(rate_per_s=50.0), Slo()
    inside, behind = (fewest_replicas(_curve(outside_s=s), demand, slo) for s in (0.0, 0.05))
    assert behind.sequences[0] == pytest.approx(inside.sequences[0], rel=1e-9)
    assert behind.tpot_s[0] == pytest.approx(inside.tpot_s[0], rel=1e-9)
    assert behind.ttft_s[0] - inside.ttft_s[0] == pytest.approx(0.05)
    assert behind.e2e_s[0] - inside.e2e_s[0] == pytest.approx(0.05)

"""A trace becomes traffic with its own rate, burstiness and lengths."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.catalog.errors import InputError
from advisor.serving.requests import request_table
from advisor.serving.sampling import sample
from advisor.serving.trace_workload import workload_of_trace


def test_rate_burstiness_and_lengths_are_those_of_the_trace() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    arrivals = np.cumsum(rng.gamma(0.25, 4 / 5.0, n))  # 5 per second, CV 2
    inputs, outputs = rng.integers(10, 1000, n), rng.integers(1, 200, n)
    found = workload_of_trace(request_table(arrivals, inputs, outputs, inputs // 2), "mine")
    assert found.arrivals.rate_per_s == pytest.approx(5.0, rel=0.1)
    assert found.arrivals.cv == pytest.approx(2.0, rel=0.1)
    assert found.mean_input_tokens == pytest.approx(inputs.mean(), rel=0.02)
    assert found.mean_output_tokens == pytest.approx(outputs.mean(), rel=0.02)
    assert found.classes[0].prefix_hit_share == pytest.approx(0.5, abs=0.01)
    again = sample(found, 2000, seed=2)
    assert np.percentile(again.input_tokens, 90) == pytest.approx(np.percentile(inputs, 90), rel=0.05)


@pytest.mark.parametrize("arrivals", [[0.0], [3.0, 3.0, 3.0]])
def test_a_trace_without_duration_has_no_rate(arrivals: list[float]) -> None:
    ones = np.ones(len(arrivals), dtype=np.int64)
    with pytest.raises(InputError, match="at least two requests at different times"):
        workload_of_trace(request_table(np.array(arrivals), ones, ones), "mine.csv")

"""Energy per token, by a counter that stands still between its renewals."""

from __future__ import annotations

import pytest

from probes.kinds.full import ENERGY_S, joules_per_token
from probes.kinds.session import EnergyReading
from probes.spec import ProbeSpec


class Counter:
    """100 W while decoding, renewed every tenth of a second; reading anything else would cost nothing here."""

    def __init__(self, batch: int, step_s: float, *, readable: bool = True) -> None:
        self.spec = ProbeSpec("x", "bf16", batch=batch)
        self.now, self._step_s, self._readable = 0.0, step_s, readable

    def energy(self) -> EnergyReading:
        return EnergyReading(100.0 * (self.now // 0.1) * 0.1 if self._readable else None, "nvml")

    def joules_since(self, earlier: EnergyReading) -> float | None:
        now = self.energy().joules
        return None if now is None or earlier.joules is None else now - earlier.joules

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        assert (context_tokens, slots) == (512, self.spec.batch)
        self.now += steps * self._step_s
        return [self._step_s] * steps


@pytest.mark.parametrize(("batch", "step_s"), [(1, 0.0018), (32, 0.0025), (1, 0.3)])
def test_joules_are_power_times_time_by_tokens(batch, step_s):
    """At 100 W a step of 1.8 ms costs 0.18 J, whatever is measured between the rounds."""
    counter = Counter(batch, step_s)
    found = joules_per_token(counter, counter, 512, clock=lambda: counter.now)
    assert counter.now >= ENERGY_S
    assert found.value == pytest.approx(100 * step_s / batch, rel=0.06)


def test_without_a_counter_there_is_no_figure_and_nothing_is_run():
    counter = Counter(1, 0.01, readable=False)
    assert joules_per_token(counter, counter, 512, clock=lambda: counter.now) is None
    assert counter.now == 0

"""The loop of sustained load, on a clock that only the engine moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from probes.kinds import sustained
from probes.spec import Kind, LoadTarget, ProbeSpec


class SlowEngine:
    def __init__(self, clock: list[float], prompt_s: float) -> None:
        self.clock, self.prompt_s = clock, prompt_s

    def prefill(self, tokens: int, slot: int = 0) -> None:
        self.clock[0] += self.prompt_s

    def step(self, lengths: dict[int, int]) -> None:
        self.clock[0] += 0.01


@pytest.mark.parametrize(("prompt_s", "saturated"), [(100.0, True), (0.01, False)])
def test_requests_that_wait_when_the_last_arrives_are_counted_however_slow_a_prompt_is(
    monkeypatch: pytest.MonkeyPatch, prompt_s: float, saturated: bool
) -> None:
    """One prompt that takes longer than the whole run must not hide the queue behind it."""
    clock = [0.0]
    monkeypatch.setattr(
        sustained,
        "time",
        SimpleNamespace(perf_counter=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s)),
    )
    monkeypatch.setattr(sustained, "_report", lambda *_: None)
    target = LoadTarget(0.5, 30.0, 8)
    spec = ProbeSpec("m", "bf16", kind=Kind.SUSTAINED, prompt_tokens=(128,), output_tokens=4, load=target)
    whole, _, memory, queue = sustained._serve(SimpleNamespace(spec=spec), SlowEngine(clock, prompt_s), target)
    assert (queue > 0) is saturated
    assert (whole.finished > 0) is not saturated
    assert ("saturated" in sustained._flags(memory, queue, whole)) is saturated

"""A machine whose memory drifts between 17 and 30 GB/s within seconds, with stalls and bursts of other work."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from probes.layers import LayerCount

HEAD_BYTES, LAYER_BYTES = 467e6, 93.6e6  # 1.5B at 16 bit
WHOLE = LayerCount(28, 0)
TICK_S = 0.002


class DriftingMachine:
    """Its clock moves only while it works."""

    def __init__(self, seed: int, length_s: float = 120.0) -> None:
        self._random = np.random.default_rng(seed)
        ticks = int(length_s / TICK_S)
        rate = self._drift(ticks) * self._bursts(ticks)
        rate[self._random.random(ticks) < 3 * TICK_S] *= 0.2  # stalls of two milliseconds, three a second
        self._time = np.arange(ticks + 1) * TICK_S
        self._read = np.concatenate([[0.0], np.cumsum(rate * TICK_S)])
        self._ends = self._read.tolist()  # bisected one by one, which is faster in a list
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def step(self, count: LayerCount) -> float:
        """Seconds of one step with so many layers, a tenth of a millisecond of it fixed."""
        size = (HEAD_BYTES + count.dense * LAYER_BYTES) * self._random.normal(1.0, 0.02)
        tick, part = divmod(self.now_s / TICK_S, 1.0)
        before, after = self._ends[int(tick) : int(tick) + 2]
        done = before + part * (after - before) + size
        last = bisect_left(self._ends, done) - 1
        end = TICK_S * (last + (done - self._ends[last]) / (self._ends[last + 1] - self._ends[last])) + 1e-4
        seconds, self.now_s = end - self.now_s, end
        return seconds

    def true_step_s(self, until_s: float) -> float:
        """Median of the whole model's steps, one after the other, from the start to `until_s`."""
        size, read = HEAD_BYTES + WHOLE.dense * LAYER_BYTES, np.interp(until_s, self._time, self._read)
        ends = np.interp(np.arange(0.0, read, size), self._read, self._time)
        return float(np.median(np.diff(ends))) + 1e-4

    def _drift(self, ticks: int) -> np.ndarray:
        """Turning points every second or so, straight lines between them."""
        knots = int(ticks * TICK_S) + 2
        at = np.cumsum(self._random.uniform(0.3, 1.7, knots))
        return np.interp(np.arange(ticks) * TICK_S, at, self._random.uniform(17e9, 30e9, knots))

    def _bursts(self, ticks: int) -> np.ndarray:
        """Every seven seconds on average half of the speed is gone, for a fifth of a second to one and a half."""
        left = np.ones(ticks)
        at = 0
        while at < ticks:
            at += int(self._random.exponential(7.0) / TICK_S)
            left[at : at + int(self._random.uniform(0.2, 1.5) / TICK_S)] = 0.5
        return left

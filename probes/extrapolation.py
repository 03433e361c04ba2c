"""What the times of a few layers say about the whole model, and how sure that is. No torch here.

A pass through d dense layers and m layers with experts takes t = a + b d + c m; `a` is the head and everything outside
the layers. Least squares over the slices, each time weighted by its own size since errors grow with it, gives the whole
as a weighted sum T = sum w_i t_i, some w_i negative. Independent relative errors e of the times become

    dT / T = A e,   A = sqrt(sum (w_i t_i / T)^2),

the amplification (`amplification`). 28 layers under a head as large as five of them: A = 2.9 from depths 1, 2, 4 and
1.5 from 1, 4, 8, so the deeper slices need a quarter of the rounds. n rounds divide the error by sqrt(n); their median
costs a factor 1.25 and withstands disturbances: with e = 5 %, half of a 95 % interval is 1.96 x 1.25 x 1.5 x 5 % /
sqrt(n), under 3 % from 38 rounds on. What slows all slices of a round alike is no error of its shape: every round is
divided by its own speed, and how fast the rounds were on the whole is a second median, that all slices determine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from probes.layers import LayerCount

__all__ = ["METHOD_ERROR", "TARGET", "Extrapolated", "amplification", "extrapolated", "median_half_width"]

Array = NDArray[np.float64]
Round = Mapping[LayerCount, float]  # seconds by slice

TARGET = 0.03  # half-width of the interval of the noise, relative, at which rounds end
# 1.96 times 1.9 %, the root mean square of nine comparisons, five of decode and four of prefill, 1.5B in bf16 and
# int8, 2026-11-26: seven by benchmarks/slice_against_whole.py (one of them cut short), two on rounds recorded before
# it. Noise is in them, which makes it wide; one machine and one model are few, so it is provisional.
METHOD_ERROR = 0.037
NORMAL_95, MAD_TO_SIGMA, OUTLIER_SIGMAS = 1.96, 1.4826, 3.5
LEAST_TO_JUDGE = 6  # of fewer rounds, none is called disturbed
LEAST_TOLERANCE = 0.02  # a round this near to the median is never an outlier
FEW_FACTOR = {1: math.inf, 2: 6.353, 3: 1.304, 4: 0.719, 5: 0.505}  # half of a 95 % interval by the range; normal


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """Seconds of the whole model: the value and its interval of 95 %, which holds noise and the method's error.

    `noise`: half of the interval of the noise alone, relative. `left_out`: of the rounds, as disturbed.
    """

    value: float
    low: float
    high: float
    noise: float
    rounds: int
    left_out: int


def extrapolated(rounds: Sequence[Round], whole: LayerCount) -> Extrapolated:
    """From rounds that measured the same slices. Raises InputError where the slices cannot tell what a layer takes."""
    counts = tuple(rounds[0])
    times = np.array([[seconds[count] for count in counts] for seconds in rounds])
    usual = np.median(times, axis=0)
    slowness = (times / usual).mean(axis=1)
    shape = times @ weights_of(counts, usual, whole) / slowness
    kept = _undisturbed(slowness) & _undisturbed(shape)
    slowness, shape = slowness[kept], shape[kept]
    value = max(float(np.median(shape) * np.median(slowness)), float(usual.max()))  # more layers never take less
    noise = math.hypot(median_half_width(shape), median_half_width(slowness))
    factor = math.exp(min(math.hypot(noise, METHOD_ERROR), 10.0))
    return Extrapolated(value, value / factor, value * factor, noise, len(shape), len(rounds) - len(shape))


def weights_of(counts: Sequence[LayerCount], seconds: Array, whole: LayerCount) -> Array:
    """Of each slice in the time of the whole; least squares of relative errors, so `seconds` need not be exact."""
    rows = np.array([(1.0, count.dense, count.moe) for count in counts])
    at = np.array([1.0, whole.dense, whole.moe])
    used = [0, *(i for i in (1, 2) if len(set(rows[:, i])) > 1)]
    if any(i not in used and rows[0, i] != at[i] for i in (1, 2)):
        raise InputError("slice layers", "two different numbers of layers, or more", [(c.dense, c.moe) for c in counts])
    scaled = rows[:, used] / seconds[:, None]
    found: Array = at[used] @ np.linalg.pinv(scaled) / seconds
    return found


def amplification(counts: Sequence[LayerCount], seconds: Array, whole: LayerCount) -> float:
    """Relative error of the whole's time for a relative error of one in each slice's."""
    parts = weights_of(counts, seconds, whole) * seconds
    return float(np.sqrt((parts**2).sum()) / parts.sum())


def median_half_width(samples: Array) -> float:
    """Half of the 95 % interval of the median, relative to it: order statistics by the binomial distribution, for fewer
    than six samples their range as of a normal distribution.
    """
    ordered, n, middle = np.sort(samples), len(samples), float(np.median(samples))
    if n in FEW_FACTOR:
        return FEW_FACTOR[n] * float(ordered[-1] - ordered[0]) / middle if n > 1 else math.inf
    outside = max(0, math.floor((n - NORMAL_95 * math.sqrt(n)) / 2))
    return float(ordered[n - 1 - outside] - ordered[outside]) / 2 / middle


def _undisturbed(samples: Array) -> NDArray[np.bool_]:
    """Not further from the median than noise explains."""
    if len(samples) < LEAST_TO_JUDGE:
        return np.ones(len(samples), dtype=bool)
    middle = np.median(samples)
    away = np.abs(samples - middle)
    limit = max(OUTLIER_SIGMAS * MAD_TO_SIGMA * float(np.median(away)), LEAST_TOLERANCE * float(middle))
    kept: NDArray[np.bool_] = away <= limit
    return kept

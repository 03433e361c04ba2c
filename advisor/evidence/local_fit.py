"""Coefficients of one device under one engine, refitted to its own measurements.

The step model's effects get factors: memory bandwidth and arithmetic for all formats and each, overheads per layer and
step, cache reads and attention for all formats together. The public calibration is the prior (factor 1, the
widths below), so what was not exercised stays where the public fit has it, and what was measured wins: a maximum
a-posteriori estimate by Gauss-Newton steps with Huber weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.evidence.observations import Observation
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import EfficiencyArrays, efficiency_table
from advisor.sizing.grid import StepContext, step_context
from advisor.sizing.pairings import gathered
from advisor.sizing.plan import Plan
from advisor.sizing.step import PlanCosts, decode_step, prefill_pass, priced
from advisor.sizing.step_arrays import StepInputs

__all__ = ["LocalFit", "fit_local"]

Floats = NDArray[np.float64]

# Standard deviations of the prior, natural log units. Kernels of one engine on one processor differ from the public
# mean by factors; those for one format differ less from each other, and those for experts from those for other layers.
BY_FORMAT = {"bandwidth": 0.35, "compute": 0.6}
SHARED = {
    "bandwidth": 0.9, "compute": 0.9, "experts": 0.5, "overhead": 1.0, "step": 1.0, "cache": 1.0, "attention": 1.0,
    "prompt_reads": 1.0,
}  # fmt: skip
# What an engine does around its kernels differs by orders of magnitude from others. Of one that no public measurement
# is of, left as narrow as the rest, overhead would be taken for slow reading, and a larger model foreseen too slow.
UNSEEN_ENGINE = {"overhead": 2.5, "step": 2.5}
_EFFECTS = {
    "experts": ("expert_bandwidth", "expert_compute"),
    "overhead": ("layer_s", "moe_layer_s"),
    "step": ("step_s", "sequence_s"),
}
ROUNDS = 12
STEP = 1e-4
LARGEST_MOVE = 1.0
HUBER = 2.0
NORMAL_90 = 1.645


@dataclass(frozen=True, slots=True)
class LocalFit:
    """`effects`: by format id, effect and factor on top of `shared`, those of all formats. `left`: log(measured /
    fitted) of each observation, in order.
    """

    shared: tuple[tuple[str, float], ...]
    effects: dict[str, tuple[tuple[str, float], ...]]
    left: Floats


def fit_local(plans: Sequence[Plan], observations: Sequence[Observation]) -> LocalFit:
    """`plans`: one per observation, all on one device and engine."""
    problem = _Problem(plans, observations)
    theta = np.zeros(len(problem.names))
    for _ in range(ROUNDS):
        move = problem.step(theta)
        theta = theta + np.clip(move, -LARGEST_MOVE, LARGEST_MOVE)
        if np.max(np.abs(move), initial=0.0) < 1e-4:
            break
    effects = {name: problem.effects(theta, name) for name in dict.fromkeys(p.format.id for p in plans)}
    return LocalFit(problem.effects(theta, ""), effects, problem.left(theta))


class _Problem:
    """Residuals of the step model as a function of the factors' logarithms; arrays of shape (observations,)."""

    def __init__(self, plans: Sequence[Plan], observations: Sequence[Observation]) -> None:
        self._formats = [p.format.id for p in plans]
        widths = {(name, f): width for f in dict.fromkeys(self._formats) for name, width in BY_FORMAT.items()}
        seen = plans[0].engine.id in efficiency_table().seen["engine"]
        widths |= {(name, ""): width for name, width in (SHARED | ({} if seen else UNSEEN_ENGINE)).items()}
        self.names, self._prior = list(widths), np.array(list(widths.values()))
        self._log_seconds = np.log([o.seconds for o in observations])
        self._noise = np.maximum([o.width / NORMAL_90 for o in observations], 1e-3)
        self._is_prefill = np.array([o.is_prefill for o in observations])
        self._is_attention = np.array([o.is_attention for o in observations])
        self._tokens = np.array([float(o.context_tokens) for o in observations])
        self._sequences = np.array([float(o.sequences) for o in observations])
        context = _context(plans, self._tokens, self._sequences)
        rows = slice(0, len(plans))
        index = context.found.index[rows]
        self._inputs: StepInputs = context.inputs(rows)
        self._public: EfficiencyArrays = gathered(context.found.efficiency, index)
        self._factor = np.where(
            self._is_prefill, context.found.prefill_factor[index], context.found.decode_factor[index]
        )

    def left(self, theta: Floats) -> Floats:
        """log(measured / fitted)."""
        costs = _attention_only(priced(self._inputs, self._shifted(theta)), self._is_attention)
        decode = decode_step(costs, self._sequences, self._tokens).total
        prefill = prefill_pass(costs, self._tokens, np.zeros_like(self._tokens)).total
        seconds = np.where(self._is_prefill, prefill, decode) * self._factor
        remainder: Floats = self._log_seconds - np.log(seconds)
        return remainder

    def step(self, theta: Floats) -> Floats:
        """One Gauss-Newton step towards the maximum of the posterior."""
        left = self.left(theta)
        jacobian = np.stack([(self.left(theta + d) - left) / STEP for d in np.eye(len(theta)) * STEP], axis=1)
        scaled = np.abs(left) / self._noise
        weight = np.minimum(1.0, HUBER / np.maximum(scaled, 1e-9)) / self._noise**2
        normal = jacobian.T @ (jacobian * weight[:, None]) + np.diag(1 / self._prior**2)
        move: Floats = np.linalg.solve(normal, -(jacobian.T @ (weight * left)) - theta / self._prior**2)
        return move

    def effects(self, theta: Floats, owner: str) -> tuple[tuple[str, float], ...]:
        """Which effect to multiply by what, for all formats ("") or one of them."""
        mine = [(name, float(np.exp(v))) for (name, o), v in zip(self.names, theta, strict=True) if o == owner]
        return tuple((effect, factor) for name, factor in mine for effect in _EFFECTS.get(name, (name,)))

    def _shifted(self, theta: Floats) -> EfficiencyArrays:
        given = {name: getattr(self._public, name) for name in EfficiencyArrays.__slots__}
        for (name, format_id), value in zip(self.names, theta, strict=True):
            rows = np.array([format_id in ("", f) for f in self._formats])
            for effect in _EFFECTS.get(name, (name,)):
                given[effect] = np.where(rows, given[effect] * np.exp(value), given[effect])
        return EfficiencyArrays(**given)


def _attention_only(p: PlanCosts, rows: NDArray[np.bool_]) -> PlanCosts:
    """The same costs; of `rows` none but what reading the cache and its scores cost."""
    if not rows.any():
        return p
    others = 1.0 - rows
    return replace(
        p,
        costs=replace(p.costs, sequence=others * p.costs.sequence),
        read=others * p.read,
        row_work=others * p.row_work,
        head_work=others * p.head_work,
        launches=others * p.launches,
    )


def _context(plans: Sequence[Plan], tokens: Floats, sequences: Floats) -> StepContext:
    loads = LoadColumns.from_arrays(
        input_tokens=tokens, output_tokens=1.0, context_tokens=tokens + 1, concurrency=sequences
    )
    return step_context(PlanColumns.from_plans(list(plans)), loads, Tuning(), efficiency_table())

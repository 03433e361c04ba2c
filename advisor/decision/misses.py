"""What was ruled out and why, with the figures; and when nothing fits, what comes nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.decision.candidates import load_of, plan_of
from advisor.decision.layouts import LAYOUTS, usable_bytes
from advisor.decision.miss_text import memory_relaxation, reason_of, relax, remedy_of
from advisor.decision.models import Model
from advisor.decision.offers import Offer
from advisor.decision.rank import best_per_group
from advisor.decision.result import Constraint, NearMiss, Reason, Rejection
from advisor.decision.scenario import Scenario
from advisor.decision.search import CHECKED, Outcome, search
from advisor.decision.slower import longer_limits
from advisor.decision.space import Space, largest_layout, unlimited
from advisor.sizing.plan import Load, Plan
from advisor.sizing.suggestions import suggestions

__all__ = ["Miss", "nearest_misses", "rejections"]

FEW_OFFERS = 8  # up to so many machines, every format is explained; above, the best of a variant per device class
MAX_REJECTIONS = 60
MAX_NEAR_MISSES = 6
HOPELESS = 3.0  # times the memory there is: one line per variant is enough
_TRIED = 12  # near misses whose relaxation is tried
_STEPS = 4
_WITH_REMEDIES = 12  # rejections for memory that get the full search for what would fit


@dataclass(frozen=True, slots=True)
class Miss:
    """A row of the grid that failed; or, with `row` None, a model whose weights alone exceed the machine `offer`,
    or whose quality is below the floor."""

    model: int
    offer: int
    constraint: Constraint
    excess: float
    row: int | None


def rejections(outcome: Outcome, scenario: Scenario, catalog: Catalog) -> tuple[Rejection, ...]:
    """One per variant and device class (per variant, format and machine where there are few machines), for groups
    without any accepted plan; the best qualities first. Variants below the quality floor come last."""
    groups = _groups(outcome.space)
    taken = set(groups[outcome.space.plans.model, outcome.space.offer][outcome.accepted].tolist())
    found: dict[int, Miss] = {}
    for miss in (*_failed_rows(outcome, groups), *_too_big(outcome.space, groups)):
        group = int(groups[miss.model, miss.offer])
        if group not in taken:
            found.setdefault(group, miss)
    best = sorted(found.values(), key=lambda miss: (-_quality(outcome, miss.model), miss.excess))
    chosen = [*_without_hopeless(outcome.space, best), *_below_floor(outcome.space, scenario)][:MAX_REJECTIONS]
    return tuple(
        _rejection(outcome, miss, scenario, catalog if position < _WITH_REMEDIES else None)
        for position, miss in enumerate(chosen)
    )


def nearest_misses(outcome: Outcome, scenario: Scenario, catalog: Catalog) -> tuple[NearMiss, ...]:
    """Plans that one relaxed limit would admit, nearest first, one per variant and limit; each relaxation has been
    tried. Where no limit but memory stands in the way, the plans that exceed it least."""
    space = outcome.space
    variant = _variant_index(space)[:, None] * np.ones((1, len(space.offers)), dtype=np.int64)
    single = [miss for miss in _failed_rows(outcome, variant, single=True) if np.isfinite(miss.excess)]
    found: list[NearMiss] = []
    for miss in _nearest_first(outcome, [m for m in single if m.constraint is not Constraint.MEMORY])[:_TRIED]:
        near = _tried(outcome, miss, scenario, catalog)
        if near is not None:
            found.append(near)
    found += _slower(outcome, found, scenario, catalog)
    if found:
        return tuple(sorted(found, key=lambda near: near.excess)[:MAX_NEAR_MISSES])
    too_big = [miss for miss in single if miss.constraint is Constraint.MEMORY] or _too_big(space, variant)
    for miss in _nearest_first(outcome, too_big)[:MAX_NEAR_MISSES]:
        rejection = _rejection(outcome, miss, scenario, catalog)
        found.append(NearMiss(rejection, memory_relaxation(rejection), miss.excess))
    return tuple(found)


def _nearest_first(outcome: Outcome, misses: list[Miss]) -> list[Miss]:
    return sorted(misses, key=lambda miss: (round(miss.excess, 2), -_quality(outcome, miss.model)))


def _tried(outcome: Outcome, miss: Miss, scenario: Scenario, catalog: Catalog) -> NearMiss | None:
    """The relaxation of the limit that this row fails, if it really admits the row.

    A plan that failed before it was loaded with traffic may need a further step once it is.
    """
    rejection, excess = _rejection(outcome, miss, scenario, catalog), miss.excess
    alone = outcome.space.take(np.array([miss.row]))
    for _ in range(_STEPS):
        value, relaxed = relax(scenario, miss.constraint, excess)
        checked = search(unlimited(alone) if miss.constraint is Constraint.DEVICES else alone, relaxed, catalog)
        if checked.accepted[0]:
            return NearMiss(rejection, Reason(f"relax_{miss.constraint}", {"value": value}), excess)
        if checked.failures[0] != 1 or CHECKED[checked.binding[0]] is not miss.constraint:
            return None
        excess *= float(checked.excess[0, checked.binding[0]])
    return None


def _slower(outcome: Outcome, known: list[NearMiss], scenario: Scenario, catalog: Catalog) -> list[NearMiss]:
    """Plans that hold the traffic within a longer limit, but for those of a variant whose longer limit is `known`."""
    space = outcome.space
    seen = {(near.rejection.plan.variant.id, near.relaxation.key) for near in known}
    found = []
    for longer in longer_limits(outcome, scenario, catalog):
        model, key = int(space.plans.model[longer.row]), f"relax_{longer.constraint}"
        variant = space.table.models[model].variant.id
        if (variant, key) in seen:
            continue
        seen.add((variant, key))
        binding = outcome.binding[longer.row]
        excess = float(outcome.excess[longer.row, binding])
        miss = Miss(model, int(space.offer[longer.row]), CHECKED[binding], excess, longer.row)
        relaxation = Reason(key, {"value": longer.value_ms})
        found.append(NearMiss(_rejection(outcome, miss, scenario, catalog), relaxation, longer.factor))
    return found


def _without_hopeless(space: Space, misses: list[Miss]) -> list[Miss]:
    """Of each variant that is far too big in every way, only the smallest way."""
    variants = _variant_index(space)
    least: dict[int, float] = {}
    for miss in misses:
        variant = int(variants[miss.model])
        least[variant] = min(least.get(variant, np.inf), miss.excess)
    return [
        miss
        for miss in misses
        if miss.constraint is not Constraint.MEMORY or miss.excess <= max(HOPELESS, least[int(variants[miss.model])])
    ]


def _groups(space: Space) -> NDArray[np.int64]:
    """Group number of every (model, offer)."""
    if len(space.offers) <= FEW_OFFERS:
        return np.arange(len(space.table.models) * len(space.offers)).reshape(-1, len(space.offers))
    classes = sorted({offer.device_class for offer in space.offers})
    of_offer = np.array([classes.index(offer.device_class) for offer in space.offers], dtype=np.int64)
    return _variant_index(space)[:, None] * len(classes) + of_offer


def _variant_index(space: Space) -> NDArray[np.int64]:
    names = {name: i for i, name in enumerate(dict.fromkeys(m.variant.id for m in space.table.models))}
    return np.array([names[m.variant.id] for m in space.table.models], dtype=np.int64)


def _failed_rows(outcome: Outcome, groups: NDArray[np.int64], *, single: bool = False) -> list[Miss]:
    """The failing row of each group that fails the fewest limits, by the least; `single`: one limit exactly.

    With `single`, the limit is part of the group.
    """
    failures, binding = outcome.failures, outcome.binding
    rows = np.flatnonzero(failures == 1 if single else failures > 0)
    if not len(rows):
        return []
    space = outcome.space
    model, offer = space.plans.model[rows], space.offer[rows]
    group = groups[model, offer]
    group = group * len(CHECKED) + binding[rows] if single else group
    excess = outcome.excess[rows, binding[rows]]
    badness = np.asarray(failures[rows] * 1e6 + np.minimum(excess, 1e5), dtype=np.float64)
    chosen = best_per_group(group.astype(np.int64), -badness)
    return [
        Miss(int(model[i]), int(offer[i]), CHECKED[binding[rows[i]]], float(excess[i]), int(rows[i])) for i in chosen
    ]


def _too_big(space: Space, groups: NDArray[np.int64]) -> list[Miss]:
    """Of each group without rows, the model whose weights exceed the most devices allowed by the least."""
    seen = np.zeros(groups.shape, dtype=np.bool_)
    seen[space.plans.model, space.offer] = True
    absent = space.supported.any(axis=1) & space.wanted[:, None] & ~seen
    room = np.array([_most_devices(offer) * usable_bytes(offer.hardware) for offer in space.offers])
    excess = space.table.weights_bytes[:, None] / np.maximum(room, 1)
    model, offer = np.nonzero(absent & (excess > 1))
    if not len(model):
        return []
    chosen = best_per_group(groups[model, offer].astype(np.int64), -excess[model, offer])
    return [
        Miss(int(model[i]), int(offer[i]), Constraint.MEMORY, float(excess[model[i], offer[i]]), None) for i in chosen
    ]


def _below_floor(space: Space, scenario: Scenario) -> list[Miss]:
    """Variants whose best format stays below the quality floor, or whose quality nobody published."""
    if not scenario.quality_floor:
        return []
    quality = np.nan_to_num(space.table.quality, nan=0.0)
    variants, offers = _variant_index(space), np.asarray(space.supported.any(axis=1), dtype=np.bool_)
    found = []
    for index in range(int(variants.max(initial=-1)) + 1):
        models = np.flatnonzero((variants == index) & offers.any(axis=1))
        if len(models) and quality[models].max() < scenario.quality_floor:
            model = int(models[quality[models].argmax()])
            excess = scenario.quality_floor / quality[model] if quality[model] else np.inf
            found.append(Miss(model, int(offers[model].argmax()), Constraint.QUALITY, float(excess), None))
    return sorted(found, key=lambda miss: miss.excess)


def _first_answer_ms(outcome: Outcome, miss: Miss) -> float:
    """Alone; with the chain of thought that nobody asked for, if there is one."""
    hidden = outcome.space.table.models[miss.model].hidden_tokens
    row = miss.row or 0
    return float(outcome.alone.ttft_s[row] + hidden * outcome.alone.tpot_s[row]) * 1e3


def _most_devices(offer: Offer) -> int:
    """Of one replica."""
    most = max(kind.devices for kind in LAYOUTS)
    limit = min(offer.available, most if offer.multi_node else offer.per_node)
    return max(kind.devices for kind in LAYOUTS if kind.devices <= limit)


def _quality(outcome: Outcome, model: int) -> float:
    return float(np.nan_to_num(outcome.space.table.quality[model], nan=0.0))


def _rejection(outcome: Outcome, miss: Miss, scenario: Scenario, catalog: Catalog | None) -> Rejection:
    """With a catalogue, plans that lack memory get the changes that would make them fit."""
    model = outcome.space.table.models[miss.model]
    if miss.row is None:
        plan, load = _plan_without_row(outcome.space, miss), _one_request(model, scenario)
    else:
        plan, load = plan_of(outcome, miss.row), load_of(outcome, miss.row, scenario)
    reason = reason_of(miss.constraint, plan, model, _figures(outcome, miss, plan), scenario)
    remedies: tuple[Reason, ...] = ()
    if catalog and miss.constraint is Constraint.MEMORY:
        remedies = tuple(remedy_of(change, plan, catalog) for change in suggestions(plan, load, catalog))
    return Rejection(plan, load, miss.constraint, reason, remedies)


def _plan_without_row(space: Space, miss: Miss) -> Plan:
    runtime = int(space.supported[miss.model, :, miss.offer].argmax())
    layout = largest_layout(space, miss.model, runtime, miss.offer)
    key, software, where = space.plans.models[miss.model], space.plans.runtimes[runtime], space.offers[miss.offer]
    return Plan(
        variant=key.variant,
        format=key.format,
        engine=software.engine,
        backend=software.backend,
        device=where.hardware.device,
        layout=layout,
        host=where.hardware.host,
        server=where.hardware.server,
        kv_format=key.kv_format,
    )


def _one_request(model: Model, scenario: Scenario) -> Load:
    return Load(scenario.input_tokens, model.output_tokens, model.context_tokens, 1, scenario.cached_input_tokens)


def _figures(outcome: Outcome, miss: Miss, plan: Plan) -> Mapping[str, float]:
    """What the plan needs of each limited thing, in the unit of the limit."""
    space, row = outcome.space, miss.row
    each = usable_bytes(space.offers[miss.offer].hardware)
    devices = max(1, plan.layout.devices)
    have = each * devices
    if row is None:
        need = float(space.table.weights_bytes[miss.model])
        return {"need_gib": need / 2**30, "have_gib": have / 2**30, "more": ceil(need / each) - devices}
    need = have + devices * float(outcome.alone.shortfall_bytes[row])
    return {
        "need_gib": need / 2**30,
        "have_gib": have / 2**30,
        "more": ceil(need / each) - devices,
        "ttft_ms": _first_answer_ms(outcome, miss),
        "tpot_ms": float(outcome.alone.tpot_s[row]) * 1e3,
        "e2e_ms": float(outcome.alone.e2e_s[row]) * 1e3,
        "devices": float(np.nan_to_num(outcome.served.replicas[row] * devices, posinf=0)),
        "available": float(space.offers[miss.offer].available),
        "capital_usd": float(outcome.costs.capital_usd.value[row]),
        "monthly_usd": float(outcome.costs.monthly_usd.value[row]),
        "power_w": float(outcome.costs.device_power_w[row]),
    }

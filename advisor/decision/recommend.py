"""The whole path: scenario, tree, grid, limits, ranking, explanation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor import __version__
from advisor.catalog.catalog import Catalog
from advisor.catalog.records import Variant
from advisor.decision.candidates import Ranking, build_candidates
from advisor.decision.misses import nearest_misses, rejections
from advisor.decision.mixes import mixes
from advisor.decision.models import ModelTable, eligible_models, model_table
from advisor.decision.offers import offers
from advisor.decision.rank import RISK, axis_scores, best_per_group, chance_within, pareto_front, weighted
from advisor.decision.result import Candidate, Constraint, Counts, Leaf, Picks, Recommendation
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import resolve_ids
from advisor.decision.search import CHECKED, Outcome, search
from advisor.decision.space import Space, enumerate_space, installed_bytes
from advisor.decision.traffic import first_answer_s
from advisor.decision.tree import load_tree, walk
from probes.machine import detect
from probes.machine_records import Machine

__all__ = ["MAX_CANDIDATES", "OUTSIDE_LEAF", "Contenders", "contenders", "recommend"]

MAX_CANDIDATES = 40
_OF_VARIANT, _OF_MACHINE = 3, 2  # contenders for the lowest cost
OUTSIDE_LEAF = 0.02  # a plan outside the tree's leaf must be better by this much of the score to come first
UNMEASURED = 0.01  # the same for a plan unlike anything that was measured
OLD = 0.02  # the same for hardware that is probably no longer made


@dataclass(frozen=True, slots=True)
class Contenders:
    """Plans that compete for the lowest cost: `candidates[i]` is row `rows[i]` of the grid."""

    scenario: Scenario
    outcome: Outcome
    rows: list[int]
    candidates: list[Candidate]


def recommend(scenario: Scenario, catalog: Catalog, machine: Machine | None = None) -> Recommendation:
    """The answer to a scenario. `machine`: what was detected, for scenarios limited to this machine.

    Raises UnknownIdError for ids that the catalogue lacks and DataError for a broken tree.
    """
    asked = resolve_ids(scenario, catalog)
    if asked.this_machine and machine is None:
        machine = detect()
    answer = _answer(asked, catalog, machine)
    return replace(answer, mixes=mixes(answer, lambda part: _ranked(part, catalog, machine)[0]))


def _answer(scenario: Scenario, catalog: Catalog, machine: Machine | None) -> Recommendation:
    """With what was ruled out, and why."""
    answer, outcome = _ranked(scenario, catalog, machine)
    nothing = not answer.candidates
    misses = nearest_misses(_without_floor(outcome, scenario, catalog), scenario, catalog) if nothing else ()
    return replace(answer, rejected=rejections(outcome, scenario, catalog), nearest_misses=misses)


def _ranked(scenario: Scenario, catalog: Catalog, machine: Machine | None) -> tuple[Recommendation, Outcome]:
    """The plans that meet every limit, and the grid they come from."""
    path, leaf = walk(load_tree(catalog), scenario)
    outcome = _explore(scenario, catalog, machine)
    table = outcome.space.table
    ranking = _rank(outcome, scenario, leaf, catalog)
    chosen, picked = _choose(outcome, ranking)
    candidates = build_candidates(outcome, chosen, scenario, catalog, ranking, leaf)
    built = dict(zip(chosen, candidates, strict=True))
    answer = Recommendation(
        scenario=scenario,
        path=path,
        leaf=leaf,
        candidates=tuple(candidates),
        picks=Picks(**{name: built[row] for name, row in picked.items()}),
        rejected=(),
        nearest_misses=(),
        mixes=(),
        counts=_counts(outcome, ranking),
        unrated_variants=_unrated(table),
        catalog_date=catalog.as_of.isoformat() if catalog.as_of else "",
        version=__version__,
    )
    return answer, outcome


def contenders(scenario: Scenario, catalog: Catalog, machine: Machine | None, most: int) -> Contenders:
    """The `most` cheapest plans by the ranking, dearest last: at most two of a variant on one machine, three of a
    variant in all, so that they differ in variant, machine and engine."""
    asked = resolve_ids(scenario, catalog)
    _, leaf = walk(load_tree(catalog), asked)
    outcome = _explore(asked, catalog, machine)
    rows = _cheapest(outcome, most)
    ranking = _rank(outcome, asked, leaf, catalog)
    return Contenders(asked, outcome, rows, build_candidates(outcome, rows, asked, catalog, ranking, leaf))


def _cheapest(outcome: Outcome, most: int) -> list[int]:
    space, monthly = outcome.space, outcome.costs.monthly_usd.value
    rows = np.flatnonzero(outcome.accepted & np.isfinite(monthly))
    rated = rows[~np.isnan(space.table.quality[space.plans.model[rows]])]
    rows = rated if len(rated) else rows
    seen: Counter[object] = Counter()
    kept: list[int] = []
    for row in rows[np.argsort(monthly[rows], kind="stable")]:
        variant, offer = space.table.models[space.plans.model[row]].variant.id, int(space.offer[row])
        engine = int(space.plans.runtime[row])
        if seen[variant] < _OF_VARIANT and seen[variant, offer] < _OF_MACHINE and not seen[variant, offer, engine]:
            seen.update([variant, (variant, offer), (variant, offer, engine)])
            kept.append(int(row))
        if len(kept) == most:
            break
    return kept


def _explore(scenario: Scenario, catalog: Catalog, machine: Machine | None) -> Outcome:
    table = model_table(eligible_models(scenario, catalog))
    found = offers(scenario, catalog, machine)
    return search(enumerate_space(scenario, catalog, table, found, _qualified(table, scenario)), scenario, catalog)


def _qualified(table: ModelTable, scenario: Scenario) -> NDArray[np.bool_]:
    if not scenario.quality_floor:
        return np.ones(len(table.models), dtype=np.bool_)
    return np.nan_to_num(table.quality, nan=0.0) >= scenario.quality_floor


def _without_floor(outcome: Outcome, scenario: Scenario, catalog: Catalog) -> Outcome:
    """When nothing fits: the whole grid again, so that plans which fail only the quality floor are seen."""
    if not scenario.quality_floor:
        return outcome
    space = enumerate_space(scenario, catalog, outcome.space.table, outcome.space.offers)
    return search(space, scenario, catalog)


def _rank(outcome: Outcome, scenario: Scenario, leaf: Leaf, catalog: Catalog) -> Ranking:
    """Scores of all rows; the front is that of the best plan of each model on each machine."""
    space, served, costs = outcome.space, outcome.served, outcome.costs
    quality = space.table.quality[space.plans.model]
    money, power = costs.monthly_usd.value, costs.power_w.value
    axes = axis_scores(quality, money, served.e2e_s, power, allowed_s=scenario.allowed_s)
    inside, holds = _inside(space, leaf), _limits_hold(outcome, scenario)
    score = weighted(axes, leaf.weights) - np.where(inside, 0.0, OUTSIDE_LEAF) - RISK * (1 - holds)
    score = score - OLD * _old(outcome, catalog) - UNMEASURED * outcome.alone.extrapolated
    rows = np.union1d(_representatives(outcome, score), list(_picks(outcome, score).values())).astype(np.intp)
    front = np.zeros(len(space), dtype=np.bool_)
    front[rows] = pareto_front({axis: values[rows] for axis, values in axes.items()})
    return Ranking(score, axes, inside, front, holds)


def _old(outcome: Outcome, catalog: Catalog) -> NDArray[np.bool_]:
    old = [bool(offer.old_since(catalog.as_of)) for offer in outcome.space.offers]
    return np.array(old, dtype=np.bool_)[outcome.space.offer]


def _limits_hold(outcome: Outcome, scenario: Scenario) -> NDArray[np.float64]:
    """Probability that each plan keeps every latency limit, by the intervals of the step model, whose errors go
    together: the least likely limit decides. 1 where the scenario states none."""
    space, served, alone = outcome.space, outcome.served, outcome.alone
    holds = np.ones(len(space))
    for value, factor, limit_ms in (
        (first_answer_s(space, served.ttft_s, served.tpot_s), alone.ttft_factor, scenario.ttft_ms),
        (served.tpot_s, alone.tpot_factor, scenario.tpot_ms),
        (served.e2e_s, alone.tpot_factor, scenario.e2e_ms),
    ):
        if limit_ms is not None:
            holds = np.minimum(holds, chance_within(value, factor, limit_ms / 1e3))
    return np.nan_to_num(holds, nan=0.0)


def _inside(space: Space, leaf: Leaf) -> NDArray[np.bool_]:
    models = [
        model.variant.family in leaf.families and model.format.family in leaf.formats for model in space.table.models
    ]
    return np.array(models, dtype=np.bool_)[space.plans.model]


def _representatives(outcome: Outcome, score: NDArray[np.float64]) -> NDArray[np.intp]:
    """The best accepted row of each model on each machine, best first."""
    rows = np.flatnonzero(outcome.accepted)
    group = outcome.space.plans.model[rows] * len(outcome.space.offers) + outcome.space.offer[rows]
    return rows[best_per_group(group.astype(np.int64), score[rows])]


def _choose(outcome: Outcome, ranking: Ranking) -> tuple[list[int], Mapping[str, int]]:
    """Rows to show, best first, and the picks among them."""
    picks = _picks(outcome, ranking.score)
    ranked = [int(row) for row in _representatives(outcome, ranking.score)]
    front = [row for row in ranked if ranking.on_front[row]]
    rest = [row for row in ranked if not ranking.on_front[row]]
    shown = dict.fromkeys([*picks.values(), *front[: MAX_CANDIDATES // 2], *_varied(outcome, [*front, *rest])])
    kept = list(shown)[:MAX_CANDIDATES]
    return sorted(kept, key=lambda row: -ranking.score[row]), picks


def _varied(outcome: Outcome, rows: list[int]) -> list[int]:
    """The best few of each variant before more of the same."""
    seen: dict[int, int] = {}
    few: list[int] = []
    many: list[int] = []
    for row in rows:
        variant = id(outcome.space.table.models[outcome.space.plans.model[row]].variant)
        seen[variant] = seen.get(variant, 0) + 1
        (few if seen[variant] <= 3 else many).append(row)
    return few + many


def _picks(outcome: Outcome, score: NDArray[np.float64]) -> dict[str, int]:
    """Rows of the best, fastest, smallest (least installed memory) and cheapest accepted plan among those with a
    published quality (all, where there is none); among equals the one with the higher score."""
    rows = np.flatnonzero(outcome.accepted)
    if not len(rows):
        return {}
    rated = rows[~np.isnan(outcome.space.table.quality[outcome.space.plans.model[rows]])]
    rows = rated if len(rated) else rows
    rows = rows[np.argsort(-score[rows], kind="stable")]
    memory = installed_bytes(outcome.space) * outcome.served.replicas
    found = {
        "best": int(rows[0]),
        "fastest": int(rows[np.argmin(outcome.served.e2e_s[rows])]),
        "smallest": int(rows[np.argmin(memory[rows])]),
    }
    monthly = outcome.costs.monthly_usd.value[rows]
    if np.isfinite(monthly).any():
        found["cheapest"] = int(rows[np.nanargmin(monthly)])
    return found


def _counts(outcome: Outcome, ranking: Ranking) -> Counts:
    failed = outcome.failures > 0
    by_limit = np.bincount(outcome.binding[failed], minlength=len(CHECKED))
    rejected: dict[Constraint, int] = {c: int(n) for c, n in zip(CHECKED, by_limit, strict=True) if n}
    return Counts(
        enumerated=len(outcome.space),
        fitting=int(outcome.alone.fits.sum()),
        accepted=int(outcome.accepted.sum()),
        on_pareto_front=int(ranking.on_front.sum()),
        rejected=rejected,
    )


def _unrated(table: ModelTable) -> tuple[Variant, ...]:
    """Variants without any rated format."""
    rated = {model.variant.id for model in table.models if model.quality.quantity is not None}
    return tuple({m.variant.id: m.variant for m in table.models if m.variant.id not in rated}.values())

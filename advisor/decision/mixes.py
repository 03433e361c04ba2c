"""Mixed fleets: tiers of models for heavy traffic, and a device at the edge with a central model behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from advisor.catalog.quantity import Quantity
from advisor.catalog.records import DeviceClass
from advisor.decision.result import Candidate, Mix, MixKind, Pool, Reason, Recommendation
from advisor.decision.scenario import Hosting, Scenario

__all__ = ["EASY_SHARE", "mixes"]

EASY_SHARE = 0.8  # of requests that a small model may answer, where the scenario states no `edge_share`
Search = Callable[[Scenario], Recommendation]


def mixes(answer: Recommendation, search: Search) -> tuple[Mix, ...]:
    """The mix that the leaf asks for, if its pools exist. `search` answers a part of the scenario."""
    if answer.leaf.mix is MixKind.TIERS:
        return _tiers(answer, search)
    if answer.leaf.mix is MixKind.EDGE_CENTRAL:
        return _edge_central(answer, search)
    return ()


def _tiers(answer: Recommendation, search: Search) -> tuple[Mix, ...]:
    """The cheapest model takes the easy share, the best of clearly higher quality the rest."""
    small = answer.picks.cheapest
    if small is None or small.quality is None:
        return ()
    better = [c for c in answer.candidates if c.quality is not None and c.quality.low > small.quality.value]
    large = max(better, key=lambda c: c.score, default=None)
    if large is None:
        return ()
    share = answer.scenario.edge_share or EASY_SHARE
    easy = _part(answer.scenario, small, share, search)
    hard = _part(answer.scenario, large, 1 - share, search)
    if easy is None or hard is None:
        return ()
    pools = (Pool("easy", share, easy), Pool("hard", 1 - share, hard))
    return (_mix(MixKind.TIERS, pools, "mix_tiers", large),)


def _edge_central(answer: Recommendation, search: Search) -> tuple[Mix, ...]:
    """The best plan on the device, and one workstation or server for what it passes on."""
    local = answer.picks.best
    if local is None:
        return ()
    scenario = answer.scenario
    share = scenario.edge_share or EASY_SHARE
    central = _scaled(scenario, 1 - share)
    central = replace(
        central,
        device_classes=(DeviceClass.WORKSTATION_GPU,),
        devices=(),
        owned={},
        max_devices=None,
        power_limit_w=None,
        budget_capital_usd=None,
        hosting=Hosting.ON_PREMISES if scenario.hosting is Hosting.ON_PREMISES else Hosting.ANY,
        edge_share=None,
    )
    found = [c for c in search(central).candidates if _is_better(c, local)]
    if not found:
        return ()
    pools = (Pool("edge", share, local), Pool("central", 1 - share, found[0]))
    return (_mix(MixKind.EDGE_CENTRAL, pools, "mix_edge_central", None),)


def _part(scenario: Scenario, candidate: Candidate, share: float, search: Search) -> Candidate | None:
    """The same model and device sized for a share of the traffic."""
    plan = candidate.plan
    if plan.device is None:
        return None
    part = replace(
        _scaled(scenario, share),
        variants=(plan.variant.id,),
        formats=(plan.format.id,),
        engines=(plan.engine.id,),
        devices=(plan.device.id,),
        device_classes=(),
    )
    return search(part).picks.best


def _scaled(scenario: Scenario, share: float) -> Scenario:
    """A share of the traffic."""
    return replace(
        scenario,
        users=None if scenario.users is None else max(1, round(scenario.users * share)),
        requests_per_s=None if scenario.requests_per_s is None else scenario.requests_per_s * share,
        requests_per_day=None if scenario.requests_per_day is None else scenario.requests_per_day * share,
        concurrency=None if scenario.concurrency is None else max(1, round(scenario.concurrency * share)),
    )


def _is_better(candidate: Candidate, local: Candidate) -> bool:
    """Another model of higher quality: the same one in another format is not worth a second place."""
    if candidate.quality is None or candidate.plan.variant.id == local.plan.variant.id:
        return False
    return local.quality is None or candidate.quality.value > local.quality.value


def _mix(kind: MixKind, pools: tuple[Pool, ...], key: str, alone: Candidate | None) -> Mix:
    values: dict[str, float | str] = {
        "percent": round(100 * pools[0].share),
        "small": pools[0].candidate.plan.variant.name,
        "large": pools[1].candidate.plan.variant.name,
    }
    monthly = _sum(pool.candidate.monthly_usd for pool in pools)
    reasons = [Reason(key, values)]
    if alone is not None and alone.monthly_usd is not None and monthly is not None:
        costs = {"usd": monthly.value, "alone_usd": alone.monthly_usd.value, "large": values["large"]}
        reasons.append(Reason("mix_saves" if monthly.value < alone.monthly_usd.value else "mix_costs", costs))
    return Mix(
        kind=kind,
        pools=pools,
        quality=_mean(pools),
        monthly_usd=monthly,
        power_w=_sum(pool.candidate.power_w for pool in pools),
        reasons=tuple(reasons),
    )


def _sum(parts: Iterable[Quantity | None]) -> Quantity | None:
    """Sum of values and of interval ends; None where a part is not known."""
    total: Quantity | None = None
    for part in parts:
        if part is None:
            return None
        total = part if total is None else _add(total, part)
    return total


def _add(a: Quantity, b: Quantity) -> Quantity:
    return replace(a, value=a.value + b.value, low=a.low + b.low, high=a.high + b.high)


def _mean(pools: tuple[Pool, ...]) -> Quantity | None:
    """Quality over requests, if each pool gets a fair sample; a good router does better."""
    weighted = []
    for pool in pools:
        q = pool.candidate.quality
        if q is None:
            return None
        weighted.append(replace(q, value=q.value * pool.share, low=q.low * pool.share, high=q.high * pool.share))
    return _sum(weighted)

"""Many replicas: pools of equal engines, a router in front, classes of requests that go to some pools only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from advisor.catalog.errors import InputError
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.step_costs import StepCosts

__all__ = ["Fleet", "Pool", "Router", "single"]

MAX_REPLICAS = 100_000


class Router(StrEnum):
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    TWO_CHOICES = "two_choices"  # the emptier of two drawn at random
    LEAST_OUTSTANDING = "least_outstanding"  # fewest requests waiting and running
    LEAST_CACHE = "least_cache"  # most free cache
    PREFIX_AWARE = "prefix_aware"  # the replica that served the conversation, unless it is crowded


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal replicas. `weight`: relative speed, for routers that compare replicas of different pools."""

    name: str
    costs: StepCosts
    replicas: int = 1
    options: EngineOptions = PRESETS["vllm"]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= MAX_REPLICAS:
            raise InputError(f"replicas of pool '{self.name}'", f"1..{MAX_REPLICAS}", self.replicas)
        if not self.weight > 0:
            raise InputError(f"weight of pool '{self.name}'", "a number > 0", self.weight)


@dataclass(frozen=True, slots=True)
class Fleet:
    """`class_pools[c]`: indexes of the pools that may serve class c; empty: every class may go everywhere."""

    pools: tuple[Pool, ...]
    router: Router = Router.TWO_CHOICES
    class_pools: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.pools:
            raise InputError("pools", "at least one", 0)
        known = range(len(self.pools))
        if any(not pools or any(p not in known for p in pools) for pools in self.class_pools):
            raise InputError("class_pools", f"for each class one or more of 0..{len(self.pools) - 1}", self.class_pools)

    @property
    def replicas(self) -> int:
        return sum(pool.replicas for pool in self.pools)


def single(costs: StepCosts, options: EngineOptions | None = None, replicas: int = 1) -> Fleet:
    """A fleet of one pool."""
    return Fleet((Pool("main", costs, replicas, options or PRESETS["vllm"]),))

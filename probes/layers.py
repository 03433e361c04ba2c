"""How many layers of each sort a model or a slice of it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.catalog.records import Architecture

__all__ = ["LayerCount", "deepest_of", "ends_of", "layer_count", "layer_numbers", "slices_of"]


PAIRS = (2, 4)


@dataclass(frozen=True, slots=True, order=True)
class LayerCount:
    """Layers with a dense feed-forward and layers with experts."""

    dense: int
    moe: int

    def within(self, other: LayerCount) -> LayerCount:
        return LayerCount(min(self.dense, other.dense), min(self.moe, other.moe))


def layer_count(a: Architecture) -> LayerCount:
    """Of the whole model."""
    return LayerCount(a.num_layers - a.n_moe_layers, a.n_moe_layers)


def layer_numbers(a: Architecture, count: LayerCount) -> list[int]:
    """Numbers of the layers that a slice takes: the first dense ones, then the first with experts.

    Where attention differs from layer to layer (V4), a slice begins with the first indexed layer: from there on the
    two compression ratios alternate.
    """
    with_experts = list(range(a.first_k_dense_replace, a.num_layers, a.moe_layer_interval)) if a.is_moe else []
    dense = [i for i in range(a.num_layers) if i not in set(with_experts)]
    if a.compression is not None and count.moe < len(with_experts):
        start = a.compression.ratios.index(4) if 4 in a.compression.ratios else 0
        with_experts = [n for n in with_experts if n >= start]
    return dense[: count.dense] + with_experts[: count.moe]


def slices_of(a: Architecture, depths: Sequence[int]) -> tuple[LayerCount, ...]:
    """Combinations to measure: each sort of layer at each depth while the other stays at its smallest.

    A dense model: (1, 0), (4, 0), (8, 0). R1, which has 3 dense layers, from the first two depths: (1, 0), (3, 0),
    (1, 1), (1, 4): two depths of each sort determine the line.
    """
    whole = layer_count(a)
    if not whole.moe:
        return tuple(sorted({LayerCount(k, 0).within(whole) for k in depths}))
    few = tuple(sorted(set(depths))[:2]) if a.compression is None else PAIRS  # a layer of each ratio, and two
    base = min(1, whole.dense)
    found = {LayerCount(k, 0) for k in few if whole.dense} | {LayerCount(base, k) for k in few}
    return tuple(sorted({count.within(whole) for count in found}))


def ends_of(slices: Sequence[LayerCount]) -> tuple[LayerCount, ...]:
    """Without those that lie between others: two of each sort, which tell as much of a line."""
    dense, moe = ([s for s in slices if bool(s.moe) is sort] for sort in (False, True))
    return tuple(sorted({end(sort) for sort in (dense, moe) if sort for end in (min, max)}))


def deepest_of(slices: Sequence[LayerCount]) -> LayerCount:
    """What has to be loaded for all of them."""
    return LayerCount(max(s.dense for s in slices), max(s.moe for s in slices))

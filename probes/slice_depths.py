"""How many layers a slice probe loads, where it was not told: the deeper, the surer, as far as memory goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from probes.need import DEFAULT_DEPTHS, MARGIN, Need
from probes.spec import Kind, ProbeSpec

__all__ = ["DEPTHS", "with_depths"]

DEPTHS = (DEFAULT_DEPTHS, (1, 2, 4), (1, 2))
SHARE_OF_MEMORY = 0.75  # of what a probe may take: loading much more than it needs to know disturbs others


def with_depths(spec: ProbeSpec, need: Callable[[ProbeSpec], Need], allowed_bytes: int) -> ProbeSpec:
    """A slice probe without depths with the deepest that fit, or the shallowest, so that it can be refused with its own
    figures. Others come back as they are.
    """
    if spec.kind is not Kind.SLICE or spec.slice_layers:
        return spec
    tried = [replace(spec, slice_layers=depths) for depths in DEPTHS]
    fitting = (s for s in tried if need(s).total_bytes * MARGIN <= SHARE_OF_MEMORY * allowed_bytes)
    return next(fitting, tried[-1])

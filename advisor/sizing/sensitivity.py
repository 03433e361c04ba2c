"""What one change does to a plan: more devices, the next smaller format, half the context, twice the sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from advisor.catalog import Catalog
from advisor.catalog.engines import support
from advisor.catalog.formats import Format
from advisor.sizing.layout import why_invalid
from advisor.sizing.plan import Layout, Load, Plan, Sizing
from advisor.sizing.size import size

__all__ = ["Change", "Variation", "variations"]


class Change(StrEnum):
    ONE_MORE_DEVICE = "one_more_device"
    TWICE_DEVICES = "twice_devices"
    SMALLER_FORMAT = "smaller_format"
    HALF_CONTEXT = "half_context"
    TWICE_SEQUENCES = "twice_sequences"


@dataclass(frozen=True, slots=True)
class Variation:
    """`sizing` is of one replica, as that of the plan that was changed."""

    change: Change
    sizing: Sizing


def variations(plan: Plan, load: Load, catalog: Catalog) -> tuple[Variation, ...]:
    """Every change that the engine and the device allow, each alone."""
    found = [(Change.ONE_MORE_DEVICE, item, load) for item in _one_more(plan)]
    found += [(Change.TWICE_DEVICES, item, load) for item in _more_devices(plan)]
    found += [(Change.SMALLER_FORMAT, item, load) for item in _smaller_format(plan, catalog)]
    if load.context_tokens > 1:
        found.append((Change.HALF_CONTEXT, plan, _half(load)))
    found.append((Change.TWICE_SEQUENCES, plan, replace(load, concurrency=2 * load.concurrency)))
    return tuple(Variation(change, size(item, under, catalog)) for change, item, under in found)


def _one_more(plan: Plan) -> Iterator[Plan]:
    """A rank where the heads divide by it, else a pipeline stage; nothing where that is no layout, or twice as many."""
    now = plan.layout
    a_grid = (now.tp > 1 and now.pp > 1) or now.dp_attention > 1
    if plan.device is None or now.devices == 1 or a_grid:
        return
    layouts = (replace(now, tp=now.tp + 1), replace(now, pp=now.pp + 1))
    alone = [item for item in layouts if item.devices == now.devices + 1 and item.ep == 1]
    a = plan.variant.architecture
    fitting = [item for item in alone if why_invalid(a, item, plan.engine) is None]
    if fitting:
        yield replace(plan, layout=fitting[0], server=None)


def _more_devices(plan: Plan) -> Iterator[Plan]:
    """Tensor parallel first; pipeline stages where the heads or the engine do not allow it."""
    if plan.device is None:
        return
    tp, pp = plan.layout.tp, plan.layout.pp
    ep = 2 * plan.layout.ep if plan.layout.ep > 1 else 1
    layouts = (replace(plan.layout, tp=2 * tp, ep=ep), replace(plan.layout, pp=2 * pp))
    usable: Iterator[Layout] = (
        layout for layout in layouts if why_invalid(plan.variant.architecture, layout, plan.engine) is None
    )
    for layout in usable:
        yield replace(plan, layout=layout, server=None)
        return


def _smaller_format(plan: Plan, catalog: Catalog) -> Iterator[Plan]:
    """The largest format below 80 % of the bits, which the same engine runs on the same device."""
    processor = catalog.devices.get((plan.host.cpu_device_id or "") if plan.host else "")
    device = plan.device or processor
    least = 0.8 * plan.format.bits_per_weight
    smaller = [
        item
        for item in catalog.formats.values()
        if item.bits_per_weight < least
        and bool(item.gguf) == bool(plan.format.gguf)
        and not item.id.startswith("v4")
        and support(plan.engine, item, device, plan.backend) is not None
    ]
    best: Format | None = max(smaller, key=lambda item: item.bits_per_weight, default=None)
    if best is not None:
        yield replace(plan, format=best)


def _half(load: Load) -> Load:
    """Half the room, and half of the prompt and answer in it."""
    return replace(
        load,
        input_tokens=max(1, load.input_tokens // 2),
        output_tokens=max(1, load.output_tokens // 2),
        context_tokens=max(2, load.context_tokens // 2),
        cached_input_tokens=min(load.cached_input_tokens, max(0, load.input_tokens // 2 - 1)),
    )

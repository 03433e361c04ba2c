"""A slice that MIG cut out of a card, as a device to size on: the catalogue's card, scaled by its shares.

NVIDIA's MIG user guide: memory is cut in eighths, each with an eighth of the capacity and of the bandwidth;
multiprocessors are cut separately. Without the card in the catalogue, or the number of multiprocessors, nothing is
known of a slice but its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from advisor.catalog.records import Device
from probes.machine import match_device
from probes.machine_records import Accelerator
from probes.result import DevicePart

__all__ = ["device_here", "part_here", "scaled"]

MEMORY_SLICES = 8


def device_here(accelerator: Accelerator, devices: Mapping[str, Device]) -> Device | None:
    """The catalogue's device, or the part of it that this accelerator is; None where that is not known."""
    part = part_here(accelerator, devices)
    return scaled(devices[part.card_id], part) if part else match_device(accelerator, devices)


def part_here(accelerator: Accelerator, devices: Mapping[str, Device]) -> DevicePart | None:
    """None for a whole card, and for a slice of which too little is known."""
    cut = accelerator.part
    if cut is None or cut.multiprocessors is None:
        return None
    whole = replace(accelerator, name=cut.card_name, memory_bytes=cut.card_memory_bytes, part=None)
    card = match_device(whole, devices)
    if card is None or not card.units:
        return None
    eighths = max(1, round(MEMORY_SLICES * accelerator.memory_bytes / cut.card_memory_bytes))
    return DevicePart(
        card_id=card.id,
        name=accelerator.name,
        memory_bytes=accelerator.memory_bytes,
        bandwidth_share=eighths / MEMORY_SLICES,
        compute_share=min(1.0, cut.multiprocessors / card.units),
    )


def scaled(card: Device, part: DevicePart) -> Device:
    """Its own id, so that what is measured on a slice teaches nothing about the card."""
    compute, memory = part.compute_share, part.bandwidth_share
    return replace(
        card,
        id=f"{card.id}-{part.name.partition(' MIG ')[2] or 'part'}",
        name=part.name,
        memory_bytes=part.memory_bytes,
        usable_memory_bytes=part.memory_bytes,
        memory_options_bytes=(),
        bandwidth_bytes_per_s=card.bandwidth_bytes_per_s * memory,
        peak_ops_per_s={name: rate * compute for name, rate in card.peak_ops_per_s.items()},
        units=round(card.units * compute) if card.units else None,
        l2_bytes=card.l2_bytes * memory if card.l2_bytes else None,
        link=None,  # slices do not talk to each other
        tdp_w=card.tdp_w * compute if card.tdp_w else None,
        idle_w=None,
        all_in_power_w=None,
        aliases=(),
        reference=True,
    )

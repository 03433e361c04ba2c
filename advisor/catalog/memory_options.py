"""Devices sold with several memory sizes: `apple-m4-max@48GB` is the Apple M4 Max with 48 GB."""

from __future__ import annotations

from dataclasses import replace

from advisor.catalog.errors import InputError
from advisor.catalog.records import Device, DeviceClass
from advisor.catalog.units import format_bytes, parse_bytes

__all__ = ["MARK", "with_memory"]

MARK = "@"
_TOLERANCE = 0.1  # a label in GB is up to 7 % from the same label in GiB
_APPLE_STEP_BYTES = 36 * 2**30  # macOS gives the GPU 2/3 of the memory up to here, 3/4 above


def with_memory(device: Device, wanted: str | int) -> Device:
    """`device` with the memory size nearest to `wanted` (bytes, or a text such as "48GB").

    Its id and name carry the size. Raises InputError, with the sizes that exist, if none is within 10 %.
    """
    size = parse_bytes(wanted, "memory") if isinstance(wanted, str) else wanted
    options = device.memory_options_bytes or (device.memory_bytes,)
    nearest = min(options, key=lambda option: abs(option - size))
    if abs(nearest - size) > _TOLERANCE * nearest:
        sizes = ", ".join(_label(option) for option in options)
        raise InputError("memory", f"one of {sizes} for {device.id}", wanted)
    if nearest == device.memory_bytes:
        return device
    return replace(
        device,
        id=f"{device.id}{MARK}{_label(nearest)}",
        name=f"{device.name} {_label(nearest)}",
        memory_bytes=nearest,
        usable_memory_bytes=_usable(device, nearest),
    )


def _usable(device: Device, memory_bytes: int) -> int | None:
    if device.usable_memory_bytes is None:
        return None
    if device.device_class is DeviceClass.APPLE:
        return memory_bytes * 2 // 3 if memory_bytes <= _APPLE_STEP_BYTES else memory_bytes * 3 // 4
    return min(memory_bytes, memory_bytes * device.usable_memory_bytes // device.memory_bytes)


def _label(size: int) -> str:
    """Vendors write GB for 2^30 bytes of memory."""
    return format_bytes(size, binary=True, digits=0).replace(" GiB", "GB")

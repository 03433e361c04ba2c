"""Which NVIDIA GPUs a CUDA program started here would see, and under which names a probe asks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["by_uuid", "cuda_environment", "is_visible_slice", "visible_cards"]

ORDER = "CUDA_DEVICE_ORDER"
VISIBLE = "CUDA_VISIBLE_DEVICES"
BUS_ORDER = "PCI_BUS_ID"  # NVML's order; CUDA's own default is the fastest first
_PREFIX = "cuda:"


def visible_cards(uuids: Sequence[str], variable: str | None) -> list[int]:
    """Positions in `uuids` (GPUs in NVML's order) that CUDA numbers 0, 1, ... under this CUDA_VISIBLE_DEVICES.

    As the driver reads it: numbers or beginnings of UUIDs, up to the first that names no GPU; one named twice hides
    all. A variable that names MIG slices says nothing of cards: `is_visible_slice` does.
    """
    if variable is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for word in variable.split(","):
        at = _position(word.strip(), uuids, by_number=not variable.startswith("GPU-"))
        if at is None:
            break
        if at in found:
            return []
        found.append(at)
    return found


def by_uuid(device: str) -> str:
    """The UUID in a probe's device such as cuda:GPU-... or cuda:MIG-...; empty for one that goes by its number."""
    name = device.removeprefix(_PREFIX)
    return name if device.startswith(_PREFIX) and name.startswith(("GPU-", "MIG-")) else ""


def is_visible_slice(uuid: str, variable: str | None) -> bool:
    """Whether a MIG slice of a visible card is visible too: it must be named where the variable names slices."""
    if variable is None or not variable.startswith("MIG-"):
        return True
    return any(uuid.startswith(word.strip()) for word in variable.split(",") if word.strip())


def cuda_environment(device: str) -> dict[str, str]:
    """What a child must have set so that `device` is the one that this process means."""
    uuid = by_uuid(device)
    return {ORDER: os.environ.get(ORDER, BUS_ORDER)} | ({VISIBLE: uuid} if uuid else {})


def _position(word: str, uuids: Sequence[str], *, by_number: bool) -> int | None:
    if by_number:
        return int(word) if word.isdecimal() and int(word) < len(uuids) else None
    named = [at for at, uuid in enumerate(uuids) if word.startswith("GPU-") and uuid.startswith(word)]
    return named[0] if len(named) == 1 else None

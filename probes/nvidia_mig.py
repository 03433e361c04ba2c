"""Slices of an NVIDIA card in MIG mode: each is a device of its own, and the card as a whole is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType

from probes.machine_records import Accelerator, CardPart

__all__ = ["has_mig_on", "slices_of_card", "without_power"]

_OF_THE_CARD = ("power_w", "power_limit_w")  # of all slices together


def has_mig_on(nvml: ModuleType, handle: object) -> bool:
    return _or_none(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0]) == 1


def slices_of_card(nvml: ModuleType, handle: object, card: Accelerator) -> list[Accelerator]:
    """Those that this process may see, each with its own memory and multiprocessors. `handle`, `card`: of the card."""
    return [_slice(nvml, mig, card) for mig in _handles(nvml, handle)]


def without_power(state: Mapping[str, float | str]) -> dict[str, float | str]:
    """A slice's gauges: clocks, temperature and throttling are the card's, but its power is that of all slices."""
    return {name: value for name, value in state.items() if name not in _OF_THE_CARD}


def _handles(nvml: ModuleType, card: object) -> Iterator[object]:
    """Numbers of slices have holes where one was destroyed."""
    for index in range(int(nvml.nvmlDeviceGetMaxMigDeviceCount(card))):
        found = _or_none(nvml, partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, card, index))
        if found is not None:
            yield found


def _slice(nvml: ModuleType, mig: object, card: Accelerator) -> Accelerator:
    memory, facts = nvml.nvmlDeviceGetMemoryInfo(mig), _or_none(nvml, lambda: nvml.nvmlDeviceGetAttributes(mig))
    units = int(getattr(facts, "multiprocessorCount", 0)) or None
    return replace(
        card,
        name=f"{card.name} MIG {_profile(facts, int(memory.total))}",
        memory_bytes=int(memory.total),
        free_bytes=int(memory.free),
        state=without_power(card.state),
        uuid=_text(nvml.nvmlDeviceGetUUID(mig)),
        part=CardPart(card.name, card.memory_bytes, units),
    )


def _profile(facts: object, memory_bytes: int) -> str:
    """As NVIDIA names them: 3g.20gb for three of the seven compute slices, 1c.3g.20gb for one of those three."""
    gpu, compute = (int(getattr(facts, f"{name}InstanceSliceCount", 0)) for name in ("gpu", "compute"))
    shared = f"{compute}c." if compute and compute != gpu else ""
    return f"{shared}{gpu or '?'}g.{math.ceil(memory_bytes / 2**30)}gb"


def _or_none(nvml: ModuleType, read: Callable[[], object]) -> object:
    try:
        return read()
    except (nvml.NVMLError, AttributeError, TypeError, IndexError):
        return None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

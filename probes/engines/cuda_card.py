"""Which card a CUDA device of torch is, in words that NVML knows. For probe processes only."""

from __future__ import annotations

import os

import torch

from probes.cuda_visible import VISIBLE

__all__ = ["card_of"]


def card_of(device: torch.device) -> str | None:
    """UUID, or the PCI bus id where this torch does not tell it, or "" where it tells neither (ROCm builds of old).

    None for a device that is no CUDA device. Numbers do not do: CUDA's order and NVML's differ, and some cards may be
    hidden from CUDA.
    """
    if device.type != "cuda":
        return None
    chosen = os.environ.get(VISIBLE, "")
    if chosen.startswith("MIG-"):  # CUDA shows a process one slice at most; its UUID need not be that of the slice
        return chosen.partition(",")[0].strip()
    facts = torch.cuda.get_device_properties(device)
    uuid = getattr(facts, "uuid", None)
    if uuid is not None:
        return f"GPU-{str(uuid).removeprefix('GPU-')}"
    if not hasattr(facts, "pci_bus_id"):
        return ""
    return f"{facts.pci_domain_id:08X}:{facts.pci_bus_id:02X}:{facts.pci_device_id:02X}.0"

"""What cannot be measured here however much memory there is: devices and formats without products for them."""

from __future__ import annotations

from advisor.catalog.errors import InputError, NotHereError
from advisor.catalog.text import translate
from probes.engines.precision import Precision, canonical_format, precision_of
from probes.machine_records import Accelerator, Machine
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

__all__ = ["computes", "refuse_impossible"]

# NVIDIA, "CUDA C++ programming guide", tensor cores by compute capability: e4m3 products since Ada. torch's product
# of scaled matrices asks for the same.
FP8_CAPABILITY = 8.9
_ON_PROCESSORS = (EngineName.OPENVINO, EngineName.ORT)


def computes(format_id: str, device: str, machine: Machine) -> bool:
    """Whether the embedded engine has products for the format on this device. A GPU that does not tell what it can
    (AMD) is believed.
    """
    if Precision.FP8 not in _precisions(format_id):
        return True
    card = _accelerator(device, machine)
    if card is None or not device.startswith("cuda"):
        return False
    return card.compute_capability is None or card.compute_capability >= FP8_CAPABILITY


def refuse_impossible(spec: ProbeSpec, machine: Machine) -> None:
    """Raises InputError for a device that is not here, and NotHereError for what none of its kind can measure."""
    if spec.engine is EngineName.ENDPOINT:
        return
    here = ["cpu", *(a.torch_device for a in machine.accelerators if a.torch_device)]
    if spec.device not in here:
        raise InputError("device", ", ".join(here), spec.device)
    if spec.engine in _ON_PROCESSORS and spec.device != "cpu":
        raise _not_here("processors_only", engine=str(spec.engine), device=spec.device)
    if spec.engine is not EngineName.TORCH or spec.kind is Kind.MACHINE:
        return
    formats = spec.sweep_formats if spec.sweep_axis is SweepAxis.FORMAT else (spec.format_id,)
    for format_id in formats:
        if not computes(format_id, spec.device, machine):
            raise _not_here("fp8", format=canonical_format(format_id), device=_described(spec.device, machine))


def _precisions(format_id: str) -> set[Precision]:
    found = precision_of(format_id)
    return {found.activation, found.attention, found.feed_forward, found.head}


def _accelerator(device: str, machine: Machine) -> Accelerator | None:
    return next((a for a in machine.accelerators if a.torch_device and a.torch_device == device), None)


def _described(device: str, machine: Machine) -> str:
    card = _accelerator(device, machine)
    if card is None:
        return device
    return f"{card.name} ({card.compute_capability})" if card.compute_capability else card.name


def _not_here(key: str, **values: str) -> NotHereError:
    return NotHereError(translate("en", f"probes.not_here.{key}", **values), f"probes.not_here.{key}", values)

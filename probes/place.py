"""Where a probe ran, as the catalogue would describe it: this machine as a host, and the accelerator's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from advisor.catalog import Catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Confidence, Device, Host, Role, Variant
from advisor.sizing.plan import Layout, Offload, Plan
from probes.card_part import device_here, part_here, scaled
from probes.engines.precision import canonical_format
from probes.machine import host_record, match_processor
from probes.machine_records import Accelerator, Machine
from probes.result import Place, ProbeResult
from probes.spec import EngineName, ProbeSpec

__all__ = [
    "accelerator_of", "as_measured", "bandwidth_meanwhile", "device_at", "measured_bandwidth", "multiplying",
    "own_products", "place_of", "plan_at", "reading", "this_host", "usual_products", "with_own",
]  # fmt: skip

READINGS = 20  # newest that count


def accelerator_of(spec: ProbeSpec, machine: Machine) -> Accelerator | None:
    return next((a for a in machine.accelerators if a.torch_device and a.torch_device == spec.device), None)


def place_of(
    spec: ProbeSpec, machine: Machine, catalog: Catalog, history: Sequence[ProbeResult] = ()
) -> Place | None:
    """None for an endpoint, whose hardware is not known. `history`: earlier results here, which give the rates."""
    if spec.engine is EngineName.ENDPOINT:
        return None
    accelerator = accelerator_of(spec, machine)
    host = this_host(machine, catalog, history)
    if accelerator is None:
        return Place(host)
    device, part = device_here(accelerator, catalog.devices), part_here(accelerator, catalog.devices)
    return Place(host, device.id if device else "", on_accelerator=True, part=part)


def device_at(place: Place, catalog: Catalog) -> Device | None:
    """The accelerator of a place; None where the processors compute. Raises UnknownIdError, and UnsupportedError for an
    accelerator without a record.
    """
    if place.part is not None:
        return scaled(catalog.device(place.part.card_id), place.part)
    if place.on_accelerator and not place.device_id:
        raise UnsupportedError("the catalogue does not know this accelerator, or this MIG slice of one")
    return catalog.device(place.device_id) if place.device_id else None


def with_own(catalog: Catalog, spec: ProbeSpec) -> Catalog:
    """The catalogue and, where it does not have it, the model of the probe, so that its seconds can be foreseen."""
    if spec.architecture is None or spec.variant_id in catalog.variants or spec.endpoint is not None:
        return catalog
    own = Variant(
        id=spec.variant_id,
        name=spec.variant_id,
        family="",
        model_id=spec.variant_id,
        architecture=spec.architecture,
        role=Role.USER,
        native_format="bf16",
        always_reasons=False,
        source=("given to the probe",),
        confidence=Confidence.MEDIUM,
    )
    return replace(catalog, variants={**catalog.variants, own.id: own})


def plan_at(spec: ProbeSpec, place: Place, catalog: Catalog) -> Plan:
    """The probe as a plan. Raises UnknownIdError, and UnsupportedError for an accelerator without a record."""
    device = device_at(place, catalog)
    backend = "cpu"
    if place.on_accelerator:
        backend = "metal" if spec.device == "mps" else _gpu_backend(device)
    return Plan(
        variant=catalog.variant(spec.variant_id),
        format=catalog.format(canonical_format(spec.format_id)),
        engine=catalog.engine(str(spec.engine)),
        backend=backend,
        device=device,
        layout=Layout(offload=Offload.CPU_ONLY) if device is None else Layout(),
        host=place.host,
        kv_format="fp32" if spec.format_id == "fp32" else "bf16",
    )


def measured_bandwidth(fingerprint: str, history: Sequence[ProbeResult], device: str = "cpu") -> float | None:
    """Median of the best read bandwidths, bytes per second, of earlier probes of this device of the machine."""
    readings = [
        r.bandwidth_bytes_per_s.value
        for r in history
        if r.fingerprint == fingerprint and r.spec.device == device and r.bandwidth_bytes_per_s and r.is_valid
    ]
    return median(readings[:READINGS]) if readings else None


def this_host(machine: Machine, catalog: Catalog, history: Sequence[ProbeResult] = ()) -> Host:
    """This machine as a catalogue host, with the rates that earlier probes measured; else timed now."""
    here = [r for r in history if r.fingerprint == machine.fingerprint and r.spec.device == "cpu" and r.is_valid]
    usual = [rate for r in here if (rate := bandwidth_meanwhile(r))]
    host = host_record(machine, median(usual[:READINGS]) if usual else None)
    found = match_processor(machine.cpu, catalog.devices)
    host = replace(host, cpu_device_id=found.id) if found else host
    return multiplying(replace(host, peak_bf16_ops_per_s=None), usual_products(machine.fingerprint, history))


def as_measured(host: Host, result: ProbeResult, products: Mapping[str, float]) -> Host:
    """The host with the memory bandwidth that this run read, and with the usual `products` of its machine at the pace
    that the processors had between its prompts and rounds.

    One product before a run says little: it takes a fraction of a second, in which others slow it by up to a third.
    """
    if result.spec.device != "cpu":
        return host
    bandwidth, pace = bandwidth_meanwhile(result), _pace(result, products)
    host = multiplying(host, {label: pace * rate for label, rate in products.items()})
    return reading(host, bandwidth) if bandwidth else host


def own_products(result: ProbeResult) -> dict[str, float]:
    """Operations per second of the run's matrix products, by precision: as read between its prompts and rounds, else
    the best before it, which others only ever slow.
    """
    read = [p for p in result.points if p.name == "gemm" and "ops_per_s" in p.values]
    found = {p.label: p.values["ops_per_s"].high for p in read}
    meanwhile = result.conditions.product_ops_per_s
    return found if meanwhile is None else found | {"fp32": meanwhile.value}


def usual_products(fingerprint: str, history: Sequence[ProbeResult]) -> dict[str, float]:
    """Median over the newest runs on the processors of one machine, by precision."""
    here = [r for r in history if r.fingerprint == fingerprint and r.spec.device == "cpu" and r.is_valid]
    each = [own_products(r) for r in here]
    labels = dict.fromkeys(label for found in each for label in found)
    return {label: median([found[label] for found in each if label in found][:READINGS]) for label in labels}


def _pace(result: ProbeResult, products: Mapping[str, float]) -> float:
    """Products during this run / the usual ones; 1 where they were not read."""
    meanwhile, usual = result.conditions.product_ops_per_s, products.get("fp32")
    return meanwhile.value / usual if meanwhile is not None and usual else 1.0


def reading(host: Host, bytes_per_s: float) -> Host:
    """The host whose memory is read at this rate."""
    return replace(host, memory_bandwidth_bytes_per_s=bytes_per_s, measured_bandwidth_bytes_per_s=bytes_per_s)


def multiplying(host: Host, products: Mapping[str, float]) -> Host:
    """The host with `products`, operations per second by precision; others stay as they are."""
    return replace(
        host,
        peak_fp32_ops_per_s=products.get("fp32", host.peak_fp32_ops_per_s),
        peak_bf16_ops_per_s=products.get("bf16", host.peak_bf16_ops_per_s),
    )


def bandwidth_meanwhile(result: ProbeResult) -> float | None:
    """Bytes per second that memory was read at between the rounds of the run; the best of the run where nothing was
    read in between. On a quiet machine both are the same; on a busy one the model was slowed like the readings.
    """
    if result.conditions.canary_bytes_per_s:
        return result.conditions.canary_bytes_per_s
    return result.bandwidth_bytes_per_s.value if result.bandwidth_bytes_per_s else None


def _gpu_backend(device: Device | None) -> str:
    return "rocm" if device is not None and device.vendor.upper() == "AMD" else "cuda"

"""Which machines a scenario may use, and how many of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from advisor.catalog.catalog import Catalog
from advisor.catalog.records import Device, DeviceClass, Host
from advisor.decision.scenario import Hosting, Scenario
from advisor.sizing.columns import Hardware
from probes.card_part import device_here
from probes.machine import THIS_MACHINE, match_device
from probes.machine_records import Machine
from probes.place import this_host

__all__ = ["UNLIMITED", "Offer", "offers", "support_device"]

UNLIMITED = 100_000  # devices of one kind: no fleet here is larger
_SERVER_CLASSES = frozenset(
    {
        DeviceClass.DATACENTER_GPU,
        DeviceClass.WORKSTATION_GPU,
        DeviceClass.CONSUMER_GPU,
        DeviceClass.NPU,
        DeviceClass.TPU,
        DeviceClass.APPLE,
        DeviceClass.UNIFIED_PC,
        DeviceClass.CPU,
    }
)
_PER_NODE: Mapping[DeviceClass, int] = {  # where the catalogue has no chassis for the device
    DeviceClass.DATACENTER_GPU: 8,
    DeviceClass.NPU: 8,
    DeviceClass.TPU: 8,
    DeviceClass.WORKSTATION_GPU: 4,
    DeviceClass.CONSUMER_GPU: 4,
}
_MULTI_NODE = frozenset({DeviceClass.DATACENTER_GPU, DeviceClass.NPU})
_RENTED_ONLY = frozenset({"Google", "AWS"})  # vendors that sell no machines


OLD_AFTER_YEARS = 5.0
_YEAR_AND_MONTH = re.compile(r"(\d{4})(?:-(\d\d))?\b")  # launch dates are free text


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of machine: accelerators per node, and how many there may be in all (hosts count as one)."""

    hardware: Hardware
    per_node: int
    available: int
    multi_node: bool
    owned: bool
    rentable: bool
    buyable: bool
    hybrid: bool = False  # the host's memory may hold what the device cannot

    @property
    def device_class(self) -> DeviceClass:
        device = self.hardware.device
        return DeviceClass.CPU if device is None else device.device_class

    def old_since(self, today: date | None) -> str:
        """Year of launch of a device to be bought that is likely to be out of production; empty for others."""
        device = self.hardware.device
        stated = _YEAR_AND_MONTH.match(device.launch_date or "") if device and not self.owned else None
        if today is None or stated is None:
            return ""
        year, month = int(stated[1]), int(stated[2] or 12)
        return stated[1] if today.year - year + (today.month - month) / 12 > OLD_AFTER_YEARS else ""


def offers(scenario: Scenario, catalog: Catalog, machine: Machine | None = None) -> tuple[Offer, ...]:
    """Machines of the scenario's classes, ids or ownership. `machine`: what was detected, for `this_machine`."""
    if scenario.this_machine:
        return tuple(_of_machine(machine, catalog)) if machine else ()
    if scenario.owned:
        return tuple(_of_owned(scenario.owned, catalog))
    found = [*_of_devices(scenario, catalog), *_of_hosts(scenario, catalog)]
    return tuple(offer for offer in found if _hosting_allows(scenario.hosting, offer))


def support_device(offer: Offer, catalog: Catalog) -> Device | None:
    """The device that engine support is asked for: the accelerator, or a CPU machine's processor."""
    if offer.hardware.device is not None:
        return offer.hardware.device
    host = offer.hardware.host
    return catalog.devices.get(host.cpu_device_id) if host and host.cpu_device_id else None


def _of_devices(scenario: Scenario, catalog: Catalog) -> Iterator[Offer]:
    classes = frozenset(scenario.device_classes) or _SERVER_CLASSES
    for device in catalog.devices.values():
        if scenario.devices:
            wanted = device.id in scenario.devices
        else:
            sold = not device.sold_only_in or scenario.region in device.sold_only_in
            wanted = sold and device.device_class in classes
        if wanted and not device.reference and device.device_class is not DeviceClass.CPU:
            in_the_pocket = device.device_class is DeviceClass.PHONE  # nobody buys phones for the model
            yield _device_offer(device, catalog, scenario.max_devices or UNLIMITED, owned=in_the_pocket)


def _of_hosts(scenario: Scenario, catalog: Catalog) -> Iterator[Offer]:
    classes = frozenset(scenario.device_classes) or _SERVER_CLASSES
    for host in catalog.hosts.values():
        wanted = host.cpu_device_id in scenario.devices if scenario.devices else DeviceClass.CPU in classes
        if wanted and not host.reference:
            yield _host_offer(host, catalog, scenario.max_devices or UNLIMITED, owned=False)


def _of_owned(owned: Mapping[str, int], catalog: Catalog) -> Iterator[Offer]:
    """Each device by itself; with an owned processor, its memory may also hold part of a model."""
    devices = {catalog.device(name): count for name, count in owned.items()}
    processors = [device for device in devices if device.device_class is DeviceClass.CPU]
    hosts = [host for device in processors for host in _hosts_with(device, catalog)]
    for device, count in devices.items():
        if device.device_class is DeviceClass.CPU:
            continue
        offer = _device_offer(device, catalog, count, owned=True)
        yield offer
        for host in hosts:
            yield replace(offer, hardware=replace(offer.hardware, host=host), hybrid=True)
    for host in hosts:
        count = devices[catalog.device(host.cpu_device_id or "")]
        yield _host_offer(host, catalog, max(1, count // host.sockets), owned=True)


def _of_machine(machine: Machine, catalog: Catalog) -> Iterator[Offer]:
    """The processors, and every group of equal accelerators that the catalogue knows; of MIG slices one alone, because
    CUDA gives a process no second one.
    """
    known = catalog.hosts.get(THIS_MACHINE)
    host = replace(known, reference=False) if known else this_host(machine, catalog)
    whole = [match_device(item, catalog.devices) for item in machine.accelerators if item.part is None]
    parts = [device_here(item, catalog.devices) for item in machine.accelerators if item.part is not None]
    for device in {item.id: item for item in (*whole, *parts) if item is not None}.values():
        count = max(1, whole.count(device))
        yield Offer(Hardware(device, host), count, count, False, True, False, True, hybrid=True)
    yield Offer(Hardware(None, host), 1, 1, False, True, False, True)


def _device_offer(device: Device, catalog: Catalog, available: int, *, owned: bool = False) -> Offer:
    chassis = max(catalog.servers_for(device.id), key=lambda s: s.n_devices if s.n_devices <= 16 else 0, default=None)
    per_node = chassis.n_devices if chassis else _PER_NODE.get(device.device_class, 1)
    return Offer(
        hardware=Hardware(device, None, chassis),
        per_node=min(per_node, available),
        available=available,
        multi_node=device.device_class in _MULTI_NODE,
        owned=owned,
        rentable=catalog.price_range(device.id, "cloud_hourly") is not None,
        buyable=device.vendor not in _RENTED_ONLY,
    )


def _host_offer(host: Host, catalog: Catalog, available: int, *, owned: bool) -> Offer:
    processor = catalog.devices.get(host.cpu_device_id or "")
    buyable = processor is None or processor.vendor not in _RENTED_ONLY
    return Offer(Hardware(None, host), 1, available, False, owned, False, buyable)


def _hosts_with(device: Device, catalog: Catalog) -> list[Host]:
    known = [host for host in catalog.hosts.values() if host.cpu_device_id == device.id and not host.reference]
    return known or [_host_of(device)]


def _host_of(device: Device) -> Host:
    """A one-socket machine around a processor of the catalogue."""
    return Host(
        id=f"one-{device.id}",
        name=device.name,
        sockets=1,
        cores=device.units or 1,
        memory_bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        cpu_device_id=device.id,
        memory_bytes=device.memory_bytes,
        isa=device.isa,
        peak_fp32_ops_per_s=device.peak_ops_per_s.get("fp32"),
        peak_bf16_ops_per_s=device.peak_ops_per_s.get("bf16"),
        reference=False,
        source=device.source,
        confidence=device.confidence,
    )


def _hosting_allows(hosting: Hosting, offer: Offer) -> bool:
    if hosting is Hosting.ON_PREMISES:
        return offer.buyable
    return offer.rentable if hosting is Hosting.CLOUD else offer.buyable or offer.rentable

"""`advisor machine`: what this machine is and, with `--bench`, how fast its parts are."""

from __future__ import annotations

import argparse
import json
import sys

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.catalog.text import translate
from advisor.catalog.units import format_bytes, format_ops
from advisor.commands.probe_output import keep, language, show_progress
from advisor.report.failure_text import failure_text
from advisor.report.gauges import gauges
from probes.card_part import device_here
from probes.codec import encode
from probes.device_lock import DeviceLock
from probes.machine import detect, match_device
from probes.machine_records import Accelerator, Cpu, Machine
from probes.need import memory_limit
from probes.process import Identity, ProbeProcess, new_probe_id
from probes.rapl import rapl_is_readable
from probes.result import Measured, Point, ProbeResult
from probes.spec import Kind, ProbeSpec
from probes.store import Store

__all__ = ["HELP", "add_arguments", "run"]

HELP = "what this machine is, and how fast"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bench", action="store_true", help="measure memory, matrix products, disk (about 30 s)")
    parser.add_argument("--device", help="with --bench: cpu, cuda:0 (default: all of them in turn)")
    parser.add_argument("--repeats", type=int, default=5, help="with --bench: repetitions of each figure")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    machine = detect()
    devices = _devices(machine, arguments.device) if arguments.bench else []
    results = [_bench(machine, device, arguments.repeats) for device in devices]
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(machine, results), indent=1) + "\n")
    else:
        lines = _lines(machine) + [line for result in results for line in _bench_lines(result)]
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(result.is_valid for result in results) else 1


def _devices(machine: Machine, chosen: str | None) -> list[str]:
    """Raises InputError for a device that is not here."""
    here = ["cpu", *(a.torch_device for a in machine.accelerators if a.torch_device)]
    if chosen is not None and chosen not in here:
        raise InputError("device", ", ".join(here), chosen)
    return here if chosen is None else [chosen]


def _bench(machine: Machine, device: str, repeats: int) -> ProbeResult:
    limit = memory_limit() if device == "cpu" else None
    spec = ProbeSpec("", "", kind=Kind.MACHINE, device=device, repeats=repeats, memory_limit_bytes=limit)
    store = Store()
    lock = DeviceLock(store.folder, device)
    lock.take()
    process = ProbeProcess(spec, Identity(new_probe_id(), machine.fingerprint, machine.name))
    for event in process.events():
        show_progress(event, process.elapsed_s)
    result = process.result()
    lock.release()
    if result.is_valid:
        keep(store, result)
    return result


def _as_json(machine: Machine, results: list[ProbeResult]) -> dict[str, object]:
    body = dict(encode(machine))
    body["notes"] = [{"key": key, "detail": detail, "text": _note(key, detail)} for key, detail in machine.notes]
    body["accelerators"] = [{**encode(a), "catalog_id": _catalog_id(a)} for a in machine.accelerators]
    body["energy"] = "rapl" if rapl_is_readable() else "not measurable here"
    if results:
        body["bench"] = _bench_json(results[0])
        body["accelerator_benches"] = {result.spec.device: _bench_json(result) for result in results[1:]}
    return body


def _bench_json(result: ProbeResult) -> dict[str, object]:
    return {
        "device": result.spec.device,
        "state": str(result.state),
        "error": result.error,
        "points": encode(result.points),
        "conditions": encode(result.conditions),
        "flags": list(result.flags),
    }


def _lines(machine: Machine) -> list[str]:
    rows = [*_cpu_rows(machine.cpu), *_memory_rows(machine)]
    rows += [("accelerator", _accelerator(a)) for a in machine.accelerators]
    rows.append(("energy", "RAPL" if rapl_is_readable() else _word("energy_absent")))
    rows.append(("fingerprint", machine.fingerprint))
    lines = [f"{_word(key)}: {text}" for key, text in rows]
    return lines + [f"- {_note(key, detail)}" for key, detail in machine.notes]


def _cpu_rows(cpu: Cpu) -> list[tuple[str, str]]:
    cores = _word("cores", cores=cpu.cores, threads=cpu.threads, sockets=cpu.sockets, numa=cpu.numa_nodes)
    steal = "–" if cpu.steal_share is None else _word("steal_share", share=f"{cpu.steal_share:.1%}")
    rows = [
        ("cpu", f"{cpu.title}, {cores}"),
        ("quota", _word("quota_cores", cores=cpu.quota_cores) if cpu.quota_cores else _word("no_limit")),
        ("isa", ", ".join(cpu.isa)),
        ("caches", ", ".join(f"{k} {format_bytes(v, binary=True)}" for k, v in cpu.cache_bytes.items())),
        ("steal", steal),
    ]
    return rows + ([("virtual", cpu.hypervisor)] if cpu.hypervisor else [])


def _memory_rows(machine: Machine) -> list[tuple[str, str]]:
    memory, disk = machine.memory, machine.disk
    total, available, swap = (
        format_bytes(size, binary=True) for size in (memory.total_bytes, memory.available_bytes, memory.swap_bytes)
    )
    limit = _word("no_limit") if memory.limit_bytes is None else format_bytes(memory.limit_bytes, binary=True)
    return [
        ("memory", _word("memory_value", total=total, available=available, swap=swap)),
        ("memory_limit", limit),
        ("disk", f"{format_bytes(disk.free_bytes)} / {format_bytes(disk.total_bytes)} {disk.kind}".strip()),
    ]


def _bench_lines(result: ProbeResult) -> list[str]:
    lang, steal = language(), result.conditions.steal_share
    lines = [f"{_word('bench')} {result.spec.device}:", *(_point(point) for point in result.points)]
    lines += [failure_text(result, lang)] if result.error else []
    lines += [f"- {translate(lang, f'probes.warning.{warning}')}" for warning in result.conditions.warnings]
    lines += [] if steal is None else [f"{_word('steal')}: {_word('steal_bench', share=f'{steal:.1%}')}"]
    if "noisy" in result.flags:
        seen = [m for p in result.points if p.name in ("bandwidth", "gemm") for m in p.values.values()]
        lines.append(f"- {_word('noisy', spread=f'{max(m.spread for m in seen):.0%}')}")
    return lines


def _point(point: Point) -> str:
    where = " ".join((point.name, point.label, *(f"{k}={v:g}" for k, v in point.at.items()))).strip()
    return f"{where}: " + ", ".join(f"{name} {_figure(name, m)}" for name, m in point.values.items())


def _figure(name: str, m: Measured) -> str:
    if name.endswith("bytes_per_s"):
        return f"{format_bytes(m.value)}/s ({format_bytes(m.low)} to {format_bytes(m.high)})"
    if name == "ops_per_s":
        return f"{_ops(m.value)} ({_ops(m.low)} to {_ops(m.high)})"
    return f"{m.value:.3g}"


def _ops(rate: float) -> str:
    return format_ops(rate) if rate >= 1e12 else f"{rate / 1e9:,.0f} GFLOPS"


def _accelerator(a: Accelerator) -> str:
    facts = [a.name, format_bytes(a.memory_bytes, binary=True) if a.memory_bytes else "", a.driver]
    facts += [_word("capability", capability=a.compute_capability)] if a.compute_capability else []
    facts += [f"{name} {text}" for name, text in gauges(a.state, language()).items()]
    device = device_here(a, load_catalog().devices)
    return ", ".join(fact for fact in facts if fact) + f" [{device.id if device else '?'}]"


def _catalog_id(a: Accelerator) -> str | None:
    device = match_device(a, load_catalog().devices)
    return None if device is None else device.id


def _note(key: str, detail: str) -> str:
    return translate(language(), f"probes.note.{key}", detail=detail).strip()


def _word(key: str, **values: object) -> str:
    return translate(language(), f"probes.machine.{key}", **values)

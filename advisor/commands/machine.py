"""`advisor machine`: what this machine is and, with `--bench`, how fast its parts are."""

from __future__ import annotations

import argparse
import json
import sys

from advisor.catalog import load_catalog
from advisor.catalog.text import translate
from advisor.catalog.units import format_bytes, format_ops
from advisor.commands.probe_output import language, show_progress
from probes.codec import encode
from probes.machine import detect, match_device
from probes.machine_records import Accelerator, Machine
from probes.need import memory_limit
from probes.process import Identity, ProbeProcess, new_probe_id
from probes.result import Measured, Point, ProbeResult
from probes.spec import Kind, ProbeSpec
from probes.store import Store
from probes.system import rapl_joules

__all__ = ["HELP", "add_arguments", "run"]

HELP = "what this machine is, and how fast"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bench", action="store_true", help="measure memory, matrix products, disk (about 30 s)")
    parser.add_argument("--device", default="cpu", help="with --bench: cpu, cuda:0")
    parser.add_argument("--repeats", type=int, default=5, help="with --bench: repetitions of each figure")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    machine = detect()
    result = _bench(machine, arguments.device, arguments.repeats) if arguments.bench else None
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(machine, result), indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(machine, result)) + "\n")
    return 0 if result is None or result.is_valid else 1


def _bench(machine: Machine, device: str, repeats: int) -> ProbeResult:
    limit = memory_limit() if device == "cpu" else None
    spec = ProbeSpec("", "", kind=Kind.MACHINE, device=device, repeats=repeats, memory_limit_bytes=limit)
    process = ProbeProcess(spec, Identity(new_probe_id(), machine.fingerprint, machine.name))
    for event in process.events():
        show_progress(event, process.elapsed_s)
    result = process.result()
    if result.is_valid:
        Store().add(result)
    return result


def _as_json(machine: Machine, result: ProbeResult | None) -> dict[str, object]:
    body = dict(encode(machine))
    body["notes"] = [{"key": key, "detail": detail, "text": _note(key, detail)} for key, detail in machine.notes]
    body["accelerators"] = [{**encode(a), "catalog_id": _catalog_id(a)} for a in machine.accelerators]
    body["energy"] = "rapl" if rapl_joules() is not None else "not measurable here"
    if result is not None:
        body["bench"] = {
            "state": str(result.state),
            "error": result.error,
            "points": encode(result.points),
            "conditions": encode(result.conditions),
            "flags": list(result.flags),
        }
    return body


def _lines(machine: Machine, result: ProbeResult | None) -> list[str]:
    cpu, memory, lang = machine.cpu, machine.memory, language()
    cores = translate(
        lang, "probes.machine.cores", cores=cpu.cores, threads=cpu.threads, sockets=cpu.sockets, numa=cpu.numa_nodes
    )
    rows = [("cpu", f"{cpu.model}, {cores}")]
    rows += [("virtual", cpu.hypervisor)] if cpu.hypervisor else []
    rows += [("quota", translate(lang, "probes.machine.quota", cores=cpu.quota_cores))] if cpu.quota_cores else []
    rows.append(("isa", ", ".join(cpu.isa)))
    rows.append(("caches", ", ".join(f"{k} {format_bytes(v, binary=True)}" for k, v in cpu.cache_bytes.items())))
    limit = memory.limit_bytes
    size = format_bytes(memory.total_bytes, binary=True)
    rows.append(
        (
            "memory",
            size
            if limit is None
            else f"{size}, {translate(lang, 'probes.machine.memory_limit', limit=format_bytes(limit, binary=True))}",
        )
    )
    rows.append(
        (
            "disk",
            f"{format_bytes(machine.disk.free_bytes)} / {format_bytes(machine.disk.total_bytes)} {machine.disk.kind}",
        )
    )
    rows += [("accelerator", _accelerator(a)) for a in machine.accelerators]
    rows.append(("fingerprint", machine.fingerprint))
    lines = [f"{translate(lang, f'probes.machine.{key}')}: {text}" for key, text in rows]
    lines += [f"- {_note(key, detail)}" for key, detail in machine.notes]
    return lines + (_bench_lines(result) if result else [])


def _bench_lines(result: ProbeResult) -> list[str]:
    lang = language()
    lines = [_point(point) for point in result.points]
    lines += [result.error] if result.error else []
    lines += [f"- {translate(lang, f'probes.warning.{warning}')}" for warning in result.conditions.warnings]
    if "noisy" in result.flags and result.bandwidth_bytes_per_s is not None:
        spread = f"{result.bandwidth_bytes_per_s.spread:.0%}"
        lines.append(f"- {translate(lang, 'probes.machine.noisy', spread=spread)}")
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
    state = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in a.state.items())
    known = _catalog_id(a)
    return f"{a.name}, {format_bytes(a.memory_bytes, binary=True)}, {a.driver} [{known or '?'}] {state}".strip()


def _catalog_id(a: Accelerator) -> str | None:
    device = match_device(a, load_catalog().devices)
    return None if device is None else device.id


def _note(key: str, detail: str) -> str:
    return translate(language(), f"probes.note.{key}", detail=detail).strip()

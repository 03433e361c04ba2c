"""What the machine is, as cards."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.text import translate
from advisor.report.gauges import gauges
from advisor.report.numbers import bytes_text, gib_text, number
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import key_values
from probes.machine_records import Accelerator, Cpu, Machine

__all__ = ["machine_cards"]


def machine_cards(machine: Machine) -> None:
    """Processor, memory and disk, accelerators; and what was looked for in vain."""
    with st.grid(3, min_column_width=280):
        with st.container(border=True, height="stretch"):
            st.markdown(f"**:material/memory: {t('machine.cpu')}**")
            key_values(_cpu(machine.cpu), alt=t("machine.cpu"))
        with st.container(border=True, height="stretch"):
            st.markdown(f"**:material/storage: {t('machine.memory')}**")
            key_values(_memory(machine), alt=t("machine.memory"))
        with st.container(border=True, height="stretch"):
            st.markdown(f"**:material/developer_board: {t('machine.accelerators')}**")
            _accelerators(machine)


def _cpu(cpu: Cpu) -> dict[str, str]:
    facts = {
        t("machine.model"): cpu.title,
        t("machine.cores"): t("machine.cores_value", cores=cpu.cores, threads=cpu.threads),
        t("machine.sockets"): t("machine.sockets_value", sockets=cpu.sockets, numa=cpu.numa_nodes),
        t("machine.isa"): ", ".join(cpu.isa) or "–",
        t("machine.cache"): ", ".join(f"{k.upper()} {gib_text(v)}" for k, v in cpu.cache_bytes.items()) or "–",
    }
    if cpu.max_hz:
        facts[t("machine.clock")] = f"{number(cpu.max_hz / 1e9)} GHz"
    if cpu.hypervisor:
        facts[t("machine.hypervisor")] = t("machine.unnamed") if cpu.hypervisor == "unknown" else cpu.hypervisor
    if cpu.steal_share is not None:
        facts[t("machine.steal")] = t("machine.steal_value", share=f"{100 * cpu.steal_share:.1f} %")
    facts[t("machine.quota")] = number(cpu.quota_cores) if cpu.quota_cores else t("machine.no_limit")
    return facts


def _memory(machine: Machine) -> dict[str, str]:
    memory, disk = machine.memory, machine.disk
    facts = {
        t("machine.ram"): gib_text(memory.total_bytes),
        t("machine.available"): gib_text(memory.available_bytes),
        t("machine.swap"): gib_text(memory.swap_bytes) if memory.swap_bytes else t("machine.none"),
        t("machine.disk"): t(
            "machine.disk_value", free=bytes_text(disk.free_bytes), total=bytes_text(disk.total_bytes)
        ),
        t("machine.system"): machine.os,
    }
    facts[t("machine.limit")] = gib_text(memory.limit_bytes) if memory.limit_bytes else t("machine.no_limit")
    return facts


def _accelerators(machine: Machine) -> None:
    for item in machine.accelerators:
        key_values(_accelerator(item), alt=item.name)
    if not machine.accelerators:
        st.markdown(f"{t('machine.no_accelerator')}")
    notes = [translate(language(), f"probes.note.{key}", detail=detail) for key, detail in machine.notes]
    if notes:
        st.caption(plain(" ".join(notes)))


def _accelerator(item: Accelerator) -> dict[str, str]:
    facts = {t("machine.name"): item.name, t("machine.vram"): gib_text(item.memory_bytes) if item.memory_bytes else "–"}
    if item.free_bytes is not None:
        facts[t("machine.free")] = gib_text(item.free_bytes)
    if item.compute_capability is not None:
        facts[t("machine.capability")] = str(item.compute_capability)
    if item.driver:
        facts[t("machine.driver")] = item.driver
    return facts | gauges(item.state, language())

"""What the benchmark of this machine measured: memory by threads, matrix products, disk, copies to accelerators."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.report.numbers import bytes_text, number, percent_text, range_text
from advisor.ui import probing
from advisor.ui.probe_numbers import remark
from advisor.ui.text import plain, t
from probes.machine_records import Machine
from probes.result import Measured, Point, ProbeResult
from probes.spec import Kind

__all__ = ["benchmark_table", "last_benchmark", "rates_table"]

_NAMES = ("bandwidth", "gemm", "disk", "pcie")


def last_benchmark(machine: Machine) -> None:
    """The newest one of this machine with its date, or how to get one."""
    try:
        found = probing.registry().store.history(fingerprint=machine.fingerprint, valid_only=True)
    except FathomError:
        return  # the history below says what is wrong with the store
    runs = [r for r in found if r.spec.kind is Kind.MACHINE]
    if not runs:
        st.caption(t("machine.no_benchmark"))
        return
    for device in dict.fromkeys(r.spec.device for r in runs):
        _benchmark(next(r for r in runs if r.spec.device == device))


def _benchmark(run: ProbeResult) -> None:
    when = run.started_at[:16].replace("T", " ")
    with st.expander(t("machine.benchmark", device=run.spec.device.upper(), when=when), icon=":material/speed:"):
        benchmark_table(run)


def benchmark_table(run: ProbeResult) -> None:
    """All rates of a finished benchmark, after what makes them doubtful."""
    _warnings(run)
    rates_table(run.points)


def _warnings(run: ProbeResult) -> None:
    """Whether the machine was too unsteady to trust what it showed, and what the neighbours took."""
    if "noisy" in run.flags:
        st.warning(t("machine.noisy"), icon=":material/warning:")
    for key in run.conditions.warnings:
        st.caption(f":material/warning: {remark('warning', key)}")
    steal = run.conditions.steal_share
    st.caption(t("machine.steal_unknown") if steal is None else t("machine.steal_during", share=percent_text(steal)))


def rates_table(points: Sequence[Point]) -> None:
    """One row per figure with the spread over its repetitions; nothing where none was measured."""
    rows = [row for name in _NAMES for point in points if point.name == name for row in _rows(point)]
    if not rows:
        return
    st.table(
        {
            t("history.figure"): [plain(name) for name, _, _ in rows],
            t("history.measured"): [plain(text) for _, text, _ in rows],
            t("machine.spread"): [plain(text) for _, _, text in rows],
        },
        border="horizontal",
        hide_index=True,
        alt=t("machine.rates_alt", count=len(rows)),
    )
    slow = _slow_products(points)
    if slow:
        st.caption(t("machine.slow_products", names=", ".join(slow)))


def _slow_products(points: Sequence[Point]) -> list[str]:
    """Narrow precisions that are no faster than fp32 here: the hardware has no units for them, or torch no kernel."""
    rates = {p.label: p.values["ops_per_s"].value for p in points if p.name == "gemm" and "ops_per_s" in p.values}
    return [name for name, rate in rates.items() if name != "fp32" and rate < rates.get("fp32", 0.0)]


def _rows(point: Point) -> list[tuple[str, str, str]]:
    return [
        (_name(point, key), _text(point, seen.value), _spread(point, seen))
        for key, seen in point.values.items()
        if key.endswith("_per_s")
    ]


def _name(point: Point, key: str) -> str:
    cached = point.values.get("cached_share")
    if point.name == "disk" and cached is not None:
        return t(f"machine.rate.{key}_{point.label}_cached", share=percent_text(cached.value))
    if point.name == "disk":
        return t(f"machine.rate.{key}_{point.label}")
    return t(f"machine.rate.{key}", label=point.label, threads=round(point.at.get("threads", 1)))


def _text(point: Point, value: float) -> str:
    if point.name != "gemm":
        return f"{bytes_text(value)}/s"
    unit = "OPS" if point.label.startswith("int") else "FLOPS"
    return f"{number(value / 1e12)} T{unit}" if value >= 1e12 else f"{number(value / 1e9)} G{unit}"


def _spread(point: Point, seen: Measured) -> str:
    if seen.n < 2:
        return t("machine.once")
    ends = range_text(_text(point, seen.low), _text(point, seen.high))
    return t("machine.spread_value", ends=ends, count=seen.n)

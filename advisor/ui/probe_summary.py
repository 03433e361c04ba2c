"""What sweeps, slices, sustained runs and servers sum up to, beyond the headline figures; and energy."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.report.numbers import bytes_text, duration_text, gib_text, number
from advisor.report.sweep_text import sweep_texts
from advisor.ui.probe_names import catalogue_format
from advisor.ui.probe_points import points_table
from advisor.ui.text import language, plain, t
from probes.engines.precision import canonical_format
from probes.leak import GROWS, UNDECIDED
from probes.result import Conditions, Measured, Point, ProbeResult
from probes.spec import ProbeSpec, SweepAxis

__all__ = ["formats_table", "summary_table"]

# In the order of interest; a server's own counters stay in the export.
_NAMES = (
    "full_decode_tok_s",
    "full_peak_bytes",
    *(f"p{p}_{name}" for name in ("ttft_ms", "tpot_ms") for p in (50, 95, 99)),
    "output_tok_s",
    "finished_requests_per_s",
    "goodput_requests_per_s",
    "finished_requests",
    "failed_requests",
    "queue_length_end",
    "joules_per_token",
    "memory_drift_bytes_per_hour",
    "first_out_of_memory_s",
    "last_answer_s",
)


def summary_table(result: ProbeResult) -> None:
    """Nothing for a run that has no such figures, but what it cost in energy, or that nothing here can tell."""
    formats_table(result.spec, result.points)
    points_table(result)
    for text in sweep_texts(result, language(), gib_text):
        st.caption(f":material/flag: {plain(text)}")
    rows = [(t(f"probe.summary.{name}"), _text(name, result)) for name in _NAMES if name in result.figures]
    resident = result.conditions.page_cache_resident
    if resident is not None:
        rows.append((t("probe.summary.page_cache"), f"{100 * resident:.0f} %"))
    if result.spec.endpoint is None:
        rows.append((t("probe.summary.energy"), _energy(result)))
        rows += [(t("probe.summary.conditions"), text)] if (text := _conditions(result.conditions)) else []
    if not rows:
        return
    st.table(
        {t("history.figure"): [name for name, _ in rows], t("history.measured"): [plain(text) for _, text in rows]},
        border="horizontal",
        hide_index=True,
        alt=t("probe.summary.alt"),
    )


def formats_table(spec: ProbeSpec, measured: Sequence[Point]) -> None:
    """A sweep of formats, one row each as it comes; a slow kernel is named as such."""
    points = [p for p in measured if p.name == "decode" and p.label]
    if spec.sweep_axis is not SweepAxis.FORMAT or not points:
        return
    shares = [p.values.get("mbu") for p in points]
    st.table(
        {
            t("history.format"): [plain(_format(p.label)) for p in points],
            t("probe.value.decode_tok_s"): [number(p.values["decode_tok_s"].value) for p in points],
            t("probe.figure.mbu"): [f"{100 * m.value:.0f} %" if m else "–" for m in shares],
            t("probe.summary.remark"): [t("probe.summary.slow") if "slow_kernel" in p.values else "" for p in points],
        },
        border="horizontal",
        hide_index=True,
        alt=t("probe.summary.formats_alt"),
    )


def _format(name: str) -> str:
    return catalogue_format(canonical_format(name))


def _text(name: str, result: ProbeResult) -> str:
    value = result.figures[name].value
    if name.endswith("bytes_per_hour"):
        return _drift(result.figures[name], result.flags)
    if name in ("first_out_of_memory_s", "last_answer_s"):
        return duration_text(value)
    if name.endswith("_bytes"):
        return gib_text(value)
    if name.startswith("share_"):
        return f"{100 * value:.0f} %"
    return duration_text(value / 1e3) if name.endswith("_ms") else number(value)


def _drift(drift: Measured, flags: Sequence[str]) -> str:
    """Growth per hour with its interval, and the verdict."""
    name = "leak" if GROWS in flags else "leak_undecided" if UNDECIDED in flags else "no_leak"
    ends = (drift.low, drift.value, drift.high)
    low, value, high = (f"{'−' if size < 0 else ''}{bytes_text(abs(size))}/h" for size in ends)
    return t("probe.summary.drift_value", value=value, low=low, high=high, verdict=t(f"probe.summary.{name}"))


def _conditions(c: Conditions) -> str:
    """How the machine was meanwhile, as far as the system tells."""
    products = c.product_ops_per_s
    shown = {
        "load": None if c.load_average is None else number(c.load_average),
        "foreign": None if c.foreign_cores is None else number(c.foreign_cores),
        "steal": None if c.steal_share is None else f"{100 * c.steal_share:.1f} %",
        "clock": None if c.clock_hz is None else f"{number(c.clock_hz / 1e9)} GHz",
        "before": _rate(c.canary_before_bytes_per_s),
        "after": _rate(c.canary_after_bytes_per_s),
        "products": None if products is None else f"{number(products.value / 1e9)} GFLOP/s",
        "bound": None if c.hardware_threads is None else number(c.hardware_threads),
    }
    return "; ".join(t(f"probe.summary.condition.{name}", value=text) for name, text in shown.items() if text)


def _rate(bytes_per_s: float | None) -> str | None:
    return None if bytes_per_s is None else f"{bytes_text(bytes_per_s)}/s"


def _energy(result: ProbeResult) -> str:
    joules = result.conditions.energy_joules
    if joules is None:
        return t("probe.summary.energy_unknown")
    return t("probe.summary.energy_value", joules=number(joules), source=result.conditions.energy_source.upper())

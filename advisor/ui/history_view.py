"""Measurements kept on this machine: table, drift over time, predicted against measured."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pandas as pd
import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.catalog.text import translate
from advisor.evidence.surprises import measured_with_duration
from advisor.report.failure_text import failure_text
from advisor.report.figures import Line, Lines, Point, Scatter
from advisor.report.numbers import duration_text, number
from advisor.report.palette import Tone
from advisor.ui import probing
from advisor.ui.machine_rates import benchmark_table
from advisor.ui.pooling_view import export_button, import_upload
from advisor.ui.probe_figures import point_lines
from advisor.ui.probe_names import device_name, format_name, kind_name, model_name, spec_title
from advisor.ui.probe_numbers import comparison_table, remark, runs_table
from advisor.ui.probe_summary import summary_table
from advisor.ui.probe_view import begin_probe
from advisor.ui.sustained_view import sustained
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, empty_state, problem_state
from probes.machine_records import Machine
from probes.result import ProbeResult
from probes.resume import continuation, totals
from probes.spec import Kind
from probes.store import Store

__all__ = ["history"]

MAX_ROWS = 200
MOST_COMPARED = 4  # columns that a screen has room for
DRIFT_LINES = 4  # the configurations that were run most often
_TONES = tuple(Tone)


def history(store: Store, machine: Machine) -> None:
    """Newest first; one chosen row shows that run in full, several side by side."""
    try:
        results = list(store.history(limit=MAX_ROWS))
    except FathomError as problem:
        problem_state(problem)
        return
    if not results:
        empty_state(t("history.none_title"), t("history.none_text"), icon="science")
        import_upload(store)
        return
    frame = _frame(results, machine)
    event = st.dataframe(
        frame,
        column_order=_telling(frame),  # the others are in the table's own menu of columns
        key=f"history.{len(results)}.{results[0].id}",
        hide_index=True,
        height=min(320, 38 + 35 * len(results)),
        column_config={
            "when": st.column_config.DatetimeColumn(t("history.when"), format="YYYY-MM-DD HH:mm", width=115),
            "model": st.column_config.TextColumn(t("history.model"), pinned=True, width=190),
            "format": st.column_config.TextColumn(t("history.format"), width=90),
            "kind": st.column_config.TextColumn(t("history.kind"), width=95),
            "device": st.column_config.TextColumn(t("history.device")),
            "state": st.column_config.TextColumn(t("history.state")),
            "decode": st.column_config.NumberColumn(t("probe.figure.decode_tok_s"), format="%.2f", width=90),
            "prefill": st.column_config.NumberColumn(t("probe.figure.prefill_tok_s"), format="%.1f", width=90),
            "peak": st.column_config.NumberColumn(t("history.peak_short"), format="%.2f", width=80),
            "inside": st.column_config.TextColumn(t("history.inside_short"), width=80),
            "flags": st.column_config.TextColumn(t("history.flags"), width=100),
            "mbu": st.column_config.NumberColumn(
                t("probe.figure.mbu"), format="%.0f %%", width=95, help=t("history.mbu_help")
            ),
            "here": st.column_config.CheckboxColumn(t("history.here"), width=90),
        },
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
        alt=t("history.table_alt", count=len(results)),
    )
    st.caption(t("history.select_hint"))
    chosen = [results[row] for row in event.selection.rows]
    if len(chosen) == 1:
        _chosen(chosen[0], machine)
    elif chosen:
        runs_table(chosen[:MOST_COMPARED])
    figure = _scatter(results)
    if figure.points:
        chart(figure, key="history.scatter")
    drift = _drift(results, machine)
    if drift.lines:
        chart(drift, key="history.drift", height=260)
    export_button(store)
    import_upload(store)


def _chosen(result: ProbeResult, machine: Machine) -> None:
    st.markdown(f"**{plain(spec_title(result.spec))}**")
    if result.error:
        st.caption(plain(failure_text(result, language())))
    for figure in point_lines(result.points, language()):
        chart(figure, key=f"history.points.{figure.title}", height=220)
    if result.spec.kind is Kind.MACHINE:
        benchmark_table(result)
        return
    comparison_table(result)
    summary_table(result)
    here = result.fingerprint == machine.fingerprint and result.spec.endpoint is None
    if result.spec.kind is not Kind.SUSTAINED or not here:
        return
    if result.is_valid:
        sustained(result)
    else:
        _continue(result)


def _continue(result: ProbeResult) -> None:
    """A run that was cut short goes on where it ended, as one run."""
    target = result.spec.load
    if target is None:
        return
    left = target.duration_s - totals(result.points, target)[1]
    if left < 1:
        return
    timeout_s = replace(target, duration_s=left).patience_s
    spec = continuation(replace(result.spec, timeout_s=timeout_s, memory_limit_bytes=None), result)
    st.button(
        t("history.continue", time=duration_text(left)),
        key=f"history.continue.{result.id}",
        icon=":material/resume:",
        on_click=begin_probe,
        args=(probing.registry(), spec),
    )


def _frame(results: list[ProbeResult], machine: Machine) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "when": pd.Timestamp(r.started_at),
                "model": model_name(r.spec) or "–",
                "format": format_name(r.spec),
                "kind": kind_name(r.spec),
                "decode": r.decode_tok_s.value if r.decode_tok_s else None,
                "prefill": r.prefill_tok_s.value if r.prefill_tok_s else None,
                "peak": r.peak_bytes / 2**30 if r.peak_bytes else None,
                "inside": _inside(r),
                "flags": _remarks(r),
                "device": t("probe.endpoint") if r.spec.endpoint else device_name(r.spec.device),
                "state": translate(language(), f"probes.state.{r.state}"),
                "mbu": 100 * r.mbu.value if r.mbu else None,
                "here": r.fingerprint == machine.fingerprint,
            }
            for r in results
        ]
    )


def _inside(result: ProbeResult) -> str | None:
    """How many of the figures that were foreseen and measured lie inside their intervals, "5 / 6"."""
    foreseen = result.predicted.items()
    held = [foreseen[name].holds(m.value) for name, m in measured_with_duration(result).items() if name in foreseen]
    return f"{sum(held)} / {len(held)}" if held else None


def _remarks(result: ProbeResult) -> str | None:
    """Its state where it is not done, then what was unusual; whole in the cell's own view."""
    state = () if result.is_valid else (translate(language(), f"probes.state.{result.state}"),)
    flags = (remark("flag", key) for key in result.flags)
    warnings = (remark("warning", key) for key in result.conditions.warnings)
    return " ".join((*state, *flags, *warnings)) or None


def _telling(frame: pd.DataFrame) -> list[str]:
    """What fits a screen; of the rest the place, where there are several."""
    left_out = ["mbu", "state", *(name for name in ("device", "here") if frame[name].nunique() < 2)]
    return [str(name) for name in frame.columns if name not in left_out]


def _scatter(results: list[ProbeResult]) -> Scatter:
    """Decode and prefill rates as foreseen before each run against what was seen."""
    points = tuple(
        Point(
            id=f"{r.id}.{name}",
            x=seen.value,
            y=r.predicted.items()[name].value,
            label=f"{plain(model_name(r.spec))} {plain(format_name(r.spec))}: {number(seen.value)}",
            group=t(f"probe.figure.{name}"),
            y_low=r.predicted.items()[name].low,
            y_high=r.predicted.items()[name].high,
        )
        for r in results
        if r.is_valid
        for name, seen in r.measured().items()
        if name in ("decode_tok_s", "prefill_tok_s") and name in r.predicted.items() and seen.value > 0
    )
    return Scatter(
        title=t("history.scatter_title"),
        hint=t("history.scatter_hint"),
        alt=t("history.scatter_alt", count=len(points)),
        x_label=t("history.measured"),
        y_label=t("history.predicted"),
        points=points,
        log_x=True,
        log_y=True,
        diagonal=True,
    )


def _drift(results: list[ProbeResult], machine: Machine) -> Lines:
    """Decode rate of the same configuration over days, relative to its first run here."""
    groups: dict[str, list[ProbeResult]] = defaultdict(list)
    for r in reversed(results):
        if r.is_valid and r.decode_tok_s and r.spec.variant_id and r.fingerprint == machine.fingerprint:
            groups[spec_title(r.spec)].append(r)
    most = sorted((g for g in groups.items() if len(g[1]) > 1), key=lambda g: -len(g[1]))[:DRIFT_LINES]
    start = min((_day(runs[0]) for _, runs in most), default=0.0)
    lines = tuple(_relative(name, runs, start, tone) for (name, runs), tone in zip(most, _TONES, strict=False))
    return Lines(
        title=t("history.drift_title"),
        hint=t("history.drift_hint"),
        alt=t("history.drift_alt", count=len(lines)),
        x_label=t("history.drift_days"),
        y_label=t("history.drift_share"),
        lines=lines,
    )


def _relative(name: str, runs: list[ProbeResult], start: float, tone: Tone) -> Line:
    rates = [r.decode_tok_s for r in runs if r.decode_tok_s]
    first = rates[0].value or 1.0
    parts = [tuple(getattr(rate, end) / first for rate in rates) for end in ("value", "low", "high")]
    return Line(plain(name), tuple(_day(r) - start for r in runs), parts[0], tone, parts[1], parts[2])


def _day(result: ProbeResult) -> float:
    return pd.Timestamp(result.started_at).timestamp() / 86_400

"""Measured beside predicted, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.report.numbers import bytes_text, duration_text, gib_text, number, range_text
from advisor.report.surprise_text import surprise_texts
from advisor.ui.probe_names import result_title
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import basis_badges
from probes.result import Measured, Prediction, ProbeResult

__all__ = ["comparison_rows", "comparison_table", "figure_text", "prediction_table", "runs_table"]

_FIRST = ("peak_bytes", "duration_s")  # what decides whether to start


def prediction_table(prediction: Prediction) -> None:
    """What is foreseen before the run."""
    items = prediction.items()
    names = [*_FIRST, *(name for name in items if name not in (*_FIRST, "mbu"))]  # mbu follows from the others
    found = {name: items[name] for name in names if name in items}
    if not found:
        return
    with st.grid(5, min_column_width=130):
        for name, quantity in found.items():
            st.metric(
                t(f"probe.figure.{name}"),
                figure_text(name, quantity.value),
                _interval(name, quantity),
                delta_color="off",
                delta_arrow="off",
            )
    basis_badges(list(found.values()))


def comparison_rows(result: ProbeResult) -> list[Mapping[str, str]]:
    """One row per figure: what was seen, what was foreseen, and their ratio."""
    foreseen = result.predicted.items()
    return [
        {
            "name": t(f"probe.figure.{name}"),
            "measured": f"{figure_text(name, seen.value)} ({_spread(name, seen)})"
            if seen.n > 1
            else figure_text(name, seen.value),
            "predicted": _interval(name, foreseen[name]) if name in foreseen else "–",
            "ratio": number(seen.value / foreseen[name].value, 3) if name in foreseen and foreseen[name].value else "–",
        }
        for name, seen in result.measured().items()
    ]


def comparison_table(result: ProbeResult) -> None:
    """Figures of one run, and what was unusual about it."""
    for kind, keys in (("flag", result.flags), ("warning", result.conditions.warnings)):
        for key in keys:
            st.caption(f":material/warning: {translate(language(), f'probes.{kind}.{key}')}")
    for text in surprise_texts(result, language()):
        st.caption(f":material/difference: {plain(text)}")
    rows = comparison_rows(result)
    if not rows:
        return
    st.table(
        {
            t("history.figure"): [row["name"] for row in rows],
            t("history.measured"): [plain(row["measured"]) for row in rows],
            t("history.predicted"): [plain(row["predicted"]) for row in rows],
            t("history.ratio"): [row["ratio"] for row in rows],
        },
        border="horizontal",
        hide_index=True,
        alt=t("history.alt"),
    )


def runs_table(results: Sequence[ProbeResult]) -> None:
    """Several runs side by side, and each against the first that is chosen."""
    first = results[0].measured()
    names = list(dict.fromkeys(name for result in results for name in result.measured()))
    columns = {t("history.figure"): [t(f"probe.figure.{name}") for name in names]}
    for number_, result in enumerate(results, 1):
        seen = result.measured()
        columns[f"{number_}. {plain(result_title(result))}"] = [_beside(name, seen, first) for name in names]
    st.table(columns, border="horizontal", hide_index=True, alt=t("history.runs_alt", count=len(results)))


def figure_text(name: str, value: float) -> str:
    """A figure with its unit; rates in tokens carry theirs in the name."""
    if name == "peak_bytes":
        return gib_text(value)
    if name == "bandwidth_bytes_per_s":
        return f"{bytes_text(value)}/s"
    if name == "mbu":
        return f"{100 * value:.0f} %"
    if name.endswith("_ms"):
        return duration_text(value / 1e3)
    return duration_text(value) if name.endswith("_s") and not name.endswith("tok_s") else number(value)


def _beside(name: str, seen: Mapping[str, Measured], first: Mapping[str, Measured]) -> str:
    if name not in seen:
        return "–"
    text = figure_text(name, seen[name].value)
    if name not in first or seen is first or not first[name].value:
        return text
    return f"{text} (× {number(seen[name].value / first[name].value)})"


def _interval(name: str, quantity: Quantity) -> str:
    return _range(name, quantity.low, quantity.high)


def _spread(name: str, seen: Measured) -> str:
    return _range(name, seen.low, seen.high)


def _range(name: str, low: float, high: float) -> str:
    first, last = figure_text(name, low), figure_text(name, high)
    if first == last:
        return first
    return range_text(first, last) if " " in first else f"{first}–{last}"

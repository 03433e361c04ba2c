"""Measured beside predicted, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.report.numbers import bytes_text, gib_text, interval_text, number, value_text
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import basis_badges
from probes.result import Measured, Prediction, ProbeResult

__all__ = ["comparison_rows", "comparison_table", "figure_text", "prediction_table"]

_UNITS = {"load_s": "s", "prefill_tok_s": "tok/s", "ttft_ms": "ms", "decode_tok_s": "tok/s", "duration_s": "s"}


def prediction_table(prediction: Prediction) -> None:
    """What is foreseen before the run."""
    found = {
        name: quantity for name, quantity in prediction.items().items() if name != "mbu"
    }  # follows from the others
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


def figure_text(name: str, value: float) -> str:
    """A figure with its unit."""
    if name == "peak_bytes":
        return gib_text(value)
    if name == "bandwidth_bytes_per_s":
        return f"{bytes_text(value)}/s"
    if name == "mbu":
        return f"{100 * value:.0f} %"
    return f"{number(value)} {_UNITS.get(name, '')}".strip()


def _interval(name: str, quantity: Quantity) -> str:
    if name in ("peak_bytes", "bandwidth_bytes_per_s", "mbu"):
        return f"{figure_text(name, quantity.low)} – {figure_text(name, quantity.high)}"
    unit = _UNITS.get(name, "")
    return interval_text(quantity, unit) if quantity.low != quantity.high else value_text(quantity, unit)


def _spread(name: str, seen: Measured) -> str:
    return f"{figure_text(name, seen.low)} – {figure_text(name, seen.high)}"

"""Measured beside predicted, as tables: while a probe runs, and when it has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import texts
from advisor.evidence.surprises import measured_with_duration, surprises
from advisor.report.numbers import bytes_text, duration_text, gib_text, number, range_text
from advisor.report.pace_text import at_pace_text
from advisor.report.surprise_text import surprise_texts
from advisor.ui.probe_names import result_title
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import basis_badges
from probes.result import Measured, Point, Prediction, ProbeResult
from probes.spec import Kind, ProbeSpec

__all__ = [
    "comparison_rows",
    "comparison_table",
    "figure_text",
    "foreseen_text",
    "live_table",
    "prediction_table",
    "remark",
    "runs_table",
    "so_far",
]

_ORDER = tuple(field.name for field in fields(Prediction))
_NOT_MEASURED = {
    Kind.SWEEP: ("prefill_tok_s", "ttft_ms"),
    Kind.SUSTAINED: ("prefill_tok_s", "ttft_ms", "decode_tok_s"),  # its own percentiles in their place
}
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


def comparison_rows(
    measured: Mapping[str, Measured], foreseen: Mapping[str, Quantity], explained: Collection[str] | None = None
) -> list[dict[str, str]]:
    """One row per figure: what was seen, what was foreseen, their ratio, and whether it lies inside.

    `explained`: figures outside that have a reason of their own; the others outside follow from them. None: not known.
    """
    names = [name for name in _ORDER if name in measured or name in foreseen]
    rows = [_row(name, measured.get(name), foreseen.get(name)) for name in names]
    for name, row in zip(names, rows, strict=True):
        if explained is not None and row["inside"] == t("history.no") and name not in explained:
            row["inside"] = t("history.follows")
    return rows


def comparison_table(result: ProbeResult) -> None:
    """Figures of one run, whether they were foreseen, and what was unusual about it."""
    for kind, keys in (("flag", result.flags), ("warning", result.conditions.warnings)):
        for key in keys:
            st.caption(f":material/warning: {remark(kind, key)}")
    measured = measured_with_duration(result)
    if not measured:
        return
    _verdict(result, measured)
    if text := at_pace_text(result, language()):
        st.caption(plain(text))
    foreseen = {name: said for name, said in result.predicted.items().items() if name in measured}
    _table(comparison_rows(measured, foreseen, {found.name for found in surprises(result)}), t("history.alt"))


def remark(kind: str, key: str) -> str:
    """What is unusual in words; a key that a newer Fathom wrote stays as it is."""
    return texts(language()).get(f"probes.{kind}.{key}") or plain(key)


def live_table(spec: ProbeSpec, points: Sequence[Point], predicted: Prediction) -> None:
    """What a running probe has measured so far, beside what was foreseen; nothing where nothing was."""
    left_out = ("duration_s", "mbu", *_NOT_MEASURED.get(spec.kind, ()))  # the bar shows the one; the other follows
    foreseen = {name: said for name, said in predicted.items().items() if name not in left_out}
    if foreseen:
        _table(comparison_rows(so_far(points, max(spec.prompt_tokens)), foreseen), t("probe.live_alt"))


def so_far(points: Sequence[Point], prompt_tokens: int) -> dict[str, Measured]:
    """Headline figures of the points that have come: best reading of memory, load, the prompt of `prompt_tokens` (what
    was foreseen is not of a shorter one), first decode.
    """
    reads = [p.values["read_bytes_per_s"] for p in points if p.name == "bandwidth" and "read_bytes_per_s" in p.values]
    loads = [p.values["load_s"] for p in points if "load_s" in p.values]
    prompts = [p.values for p in points if p.name == "prefill" and p.at.get("prompt_tokens") == prompt_tokens]
    decodes = [p.values["decode_tok_s"] for p in points if "decode_tok_s" in p.values]
    resident = [p.values["resident_bytes"] for p in points if "resident_bytes" in p.values]
    found: dict[str, Measured] = {}
    if resident:
        found["peak_bytes"] = max(resident, key=lambda m: m.value)
    if loads:
        found["load_s"] = loads[0]
    if prompts:
        found |= {name: prompts[0][name] for name in ("prefill_tok_s", "ttft_ms") if name in prompts[0]}
    if decodes:
        found["decode_tok_s"] = decodes[0]
    if reads:
        found["bandwidth_bytes_per_s"] = max(reads, key=lambda m: m.value)
    return found


def runs_table(results: Sequence[ProbeResult]) -> None:
    """Several runs side by side, and each figure against the first chosen run that has it."""
    each = [result.measured() for result in results]
    first: dict[str, Measured] = {}
    for seen in each:
        first = {**seen, **first}
    names = [name for name in _ORDER if name in first]
    columns = {t("history.figure"): [t(f"probe.figure.{name}") for name in names]}
    for number_, (result, seen) in enumerate(zip(results, each, strict=True), 1):
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


def _table(rows: Sequence[Mapping[str, str]], alt: str) -> None:
    columns = ("figure", "measured", "predicted", "ratio", "inside")
    st.table(
        {t(f"history.{column}"): [plain(row[column]) for row in rows] for column in columns},
        border="horizontal",
        hide_index=True,
        alt=alt,
    )


def _row(name: str, seen: Measured | None, said: Quantity | None) -> dict[str, str]:
    measured = "–" if seen is None else figure_text(name, seen.value)
    row = {"figure": t(f"probe.figure.{name}"), "measured": measured, "predicted": "–", "ratio": "–", "inside": "–"}
    if seen is not None and seen.n > 1:
        row["measured"] = f"{measured} ({_spread(name, seen)})"
    if said is not None:
        row["predicted"] = foreseen_text(name, said)
    if seen is not None and said is not None and said.value:
        row["ratio"] = number(seen.value / said.value, 3)
        row["inside"] = t("history.yes" if said.holds(seen.value) else "history.no")
    return row


def _verdict(result: ProbeResult, measured: Mapping[str, Measured]) -> None:
    """How many figures lie inside their intervals, and the reason for each that does not."""
    foreseen = result.predicted.items()
    pairs = [(seen, foreseen[name]) for name, seen in measured.items() if name in foreseen]
    if not pairs:
        return
    inside = sum(said.holds(seen.value) for seen, said in pairs)
    if inside == len(pairs):
        st.markdown(f":material/check_circle: {t('history.all_inside', count=len(pairs))}")
        return
    st.markdown(f":material/difference: {t('history.some_inside', inside=inside, count=len(pairs))}")
    for text in surprise_texts(result, language()):
        st.caption(plain(text))


def _beside(name: str, seen: Mapping[str, Measured], first: Mapping[str, Measured]) -> str:
    if name not in seen:
        return "–"
    text = figure_text(name, seen[name].value)
    if seen[name] is first[name] or not first[name].value:
        return text
    return f"{text} (× {number(seen[name].value / first[name].value)})"


def foreseen_text(name: str, said: Quantity) -> str:
    """Value and interval."""
    return f"{figure_text(name, said.value)} ({_interval(name, said)})"


def _interval(name: str, quantity: Quantity) -> str:
    return _range(name, quantity.low, quantity.high)


def _spread(name: str, seen: Measured) -> str:
    return _range(name, seen.low, seen.high)


def _range(name: str, low: float, high: float) -> str:
    first, last = figure_text(name, low), figure_text(name, high)
    if first == last:
        return first
    return range_text(first, last) if " " in first else f"{first}–{last}"

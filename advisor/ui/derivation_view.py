"""Numbers unfolded: formula, values put in, source of each."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.report.numbers import bytes_text, latency_text, number
from advisor.sizing.columns import Tuning
from advisor.sizing.derivation import Derivation
from advisor.sizing.derivation_speed import derivation_text, derive_all
from advisor.sizing.plan import Load, Plan
from advisor.ui import backend
from advisor.ui.text import language, plain, t

__all__ = ["derivation", "unfolded"]


def derivation(plan: Plan, load: Load, tuning: Tuning | None = None, *, key: str) -> None:
    """A popover with every number of a plan, bytes first; the steps are computed only while it is open."""
    popover = st.popover(t("derivation.label"), icon=":material/function:", type="tertiary", key=key, on_change="rerun")
    if not popover.open:
        return
    with popover:
        st.caption(t("derivation.lead"))
        lengths = {"input": f"{load.input_tokens:,}", "output": f"{load.output_tokens:,}"}
        st.caption(t("derivation.load", count=number(load.concurrency), **lengths))
        unfolded(derive_all(plan, load, backend.catalog(), tuning))


def unfolded(found: Sequence[Derivation]) -> None:
    """Each number with its steps below it, and where formula and values come from."""
    for item in found:
        title, lines = derivation_text(language(), item)
        st.markdown(f"**{plain(title)}: {plain(_value(item))}**")
        st.markdown("\n".join(f"- {plain(line)}" for line in lines))
        if item.source:
            st.caption(plain(item.source))


def _value(item: Derivation) -> str:
    if item.unit == "bytes":
        return bytes_text(item.value)
    if item.unit == "bytes/s":
        return f"{bytes_text(item.value)}/s"
    return latency_text(1e3 * item.value) if item.unit == "s" else f"{number(item.value)} {item.unit}"

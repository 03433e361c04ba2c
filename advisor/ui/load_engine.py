"""What the operator sets on the engine: queue limits and speculative decoding."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from advisor.catalog.errors import InputError
from advisor.serving.engines import EngineOptions, Speculation
from advisor.ui.load_text import word

__all__ = ["choose_options"]

_MOST_WAITING = 1_000_000


def choose_options(rules: EngineOptions) -> EngineOptions:
    """The engine's own rules unless the user changes them. Raises InputError."""
    with (
        st.expander(word("engine.title"), icon=":material/tune:", key="load.engine"),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        queue = _number("queue", 0.0, step=1.0)
        wait = _number("timeout", 0.0)
        drafts = _number("drafts", 0.0, step=1.0)
        gained = _number("gained", 1.85, step=0.05) if drafts else 1.0
    if not (0 <= queue <= _MOST_WAITING and queue == int(queue)):
        raise InputError(word("engine.queue"), f"0..{_MOST_WAITING:,}", queue)
    if wait < 0:
        raise InputError(word("engine.timeout"), word("engine.expected_time"), wait)
    if not (0 <= drafts <= 16 and drafts == int(drafts)):
        raise InputError(word("engine.drafts"), "0..16", drafts)
    if not 1 <= gained <= drafts + 1:
        raise InputError(word("engine.gained"), f"1..{drafts + 1:g}", gained)
    speculation = Speculation(int(drafts), gained) if drafts else rules.speculation
    return replace(rules, max_queue=int(queue), queue_timeout_s=wait or float("inf"), speculation=speculation)


def _number(name: str, value: float, step: float | None = None) -> float:
    found = st.number_input(
        word(f"engine.{name}"),
        value=value,
        step=step,
        format="%g",
        key=f"load.engine.{name}",
        help=word(f"engine.{name}_help"),
        persist_state="session",
        width=240,
    )
    return float(found)

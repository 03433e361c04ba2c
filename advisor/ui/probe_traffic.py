"""Traffic of a sustained run: how often requests arrive, how long they are, and what they may take."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from advisor.ui.text import t
from probes.spec import LoadTarget

__all__ = ["Traffic", "choose_traffic"]

PROMPT_TOKENS, OUTPUT_TOKENS = 128, 32


@dataclass(frozen=True, slots=True)
class Traffic:
    """`prompt_tokens` and `output_tokens`: around these the lengths of the requests are drawn."""

    load: LoadTarget
    prompt_tokens: int
    output_tokens: int


def choose_traffic(*, with_slots: bool = True) -> Traffic:
    """A server decides itself how many requests it works on at once."""
    usual = LoadTarget()
    with st.grid(4, min_column_width=150):
        rate = _number("rate", 0.01, 1000.0, usual.requests_per_s)
        duration = _number("duration", 5.0, 86_400.0, usual.duration_s)
        prompt = _count("load_prompt", 1_000_000, PROMPT_TOKENS)
        output = _count("load_output", 100_000, OUTPUT_TOKENS)
        slots = _count("slots", 256, usual.slots) if with_slots else 1
        ttft = _number("ttft_limit", 1.0, 1e6, usual.ttft_limit_ms)
        tpot = _number("tpot_limit", 1.0, 1e6, usual.tpot_limit_ms)
    load = LoadTarget(rate, duration, slots, ttft_limit_ms=ttft, tpot_limit_ms=tpot)
    return Traffic(load, prompt, output)


def _number(name: str, least: float, most: float, usual: float) -> float:
    return float(st.number_input(t(f"probe.{name}"), least, most, usual, key=f"probe.{name}", persist_state="session"))


def _count(name: str, most: int, usual: int) -> int:
    return int(st.number_input(t(f"probe.{name}"), 1, most, usual, key=f"probe.{name}", persist_state="session"))

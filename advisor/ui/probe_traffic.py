"""Traffic of a sustained run: how often requests arrive, how long they are, and what they may take."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from advisor.ui.text import t
from probes.spec import LoadTarget

__all__ = ["Traffic", "choose_traffic"]

RATE, DURATION_S, SLOTS = 10.0, 60.0, 8
PROMPT_TOKENS, OUTPUT_TOKENS = 128, 32
TTFT_MS, TPOT_MS = 2000.0, 200.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """`prompt_tokens` and `output_tokens`: around these the lengths of the requests are drawn."""

    load: LoadTarget
    prompt_tokens: int
    output_tokens: int

    @property
    def timeout_s(self) -> float:
        """Twice its length and some minutes, so that a slow end is still seen."""
        return 2 * self.load.duration_s + 300


def choose_traffic(*, with_slots: bool = True) -> Traffic:
    """A server decides itself how many requests it works on at once."""
    with st.grid(4, min_column_width=150):
        rate = _number("rate", 0.01, 1000.0, RATE)
        duration = _number("duration", 5.0, 86_400.0, DURATION_S)
        prompt = _count("load_prompt", 1_000_000, PROMPT_TOKENS)
        output = _count("load_output", 100_000, OUTPUT_TOKENS)
        slots = _count("slots", 256, SLOTS) if with_slots else 1
        ttft = _number("ttft_limit", 1.0, 1e6, TTFT_MS)
        tpot = _number("tpot_limit", 1.0, 1e6, TPOT_MS)
    load = LoadTarget(rate, duration, slots, ttft_limit_ms=ttft, tpot_limit_ms=tpot)
    return Traffic(load, prompt, output)


def _number(name: str, least: float, most: float, usual: float) -> float:
    return float(st.number_input(t(f"probe.{name}"), least, most, usual, key=f"probe.{name}", persist_state="session"))


def _count(name: str, most: int, usual: int) -> int:
    return int(st.number_input(t(f"probe.{name}"), 1, most, usual, key=f"probe.{name}", persist_state="session"))

"""When the requests of a scenario arrive: steady, in bursts, on a ramp, or from users who wait for their answers."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import InputError
from advisor.decision.scenario import Scenario
from advisor.serving.sampling import MAX_RATE
from advisor.serving.workload import ArrivalKind, ArrivalProcess
from advisor.ui.load_text import word

__all__ = ["choose_arrivals"]

_PATTERNS = ("steady", "ramp")
_LONGEST_MIN = 1440


def choose_arrivals(scenario: Scenario) -> ArrivalProcess:
    """The scenario's rate or users, to change. Raises InputError."""
    rate, users = scenario.arrivals_per_s, scenario.closed_loop_users
    key = f"load.{scenario.id}.rate"
    if rate is None:
        people = _number("users", max(1, round(users or 1)), key=f"{key}.users", width=170)
        return ArrivalProcess(ArrivalKind.CLOSED_LOOP, users=int(people), think_s=scenario.closed_loop_pause_s)
    names = {name: word(f"traffic.pattern_{name}") for name in _PATTERNS}
    pattern = st.segmented_control(
        word("traffic.pattern"),
        _PATTERNS,
        default="steady",
        format_func=names.__getitem__,
        key="load.pattern",
        required=True,
        persist_state="session",
    )
    return _ramp(rate, key) if pattern == "ramp" else _steady(rate, key)


def _steady(rate: float, key: str) -> ArrivalProcess:
    wanted = _number("rate", _rounded(rate), key=key, width=240)
    cv = _number("cv", 1.0, key="load.cv", width=150, note=word("traffic.cv_help"))
    if not 0 < wanted <= MAX_RATE:
        expected = word("traffic.expected_rate", most=f"{MAX_RATE:,.0f}")
        raise InputError(word("traffic.rate"), expected, f"{wanted:,g}")
    kind = ArrivalKind.POISSON if cv == 1.0 else ArrivalKind.GAMMA
    return ArrivalProcess(kind, wanted, cv)


def _ramp(rate: float, key: str) -> ArrivalProcess:
    start = _number("ramp_start", _rounded(rate / 10), key=f"{key}.start", width=230)
    end = _number("ramp_end", _rounded(rate), key=f"{key}.end", width=230)
    minutes = _number("ramp_minutes", 60.0, key="load.ramp_minutes", width=150, note=word("traffic.ramp_help"))
    for name, value in (("ramp_start", start), ("ramp_end", end)):
        if not 0 <= value <= MAX_RATE or start == end == 0:
            expected = word("traffic.expected_rates", most=f"{MAX_RATE:,.0f}")
            raise InputError(word(f"traffic.{name}"), expected, f"{value:,g}")
    if not 1 <= minutes <= _LONGEST_MIN:
        raise InputError(word("traffic.ramp_minutes"), word("traffic.expected_minutes"), minutes)
    return ArrivalProcess.ramp(start, end, 60 * minutes)


def _number(name: str, value: float, *, key: str, width: int, note: str | None = None) -> float:
    """A field of the traffic; whole where the value is."""
    found = st.number_input(
        word(f"traffic.{name}"),
        value=value,
        step=0.5 if name == "cv" else None,
        format=None if isinstance(value, int) else "%g",
        key=key,
        help=note,
        persist_state="session",
        width=width,
    )
    return float(found)


def _rounded(value: float) -> float:
    """Four significant digits: more would only fill the field."""
    return float(f"{value:.4g}")

"""Answers to scenarios, cached per process by scenario token: frozen objects, shared by all sessions, never copied."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import streamlit as st

from advisor.decision.recommend import recommend
from advisor.decision.result import Candidate, Recommendation
from advisor.decision.scenario_form import resolve_ids, scenario_from_token
from advisor.report.render import Kind, render
from advisor.sizing.plan import Sizing
from advisor.sizing.size import size
from advisor.ui import backend

__all__ = ["load_sizings", "pdf_available", "recommendation", "report_bytes"]

MOST_SEQUENCES = 4096


def recommendation(token: str) -> Recommendation:
    """The answer to the scenario of this token. Raises FathomError for ids that the catalogue lacks."""
    return _recommendation(token, backend.revision())


@st.cache_resource(max_entries=32, show_spinner=False)
def _recommendation(token: str, revision: str) -> Recommendation:  # noqa: ARG001
    catalog = backend.catalog()
    return recommend(resolve_ids(scenario_from_token(token), catalog), catalog)


def load_sizings(candidate: Candidate) -> tuple[Sizing, ...]:
    """The plan of a candidate with 1, 2, 4, … sequences at once, up to what its cache holds."""
    load = candidate.sizing.load
    key = f"{candidate.plan.id}|{load.input_tokens}|{load.output_tokens}|{load.context_tokens}|{backend.revision()}"
    return _load_sizings(key, candidate)


@st.cache_resource(max_entries=64, show_spinner=False)
def _load_sizings(key: str, _candidate: Candidate) -> tuple[Sizing, ...]:  # noqa: ARG001
    most = max(1, min(MOST_SEQUENCES, _candidate.sizing.max_concurrency))
    counts = sorted({2**power for power in range(13) if 2**power < most} | {most})
    load = _candidate.sizing.load
    return tuple(size(_candidate.plan, replace(load, concurrency=n), backend.catalog()) for n in counts)


@st.cache_resource(max_entries=32, show_spinner=False)
def report_bytes(token: str, kind: Kind, language: str) -> bytes:
    """The report as a file. Raises UnsupportedError for PDF without WeasyPrint."""
    return render(recommendation(token), kind, language)


def pdf_available() -> bool:
    return find_spec("weasyprint") is not None

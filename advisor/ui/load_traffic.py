"""What traffic the fleet must hold: the scenario's, a built-in workload or a trace of the user's; and its limits."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path, PurePath

import streamlit as st

from advisor.catalog.errors import InputError
from advisor.catalog.text import translate
from advisor.decision.result import Candidate
from advisor.decision.scenario import Scenario
from advisor.report.numbers import number
from advisor.serving.fleet import Router
from advisor.serving.importers import ImportedTrace, import_trace
from advisor.serving.lengths import LengthDistribution, LengthKind
from advisor.serving.library import load_workloads
from advisor.serving.sampling import check_workload
from advisor.serving.trace_workload import workload_of_trace
from advisor.serving.workload import SINGLE_CLASS, ArrivalKind, RequestClass, Slo, Workload
from advisor.ui.load_arrivals import choose_arrivals
from advisor.ui.load_text import word
from advisor.ui.text import language, plain
from advisor.ui.widgets import chips, empty_state

__all__ = ["choose_router", "choose_slo", "choose_traffic", "workload_name"]

_SPREADS = ("same", "azure-conversation", "servegen-deepseek-r1")
_UPLOAD_MIB = 20
_LIMITS = ("ttft_ms", "tpot_ms", "e2e_ms")
_LARGEST_LIMIT_MS = 1e8


def choose_traffic(scenario: Scenario, candidate: Candidate | None, *, traces: bool = True) -> Workload | None:
    """None: a trace is wanted and none is there yet. Raises FathomError for traffic that cannot be simulated."""
    kinds = ("scenario", "builtin", "trace") if traces else ("scenario", "builtin")
    names = {name: word(f"traffic.{name}") for name in kinds}
    kind = st.segmented_control(
        word("traffic.label"),
        kinds,
        default="scenario",
        format_func=names.__getitem__,
        key="load.traffic" if traces else "fleet.traffic",
        required=True,
        persist_state="session",
    )
    if kind == "trace":
        workload = _from_trace()
    elif kind == "builtin":
        workload = _builtin()
    else:
        workload = _of_scenario(scenario, candidate)
    if workload is not None:
        check_workload(workload)
        chips(_facts(workload))
    return workload


def choose_slo(scenario: Scenario, *, prefix: str = "load") -> Slo:
    """Limits as the scenario has them, to change. Raises InputError."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        limits = {name: _limit(name, getattr(scenario, name), f"{prefix}.{scenario.id}") for name in _LIMITS}
        percentile = st.selectbox(
            word("slo.percentile"),
            (50, 90, 95, 99),
            index=(50, 90, 95, 99).index(scenario.percentile) if scenario.percentile in (50, 90, 95, 99) else 2,
            format_func=lambda p: f"P{p}",
            key=f"{prefix}.{scenario.id}.percentile",
            persist_state="session",
            width=130,
        )
    return Slo(**limits, percentile=float(percentile))


def choose_router() -> Router:
    names = {str(router): word(f"router.{router}") for router in Router}
    picked = st.selectbox(
        word("router.label"),
        list(names),
        index=list(names).index(Router.TWO_CHOICES),
        format_func=names.__getitem__,
        key="load.router",
        persist_state="session",
        width=320,
    )
    return Router(picked)


def _limit(name: str, value: float | None, prefix: str) -> float | None:
    found = st.number_input(
        word(f"slo.{name}"),
        value=None if value is None else float(value),
        min_value=0.0,
        format="%g",
        placeholder=word("slo.none"),
        key=f"{prefix}.{name}",
        persist_state="session",
        width=170,
    )
    if found is not None and not 0 < found <= _LARGEST_LIMIT_MS:
        raise InputError(word(f"slo.{name}"), word("slo.expected", most=f"{_LARGEST_LIMIT_MS:,.0f}"), found)
    return None if found is None else float(found)


def workload_name(workload: Workload) -> str:
    return workload.name_zh if language() == "zh" and workload.name_zh else workload.name


def _facts(workload: Workload) -> list[str]:
    arrivals = workload.arrivals
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        first = word("traffic.users_chip", users=f"{arrivals.users:,}", pause=number(arrivals.think_s))
    elif arrivals.shape:
        first = word("traffic.shape_chip", mean=number(arrivals.rate_per_s), peak=number(arrivals.peak_rate_per_s))
    else:
        first = word("traffic.rate_chip", rate=number(arrivals.rate_per_s))
    facts = [first]
    if arrivals.kind is ArrivalKind.GAMMA:
        facts.append(word("traffic.cv_chip", cv=number(arrivals.cv, 2)))
    facts.append(word("traffic.input_chip", tokens=number(workload.mean_input_tokens)))
    facts.append(word("traffic.output_chip", tokens=number(workload.mean_output_tokens)))
    if workload.mean_cached_tokens >= 1:
        facts.append(word("traffic.cached_chip", tokens=number(workload.mean_cached_tokens)))
    if len(workload.classes) > 1:
        facts.append(word("traffic.classes_chip", count=len(workload.classes)))
    return facts


def _of_scenario(scenario: Scenario, candidate: Candidate | None) -> Workload:
    """The scenario's rate; its lengths, or its mean lengths with the spread of a production trace."""
    load = candidate.load if candidate else None
    tokens_in = load.input_tokens if load else scenario.input_tokens
    tokens_out = load.output_tokens if load else scenario.total_output_tokens
    with st.container(horizontal=True, vertical_alignment="bottom"):
        arrivals = choose_arrivals(scenario)
        names = {name: word(f"traffic.spread_{name.replace('-', '_')}") for name in _SPREADS}
        spread = st.selectbox(
            word("traffic.spread"),
            _SPREADS,
            format_func=names.__getitem__,
            key="load.spread",
            help=word("traffic.spread_help"),
            persist_state="session",
            width=290,
        )
    own = RequestClass(
        SINGLE_CLASS,
        _spread(spread, "input", tokens_in),
        _spread(spread, "output", tokens_out),
        shared_prefix_tokens=min(scenario.cached_input_tokens, tokens_in),
    )
    context = max(scenario.context_tokens, tokens_in + tokens_out)
    name = scenario.name
    return Workload(scenario.id, name.en, arrivals, (own,), max_context_tokens=context, name_zh=name.zh)


def _spread(name: str, column: str, mean: float) -> LengthDistribution:
    """The trace's distribution stretched to this mean; one length for all where no trace is named."""
    if name == "same":
        return LengthDistribution.fixed(mean)
    found = getattr(load_workloads()[name].classes[0], column)
    if found.kind is not LengthKind.EMPIRICAL:
        return LengthDistribution.fixed(mean)
    return LengthDistribution.empirical(found.quantiles, [t * mean / found.mean for t in found.tokens])


def _builtin() -> Workload:
    known = load_workloads()
    names = {name: workload_name(found) for name, found in known.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        picked = st.selectbox(
            word("traffic.which"),
            list(known),
            format_func=names.__getitem__,
            key="load.workload",
            persist_state="session",
            width=380,
        )
        workload = known[picked]
        workload = _at_rate(workload, f"load.rate.{picked}")
    if workload.source:
        st.caption(plain(word("traffic.source", source=workload.source, licence=workload.licence or "–")))
    return workload


def _at_rate(workload: Workload, key: str) -> Workload:
    """Open traffic at the mean rate that the user wants; users and bursts as they are."""
    arrivals = workload.arrivals
    if arrivals.kind in (ArrivalKind.CLOSED_LOOP, ArrivalKind.BURST):
        return workload
    rate = st.number_input(
        word("traffic.rate_mean"),
        value=float(arrivals.rate_per_s),
        format="%g",
        key=key,
        persist_state="session",
        width=190,
    )
    return replace(workload, arrivals=arrivals.at_rate(float(rate)))


def _from_trace() -> Workload | None:
    upload = st.file_uploader(
        word("traffic.upload"),
        ["csv", "jsonl", "json"],
        key="load.trace",
        max_upload_size=_UPLOAD_MIB,
        help=word("traffic.upload_help"),
    )
    if upload is None:
        empty_state(word("traffic.no_trace_title"), word("traffic.no_trace_text"), icon="upload_file")
        return None
    trace = _imported(PurePath(upload.name).name, upload.getvalue())
    st.caption(word("traffic.imported", rows=f"{len(trace.table):,}", layout=trace.layout))
    for note in trace.notes:
        st.caption(f":material/info: {plain(translate(language(), f'serving.note.{note.key}', **note.values))}")
    return _at_rate(workload_of_trace(trace.table, upload.name), f"load.rate.{upload.name}")


@st.cache_resource(max_entries=4, show_spinner=False)
def _imported(name: str, content: bytes) -> ImportedTrace:
    """Messages name the file as the user knows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (name or "trace.csv")
        path.write_bytes(content)
        return import_trace(path)

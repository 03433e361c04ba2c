"""Which plan carries the load: a recommended one, or one built here from what the catalogue says goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.engines import backends, runs_model, support
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine, Role, Variant
from advisor.decision.result import Candidate, Recommendation
from advisor.report.rows import plan_title
from advisor.sizing.cache import default_kv_format
from advisor.sizing.layout import valid_layouts
from advisor.sizing.plan import Layout, Plan
from advisor.ui import backend, state
from advisor.ui.load_text import word
from advisor.ui.text import language
from advisor.ui.widgets import empty_state

__all__ = ["PlanChoice", "candidates_of", "choose_candidate", "choose_plan", "choose_question", "one_replica"]

_BUILD = "build"
_MOST = 40
_COUNTS = (1, 2, 4, 8, 16)
_FIRST_MODEL, _FIRST_DEVICE = "deepseek-r1-distill-qwen-7b", "l40s"
_PREFERRED = ("vllm", "sglang", "trtllm", "llama.cpp")


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """One replica of a plan; `candidate` where it was recommended."""

    plan: Plan
    candidate: Candidate | None = None

    @property
    def label(self) -> str:
        return plan_title(self.plan, language())


def candidates_of(answer: Recommendation) -> Mapping[str, tuple[str, Candidate]]:
    """Plan id -> (label, candidate): the picks by name first, then the best of the rest."""
    found: dict[str, tuple[str, Candidate]] = {}
    for name in ("best", "cheapest", "fastest", "smallest"):
        candidate = getattr(answer.picks, name)
        if candidate is not None and candidate.plan.id not in found:
            found[candidate.plan.id] = (word(f"pick.{name}", plan=_title(candidate)), candidate)
    for mix in answer.mixes:
        for pool in mix.pools:
            found.setdefault(pool.candidate.plan.id, (_title(pool.candidate), pool.candidate))
    for candidate in answer.candidates[:_MOST]:
        found.setdefault(candidate.plan.id, (_title(candidate), candidate))
    return found


def choose_question() -> str:
    """Is it about one plan ("plan") or about the cheapest of all ("cheapest")?"""
    names = {name: word(f"question.{name}") for name in ("plan", "cheapest")}
    picked = st.segmented_control(
        word("question.label"),
        list(names),
        default="plan",
        format_func=names.__getitem__,
        key="capacity.question",
        required=True,
        persist_state="session",
    )
    return str(picked)


def choose_plan(answer: Recommendation) -> PlanChoice | None:
    """A select box over the candidates and "build one". None: nothing can be built from the choices yet."""
    known = candidates_of(answer)
    names = {_BUILD: word("plan.build")} | {name: label for name, (label, _) in known.items()}
    options = [*known, _BUILD]
    wanted = state.chosen_plan() or ""
    picked = st.selectbox(
        word("plan.label"),
        options,
        index=options.index(wanted) if wanted in known else 0,
        format_func=names.__getitem__,
        key="load.plan",
        persist_state="session",
    )
    if picked in known:
        candidate = known[picked][1]
        return PlanChoice(one_replica(candidate), candidate)
    return _build(backend.catalog())


def choose_candidate(answer: Recommendation, *, key: str) -> Candidate:
    """A select box over the candidates; the plan that was chosen on the Plans page first."""
    known = candidates_of(answer)
    options, wanted = list(known), state.chosen_plan() or ""
    picked = st.selectbox(
        word("plan.label"),
        options,
        index=options.index(wanted) if wanted in known else 0,
        format_func=lambda name: known[name][0],
        key=key,
        persist_state="session",
    )
    return known[picked][1]


def one_replica(candidate: Candidate) -> Plan:
    """The plan of a candidate, whose replicas are counted on these pages."""
    plan = candidate.plan
    return Plan(
        plan.variant,
        plan.format,
        plan.engine,
        plan.backend,
        plan.device,
        plan.layout,
        1,
        plan.host,
        plan.server,
        plan.kv_format,
    )


def _build(catalog: Catalog) -> PlanChoice | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        variant = _variant(catalog)
        device = _device(catalog)
        runtimes = _runtimes(catalog, variant, device)
        engine = _pick("engine", _ordered(runtimes), {e: catalog.engines[e].name for e in runtimes})
        formats = _formats(catalog, runtimes.get(engine or "", ""), engine, device)
        chosen = _pick("format", list(formats), {name: f.name for name, f in formats.items()})
        count = st.selectbox(word("plan.count"), _COUNTS, key="load.count", persist_state="session", width=110)
        if engine is None or chosen is None:
            layouts: list[Layout] = []
        else:
            layouts = list(valid_layouts(variant.architecture, catalog.engine(engine), int(count)))
        names = {layout.label(): layout for layout in layouts}
        layout = _pick("layout", list(names), {name: name for name in names})
    if engine is None or chosen is None or layout is None:
        empty_state(word("plan.none_title"), word("plan.none_text"), icon="extension_off")
        return None
    kv_format = default_kv_format(variant.architecture)
    parts = (variant, formats[chosen], catalog.engine(engine), runtimes[engine], device, names[layout])
    return PlanChoice(Plan(*parts, kv_format=kv_format))


def _variant(catalog: Catalog) -> Variant:
    roles = (Role.FULL, Role.DISTILLED, Role.USER)
    known = {v.id: v.name for v in catalog.variants.values() if v.role in roles}
    picked = _pick("variant", list(known), known, first=_FIRST_MODEL)
    return catalog.variant(picked or next(iter(known)))


def _device(catalog: Catalog) -> Device:
    known = {d.id: d.name for d in catalog.devices.values() if not d.reference and d.device_class != "cpu"}
    picked = _pick("device", list(known), known, first=_FIRST_DEVICE)
    return catalog.device(picked or next(iter(known)))


def _runtimes(catalog: Catalog, variant: Variant, device: Device) -> dict[str, str]:
    """Engine id -> back end, of the engines that run this model on this device in at least one format."""
    found = {}
    for engine in catalog.engines.values():
        ways = backends(engine, device)
        if ways and runs_model(engine, variant) is None:
            found[engine.id] = ways[0]
    return found


def _ordered(runtimes: Mapping[str, str]) -> list[str]:
    return sorted(runtimes, key=lambda name: _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED))


def _formats(catalog: Catalog, way: str, engine: str | None, device: Device) -> dict[str, Format]:
    if engine is None:
        return {}
    record: Engine = catalog.engine(engine)
    return {f.id: f for f in catalog.formats.values() if f.offered and support(record, f, device, way) is not None}


def _pick(name: str, options: list[str], labels: Mapping[str, str], first: str = "") -> str | None:
    picked = st.selectbox(
        word(f"plan.{name}"),
        options,
        index=options.index(first) if first in options else 0,
        format_func=lambda key: labels[key],
        key=f"load.{name}",
        persist_state="session",
        width=220,
    )
    return None if picked is None else str(picked)


def _title(candidate: Candidate) -> str:
    plan = one_replica(candidate)
    return plan_title(plan, language())

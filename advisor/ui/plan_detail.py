"""The card of one plan: memory, figures with their basis, reasons, load curves."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from advisor.catalog.text import name_in
from advisor.decision.explain import sentence
from advisor.decision.result import Candidate, FinalistCheck, Recommendation
from advisor.report.document import UNITS
from advisor.report.numbers import gib_text, interval_text, number, percent_text, value_text
from advisor.report.plan_figures import load_curves, memory_bars, step_shares
from advisor.report.rows import plan_title, shown_quantities
from advisor.ui import answers, probing
from advisor.ui.checks_view import plan_check
from advisor.ui.derivation_view import derivation
from advisor.ui.probe_numbers import comparison_table
from advisor.ui.text import language, plain, t
from advisor.ui.whatif_view import quality_sources, what_if
from advisor.ui.widgets import badges, basis_badges, chart, key_values, sources

__all__ = ["plan_detail"]


def plan_detail(candidate: Candidate, answer: Recommendation, checks: Mapping[str, FinalistCheck]) -> None:
    """Everything about one plan; charts of the load only when their tab is open."""
    with st.container(border=True, key="plan-detail"):
        _heading(candidate)
        left, right = st.columns([3, 2])
        with left:
            chart(memory_bars(candidate.sizing, language()), key="detail.memory")
            derivation(candidate.plan, candidate.sizing.load, key="detail.derivation")
            _numbers(candidate)
            key_values(_facts(candidate), alt=t("detail.facts_alt"))
        with right:
            st.markdown(f"**{t('detail.why')}**")
            for reason in candidate.reasons:
                st.markdown(f"- {plain(sentence(language(), reason))}")
            if candidate.quality is not None:
                quality_sources(candidate, answer.scenario, key="detail.quality")
            plan_check(candidate, answer, checks)
        names = [t(f"detail.{name}") for name in ("load", "whatif", "step", "check")]
        load, change, step, said = st.tabs(names, key="detail.tabs", on_change="rerun")
        with load:
            if load.open:
                _curves(candidate)
        with change:
            if change.open:
                what_if(candidate)
        with step:
            if step.open:
                chart(step_shares(candidate, language()), key="detail.shares")
        with said:
            if said.open:
                _measured(candidate)


def _heading(candidate: Candidate) -> None:
    plan, sizing = candidate.plan, candidate.sizing
    st.markdown(f"### {plain(plan_title(plan, language()))}")
    free = sizing.per_device.free_bytes / sizing.per_device.usable_bytes
    fit = "roomy" if free >= 0.15 else "fits" if free >= 0.05 else "tight"
    colour = {"roomy": "green", "fits": "green", "tight": "orange"}[fit]
    items = [(t(f"fit.{fit}"), colour, "check_circle", t("fit.help", free=percent_text(free)))]
    if candidate.on_pareto_front:
        items.append((t("detail.pareto"), "blue", "trending_up", t("detail.pareto_help")))
    if not candidate.in_leaf:
        items.append((t("detail.off_path"), "gray", "alt_route", t("detail.off_path_help")))
    badges(items)


def _numbers(candidate: Candidate) -> None:
    found = shown_quantities(candidate)
    with st.grid(4, min_column_width=120):
        for name, quantity in found.items():
            unit = UNITS[name]
            label, value = t(f"column.{name}"), value_text(quantity)
            if unit == "ms":  # read in seconds from one on: the unit stands beside the value
                label, value = t(f"time.{name}"), value_text(quantity, unit)
            st.metric(
                label,
                value,
                interval_text(quantity, unit),
                delta_color="off",
                delta_arrow="off",
            )
    with st.container(horizontal=True, vertical_alignment="center"):
        basis_badges(list(found.values()))
        sources({t(f"column.{name}"): (q, UNITS[name]) for name, q in found.items()}, key="detail.sources")


def _facts(candidate: Candidate) -> dict[str, str]:
    plan, sizing = candidate.plan, candidate.sizing
    facts = {
        t("detail.engine"): f"{plan.engine.name} {plan.engine.version} ({plan.backend})",
        t("detail.layout"): plan.layout.label(),
        t("detail.replicas"): str(candidate.replicas),
        t("detail.per_replica"): t("detail.sequences", count=number(candidate.load.concurrency)),
        t("detail.most"): t("detail.sequences", count=number(sizing.max_concurrency)),
        t("detail.longest"): t("advise.tokens", value=f"{sizing.max_context_tokens:,}"),
        t("detail.kv"): f"{sizing.kv_bytes_per_token:,.0f} B",
        t("detail.weights"): gib_text(sizing.per_device.weights_bytes),
        t("detail.utilisation"): percent_text(candidate.utilisation),
        t("detail.binding"): t(f"binding.{sizing.binding}"),
    }
    if plan.server is not None:
        facts[t("detail.server")] = name_in(language(), plan.server.name)
    return facts


def _curves(candidate: Candidate) -> None:
    sizings = answers.load_sizings(candidate)
    throughput, latency = load_curves(sizings, language())
    left, right = st.columns(2)
    with left:
        chart(throughput, key="detail.throughput")
    with right:
        chart(latency, key="detail.latency")


def _measured(candidate: Candidate) -> None:
    """Measurements on this machine of the same model and format, beside what was foreseen before they ran."""
    results = probing.measurements(candidate.plan.variant.id, candidate.plan.format.id)
    if not results:
        st.caption(t("detail.not_measured"))
    for result in results:
        st.caption(f"{result.started_at[:16]} · {plain(result.machine_name)} · {plain(result.spec.device)}")
        comparison_table(result)

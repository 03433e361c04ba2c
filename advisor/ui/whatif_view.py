"""What one change would do to a plan, and where its quality figure comes from."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import name_in
from advisor.decision.quality import benchmarks, published_scores, task_quality
from advisor.decision.replica_cost import replica_cost
from advisor.decision.result import Candidate
from advisor.decision.scenario import Scenario
from advisor.report.numbers import gib_text, latency_text, number, percent_text
from advisor.sizing.plan import Sizing
from advisor.sizing.sensitivity import variations
from advisor.ui import backend
from advisor.ui.text import language, plain, t

__all__ = ["quality_sources", "what_if"]

MAX_SCORES = 20


def what_if(candidate: Candidate) -> None:
    """One row per change beside the plan as it is; figures are of one replica."""
    changes = variations(candidate.plan, candidate.sizing.load, backend.catalog())
    now = candidate.sizing
    rows = [("as_is", now), *((str(change.change), change.sizing) for change in changes)]
    costs = [replica_cost(sizing, backend.catalog()) for _, sizing in rows]
    st.caption(t("whatif.lead"))
    st.table(
        {
            t("whatif.change"): [_label(name, sizing) for name, sizing in rows],
            t("whatif.fits"): [_fit(sizing) for _, sizing in rows],
            t("time.ttft_ms"): [_beside(s.ttft_ms.value, now.ttft_ms.value, latency_text) for _, s in rows],
            t("time.tpot_ms"): [_beside(s.tpot_ms.value, now.tpot_ms.value, latency_text) for _, s in rows],
            t("column.output_tok_s"): [_beside(s.output_tok_s.value, now.output_tok_s.value) for _, s in rows],
            t("whatif.most"): [number(s.max_concurrency) for _, s in rows],
            t("detail.binding"): [_bound(s) for _, s in rows],
            t("whatif.hourly"): [_money(c.hourly_usd if c else None) for c in costs],
            t("whatif.per_million"): [_money(c.per_million_tokens_usd if c else None) for c in costs],
        },
        border="horizontal",
        hide_index=True,
        alt=t("whatif.alt"),
    )


def _label(name: str, sizing: Sizing) -> str:
    if name == "smaller_format":
        return t("whatif.smaller_format", format=plain(name_in(language(), sizing.plan.format.name)))
    if name in ("one_more_device", "twice_devices"):
        return t(f"whatif.{name}", layout=plain(sizing.plan.layout.label()))
    return t(f"whatif.{name}")


def _bound(sizing: Sizing) -> str:
    """The resource that binds, with its share of a step."""
    share = sizing.shares.get(sizing.binding, 0.0)
    name = t(f"binding.{sizing.binding}")
    return f"{name} ({percent_text(share)})" if share else name


def _money(value: Quantity | None) -> str:
    return "–" if value is None else number(value.value)


def _fit(sizing: Sizing) -> str:
    if sizing.fits:
        return t("whatif.free", size=plain(gib_text(sizing.per_device.free_bytes)))
    return t("whatif.short", size=plain(gib_text(sizing.shortfall_bytes)))


def _beside(value: float, reference: float, text: Callable[[float], str] = number) -> str:
    """The value, and by how much it differs where it does."""
    if reference <= 0 or abs(value / reference - 1) < 0.005:
        return text(value)
    return f"{text(value)} ({100 * (value / reference - 1):+.0f} %)"


def quality_sources(candidate: Candidate, scenario: Scenario, *, key: str) -> None:
    """The published scores behind the quality figure, the loss of the format, and what was linked or is missing."""
    popover = st.popover(t("quality.label"), icon=":material/school:", type="tertiary", key=key, on_change="rerun")
    if not popover.open:
        return
    variant, fmt = candidate.plan.variant, candidate.plan.format
    found = task_quality(variant, fmt, scenario.task, thinking=variant.always_reasons or scenario.reasoning_tokens > 0)
    names = benchmarks()
    with popover:
        st.caption(t("quality.lead"))
        if found.proxy_id:
            st.markdown(t("quality.proxy", name=plain(backend.catalog().variant(found.proxy_id).name)))
        source = backend.catalog().variant(found.proxy_id) if found.proxy_id else variant
        scores = [score for score in published_scores(source) if score.benchmark in found.published][:MAX_SCORES]
        st.table(
            {
                t("quality.benchmark"): [plain(names[s.benchmark].name) for s in scores],
                t("quality.profile"): [t(f"task.{names[s.benchmark].profile}") for s in scores],
                t("quality.score"): [number(s.score) for s in scores],
                t("quality.setting"): [plain(s.setting) for s in scores],
                t("sources.source"): [plain(s.source) for s in scores],
            },
            border="horizontal",
            hide_index=True,
            alt=t("quality.label"),
        )
        linked = ", ".join(names[name].name for name in found.linked)
        if linked:
            st.caption(t("quality.linked", names=plain(linked)))
        key_text = "quality.loss_measured" if found.loss.measured else "quality.loss_law"
        st.caption(t(key_text, format=plain(name_in(language(), fmt.name)), loss=f"{100 * found.loss.value:.1f}"))

"""What was ruled out and why, and the designed answer "nothing fits"."""

from __future__ import annotations

import streamlit as st

from advisor.decision.explain import sentence
from advisor.decision.result import Recommendation, Rejection
from advisor.report.rows import plan_title
from advisor.ui.nav import page_path
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import empty_state

__all__ = ["nothing_fits", "rejections"]

MAX_MISSES = 5


def nothing_fits(answer: Recommendation) -> None:
    """An answer, not an error: the nearest misses, and what one change would admit each."""
    looked = f"{answer.counts.enumerated:,}"
    card = empty_state(t("plans.nothing_title"), t("plans.nothing_text", count=looked), icon="block")
    with card:
        for miss in answer.nearest_misses[:MAX_MISSES]:
            st.markdown(f"**{plain(_where(miss.rejection))}**")
            st.markdown(f"- {plain(sentence(language(), miss.rejection.reason))}")
            st.markdown(f"- :material/lightbulb: {plain(sentence(language(), miss.relaxation))}")
        st.page_link(page_path("advise"), label=t("plans.relax"), icon=":material/tune:")


def rejections(answer: Recommendation) -> None:
    """The best plan of each variant and device class that broke a limit, with the figures and remedies."""
    if not answer.rejected:
        st.caption(t("plans.none_rejected"))
        return
    kinds = sorted({str(item.constraint) for item in answer.rejected})
    chosen = st.pills(
        t("plans.constraint"),
        kinds,
        selection_mode="multi",
        format_func=lambda kind: t("plans.constraint_count", name=t(f"constraint.{kind}"), count=_count(answer, kind)),
        key="plans.constraints",
    )
    found = [item for item in answer.rejected if not chosen or item.constraint in chosen]
    rows = {
        t("column.plan"): [_where(item) for item in found],
        t("column.constraint"): [t(f"constraint.{item.constraint}") for item in found],
        t("column.reason"): [sentence(language(), item.reason) for item in found],
        t("column.remedies"): [" · ".join(sentence(language(), r) for r in item.remedies) or "–" for item in found],
    }
    st.dataframe(
        rows,
        hide_index=True,
        height=min(420, 38 + 35 * len(found)),
        key=f"plans.rejected.{'-'.join(chosen)}",
        column_config={
            t("column.plan"): st.column_config.TextColumn(pinned=True, width="medium"),
            t("column.constraint"): st.column_config.TextColumn(width="small"),
            t("column.reason"): st.column_config.TextColumn(width="large"),
            t("column.remedies"): st.column_config.TextColumn(width="large"),
        },
        alt=t("plans.rejected_alt", count=len(found)),
    )


def _count(answer: Recommendation, kind: str) -> str:
    return f"{next((n for name, n in answer.counts.rejected.items() if name == kind), 0):,}"


def _where(item: Rejection) -> str:
    return plan_title(item.plan, language())

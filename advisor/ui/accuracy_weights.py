"""File and weight bytes by how they are known, against the target, and the rows that miss it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from advisor.evidence.memory_truth import MemoryPrediction
from advisor.evidence.weight_scores import TARGET_MEDIAN, TARGET_P95, missed_rows, weight_scores
from advisor.ui.text import language, plain, t

__all__ = ["weights"]


def weights(rows: Sequence[MemoryPrediction]) -> None:
    """Nothing where no row is of weights."""
    scores = weight_scores(rows)
    if not scores:
        return
    st.markdown(f"**{t('accuracy.weights_title')}**")
    st.caption(t("accuracy.weights_hint", median=f"{TARGET_MEDIAN:.1%}", tail=f"{TARGET_P95:.0%}"))
    column = st.column_config
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "basis": t(f"accuracy.weights_{score.basis}"),
                    "rows": score.rows,
                    "median": score.median_error * 100,
                    "tail": score.p95_error * 100,
                    "coverage": score.coverage_90,
                }
                for score in scores
            ]
        ),
        key="accuracy.weights_table",
        hide_index=True,
        column_config={
            "basis": column.TextColumn(t("accuracy.weights_basis"), pinned=True),
            "rows": column.NumberColumn(t("accuracy.rows")),
            "median": column.NumberColumn(t("accuracy.median_error"), format="%.3f %%"),
            "tail": column.NumberColumn(t("accuracy.tail95_error"), format="%.3f %%"),
            "coverage": column.NumberColumn(t("accuracy.coverage"), format="percent"),
        },
        alt=t("accuracy.weights_alt"),
    )
    _missed(rows)


def _missed(rows: Sequence[MemoryPrediction]) -> None:
    missed = missed_rows(rows)
    if not missed:
        return
    st.caption(t("accuracy.weights_missed", count=len(missed), tail=f"{TARGET_P95:.0%}"))
    for row in missed:
        reason = row.reasons.get(language()) or t("accuracy.weights_unknown")
        st.caption(f"{plain(row.id)} ({t(f'accuracy.weights_{row.basis}')}, {row.error:+.1%}): {plain(reason)}")

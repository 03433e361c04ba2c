"""Points of a sweep beside what was foreseen of each."""

from __future__ import annotations

import streamlit as st

from advisor.evidence.surprises import point_checks
from advisor.report.sweep_text import position_text
from advisor.ui.probe_names import catalogue_format
from advisor.ui.probe_numbers import figure_text, foreseen_text
from advisor.ui.text import language, plain, t
from probes.engines.precision import canonical_format
from probes.result import Point, ProbeResult
from probes.spec import SweepAxis

__all__ = ["points_table"]


def points_table(result: ProbeResult) -> None:
    """One row per point and figure; nothing for other kinds, and for sweeps that were stored without."""
    rows = [
        (_place(check.point, result), name, seen, said)
        for check in point_checks(result)
        for name, (seen, said) in check.pairs.items()
    ]
    if not rows:
        return
    insides = [said.holds(seen.value) for _, _, seen, said in rows]
    st.table(
        {
            t("probe.points_at"): [plain(place) for place, _, _, _ in rows],
            t("history.figure"): [t(f"probe.figure.{name}") for _, name, _, _ in rows],
            t("history.measured"): [figure_text(name, seen.value) for _, name, seen, _ in rows],
            t("history.predicted"): [plain(foreseen_text(name, said)) for _, name, _, said in rows],
            t("history.inside"): [t("history.yes" if inside else "history.no") for inside in insides],
        },
        border="horizontal",
        hide_index=True,
        alt=t("probe.points_alt"),
    )


def _place(point: Point, result: ProbeResult) -> str:
    if result.spec.sweep_axis is SweepAxis.FORMAT:
        return catalogue_format(canonical_format(point.label))
    return position_text(result.spec, point.at, point.label, language())

"""The answer of the Training page: does it fit, what fills the memory, how long it takes."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.units import format_count
from advisor.evidence.training_truth import training_checks
from advisor.report.figures import Bar, Bars, Segment
from advisor.report.numbers import gib_text, interval_text, number, percent_text, value_text
from advisor.report.palette import Tone
from advisor.sizing.training import TrainingFootprint, TrainingPlan, smallest_count, training_footprint
from advisor.sizing.training_time import TrainingSpeed, training_speed
from advisor.ui import backend
from advisor.ui.text import plain, t
from advisor.ui.widgets import badges, basis_badges, chart

__all__ = ["checks", "result"]

GIB = 2**30
_PARTS = (
    ("weights", Tone.WEIGHTS),
    ("gradient", Tone.KV_CACHE),
    ("optimizer", Tone.ACTIVATION),
    ("activation", Tone.WARN),
    ("teacher", Tone.ACCENT),
    ("overhead", Tone.OVERHEAD),
)


def result(plan: TrainingPlan, tokens: float) -> None:
    """Raises InputError or UnsupportedError for a layout that cannot be."""
    memory, speed = training_footprint(plan), training_speed(plan)
    with st.container(border=True):
        _verdict(plan, memory)
        chart(_bars(memory), key="training.memory")
        _numbers(memory, speed, tokens)


def _verdict(plan: TrainingPlan, memory: TrainingFootprint) -> None:
    where = f"{plan.devices} × {plain(plan.device.name)}"
    st.markdown(f"### {plain(plan.variant.name)} · {t(f'training.method_of.{plan.method}')} · {where}")
    if memory.fits:
        badges([(t("fit.fits"), "green", "check_circle", "")])
        return
    badges([(t("training.not"), "red", "cancel", "")])
    fewest = smallest_count(plan)
    key = "training.needs" if fewest else "training.needs_none"
    st.markdown(t(key, short=gib_text(memory.shortfall_bytes), count=fewest))


def _bars(memory: TrainingFootprint) -> Bars:
    free = max(0, memory.usable_bytes - memory.total_bytes)
    sizes = [(name, getattr(memory, f"{name}_bytes"), tone) for name, tone in _PARTS] + [("free", free, Tone.FREE)]
    segments = tuple(
        Segment(t(f"training.part.{name}"), size / GIB, gib_text(size), tone) for name, size, tone in sizes if size
    )
    used, usable = gib_text(memory.total_bytes), gib_text(memory.usable_bytes)
    return Bars(
        title=t("training.memory_title"),
        hint=t("training.memory_hint"),
        alt=t("training.memory_alt", used=used, usable=usable),
        unit="GiB",
        bars=(Bar(t("training.per_device"), segments, memory.usable_bytes / GIB, usable),),
    )


def _numbers(memory: TrainingFootprint, speed: TrainingSpeed, tokens: float) -> None:
    rate = speed.tokens_per_s
    unit, seconds = ("days", 86_400) if tokens / rate.value > 2 * 86_400 else ("hours", 3600)
    middle, low, high = (tokens / speed_at / seconds for speed_at in (rate.value, rate.high, rate.low))
    duration = Quantity(middle, low, high, rate.basis)
    cards = (
        (t("training.rate"), value_text(rate), interval_text(rate, "tok/s")),
        (t(f"training.{unit}"), value_text(duration), interval_text(duration)),
        (
            t("training.trainable"),
            format_count(memory.trainable_params, 2),
            t("training.of", total=format_count(memory.total_params, 2)),
        ),
        (t("training.communication"), percent_text(speed.communication_share), None),
        (t("training.scaling"), percent_text(speed.scaling_efficiency), None),
        (t("training.useful"), number(speed.tflops_per_device), None),
    )
    with st.grid(6, min_column_width=140):
        for label, value, below in cards:
            st.metric(label, value, below, delta_color="off", delta_arrow="off")
    basis_badges([rate])
    if memory.host_bytes:
        st.caption(t("training.host", size=gib_text(memory.host_bytes)))


def checks() -> None:
    """Published points beside what the same code computes."""
    found = training_checks(backend.catalog())
    st.table(
        {
            t("training.check"): [f"{plain(c.name)} · {plain(c.quantity)}" for c in found],
            t("training.published"): [number(c.published) for c in found],
            t("training.computed"): [number(c.computed) for c in found],
            t("history.ratio"): [f"× {c.computed / c.published:.2f}" for c in found],
            t("training.in_fit"): [t("training.seen") if c.in_fit else t("training.unseen") for c in found],
            t("sources.source"): [plain(c.source) for c in found],
        },
        border="horizontal",
        hide_index=True,
        alt=t("training.checks"),
    )

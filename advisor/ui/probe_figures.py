"""Points of a running or finished probe as figures: rate over the position along the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from advisor.catalog.text import translate
from advisor.report.figures import Line, Lines
from advisor.report.numbers import number
from advisor.report.palette import Tone
from probes.result import Point

__all__ = ["point_lines"]

# What is drawn for points of this name, and the order of positions to try.
_VALUES = (
    "decode_tok_s", "prefill_tok_s", "output_tok_s", "goodput_requests_per_s", "p95_ttft_ms", "queue_length",
    "step_ms", "resident_bytes", "temperature_c", "power_w", "sm_clock_hz", "read_bytes_per_s",
)  # fmt: skip
_OF_ALL = ("output_tok_s", "step_ms")  # of one sequence alone they say the same as its rate
_SCALES = {  # to the unit that the axis names
    "read_bytes_per_s": 1e9, "resident_bytes": 2**30, "p95_ttft_ms": 1e3, "sm_clock_hz": 1e9,
}  # fmt: skip
_POSITIONS = ("context_tokens", "prompt_tokens", "batch", "elapsed_s", "moe_layers", "dense_layers", "threads")


def point_lines(points: Sequence[Point], language: str) -> list[Lines]:
    """One figure per measured value that has two or more positions.

    The memory by threads that every probe reads first is drawn while nothing else is.
    """
    figures: list[Lines] = []
    for value in _VALUES:
        if (figures and value == "read_bytes_per_s") or (value in _OF_ALL and _single(points)):
            continue
        for position in _POSITIONS:
            found = [p for p in points if value in p.values and position in p.at]
            if len({p.at[position] for p in found}) >= 2:
                figures.append(_lines(found, value, position, language))
                break
    return figures


def _single(points: Sequence[Point]) -> bool:
    """One sequence at a time: the rate of all of them is the rate of each."""
    return all(p.at.get("batch", 1) == 1 for p in points if "decode_tok_s" in p.values) and any(
        "decode_tok_s" in p.values for p in points
    )


def _lines(points: Sequence[Point], value: str, position: str, language: str) -> Lines:
    ordered = sorted(points, key=lambda p: p.at[position])
    seen, scale = [p.values[value] for p in ordered], _SCALES.get(value, 1.0)
    name, where = (translate(language, f"ui.probe.{kind}") for kind in (f"value.{value}", f"at.{position}"))
    return Lines(
        title=translate(language, "ui.probe.chart_title", value=name, position=where),
        hint="",
        alt=translate(language, "ui.probe.chart_alt", value=name, position=where, last=number(seen[-1].value / scale)),
        x_label=where,
        y_label=name,
        lines=(
            Line(
                name,
                tuple(p.at[position] for p in ordered),
                tuple(m.value / scale for m in seen),
                Tone.ACCENT,
                tuple(m.low / scale for m in seen),
                tuple(m.high / scale for m in seen),
            ),
        ),
    )

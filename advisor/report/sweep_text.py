"""Sentences on where a sweep ends: before it runs, and when it has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from advisor.catalog.text import translate
from advisor.catalog.units import format_bytes
from advisor.report.numbers import latency_text, number
from probes.result import ProbeResult, SweepEnd
from probes.spec import LeftOut, ProbeSpec, SweepAxis, SweepLimit

__all__ = ["left_out_texts", "position_text", "sweep_texts"]

Size = Callable[[float], str]


def sweep_texts(result: ProbeResult, language: str, size: Size = format_bytes) -> list[str]:
    """Why the sweep ended, and what else was left out. Nothing for other kinds, and for a sweep that was cut short."""
    end = result.sweep_end
    if end is None:
        return []
    known = (end.limit, end.value, end.format_id)
    others = [o for o in result.spec.left_out if (o.limit, o.value, o.format_id) != known]
    return [_end_text(end, result.spec, language, size), *_left_out(others, result.spec, language, size)]


def left_out_texts(spec: ProbeSpec, language: str, size: Size = format_bytes) -> list[str]:
    """Positions that were asked for and will not be measured, with the reason."""
    return list(_left_out(spec.left_out, spec, language, size))


def _end_text(end: SweepEnd, spec: ProbeSpec, language: str, size: Size) -> str:
    at = _at(spec, end.value, end.format_id, language)
    shown = {SweepLimit.MEMORY: size, SweepLimit.LATENCY: latency_text}.get(end.limit, number)
    return translate(
        language, f"probes.sweep.end.{end.limit}", at=at, figure=shown(end.figure), allowed=shown(end.allowed)
    )


def _left_out(found: list[LeftOut] | tuple[LeftOut, ...], spec: ProbeSpec, language: str, size: Size) -> Iterator[str]:
    for one in found:
        at = _at(spec, one.value, one.format_id, language)
        shown = size if one.limit is SweepLimit.MEMORY else number
        given = {"at": at, "needed": shown(one.needed), "allowed": shown(one.allowed)}
        yield translate(language, f"probes.sweep.left_out.{one.limit}", **given)


def position_text(spec: ProbeSpec, at: Mapping[str, float], label: str, language: str) -> str:
    """Where on its axis a point of a sweep lies."""
    names = {SweepAxis.BATCH: ("batch",), SweepAxis.THREADS: ("threads",)}
    keys = names.get(spec.sweep_axis or SweepAxis.CONTEXT, ("context_tokens", "prompt_tokens"))
    value = next((int(at[key]) for key in keys if key in at), 0)
    return _at(spec, value, label if spec.sweep_axis is SweepAxis.FORMAT else "", language)


def _at(spec: ProbeSpec, value: int, format_id: str, language: str) -> str:
    if format_id or spec.sweep_axis is None:
        return format_id
    return translate(language, f"probes.sweep.at.{spec.sweep_axis}", value=value)

"""What a probe measured, in words: the catalogue's names in place of its ids."""

from __future__ import annotations

from advisor.catalog.text import name_in, translate
from advisor.ui import backend
from advisor.ui.text import language, t
from probes.result import ProbeResult
from probes.spec import ProbeSpec, SweepAxis

__all__ = ["catalogue_format", "device_name", "format_name", "kind_name", "model_name", "result_title", "spec_title"]


def model_name(spec: ProbeSpec) -> str:
    """Of the catalogue; a model that it does not have keeps the name that the probe gave it."""
    known = backend.catalog().variants.get(spec.variant_id)
    return known.name if known else spec.variant_id


def format_name(spec: ProbeSpec) -> str:
    return catalogue_format(spec.format_id)


def catalogue_format(format_id: str) -> str:
    """Its name in the reader's language; one that the catalogue does not have keeps its id."""
    known = backend.catalog().formats.get(format_id)
    return name_in(language(), known.name) if known else format_id


def device_name(device: str) -> str:
    return t("probe.device_cpu") if device == "cpu" else device


def kind_name(spec: ProbeSpec) -> str:
    """The kind, and for a sweep its axis."""
    name = translate(language(), f"probes.kind.{spec.kind}")
    return name if spec.sweep_axis is None else f"{name} ({_axis(spec.sweep_axis)})"


def spec_title(spec: ProbeSpec) -> str:
    """Model, format, place and kind, as far as there are any."""
    place = spec.endpoint.url if spec.endpoint else device_name(spec.device)
    parts = (model_name(spec), format_name(spec), place, kind_name(spec))
    return " · ".join(part for part in parts if part)


def result_title(result: ProbeResult) -> str:
    """The same with its moment."""
    return f"{spec_title(result.spec)} · {result.started_at[:16].replace('T', ' ')} UTC"


def _axis(axis: SweepAxis) -> str:
    return t(f"probe.axis_of.{axis}")

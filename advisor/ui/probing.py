"""The machine, its probes and their history, once per process: a reload of the page finds a running probe again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from advisor.catalog.records import Role
from advisor.jobs.registry import ProbeRegistry
from advisor.ui import backend
from probes.engines.precision import RUNNABLE_FORMATS
from probes.foresee import Foresight, foresee
from probes.machine import detect
from probes.machine_records import Machine
from probes.result import ProbeResult
from probes.spec import ProbeSpec

__all__ = ["expect", "machine", "measurements", "probe_formats", "probe_variants", "registry"]


@st.cache_resource(ttl=60, show_spinner=False)
def machine() -> Machine:
    """As it is now; free memory is at most a minute old."""
    return detect()


@st.cache_resource(show_spinner=False)
def registry() -> ProbeRegistry:
    return ProbeRegistry()


def measurements(variant_id: str, format_id: str, most: int = 5) -> Sequence[ProbeResult]:
    """Valid measurements of this model and format, newest first."""
    found = registry().store.history(variant_id=variant_id, valid_only=True)
    return [result for result in found if result.spec.format_id == format_id][:most]


def expect(spec: ProbeSpec) -> Foresight:
    """What the probe should measure, and whether it may start. Raises UnsupportedError."""
    here = machine()
    return foresee(spec, here, backend.catalog(), registry().store.history(fingerprint=here.fingerprint))


def probe_variants() -> Mapping[str, str]:
    """Dense catalogue models by id, smallest first."""
    every = backend.catalog().variants.values()
    dense = [v for v in every if not v.architecture.is_moe and v.role is not Role.REFERENCE]
    return {v.id: v.name for v in sorted(dense, key=lambda v: backend.model_profile(v.id).total_params)}


def probe_formats() -> list[str]:
    """What the built-in engine can run on a processor, in the catalogue's order."""
    return [name for name in backend.catalog().formats if name in RUNNABLE_FORMATS and name != "fp8"]

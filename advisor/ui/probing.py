"""The machine, its probes and their history, once per process: a reload of the page finds a running probe again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from advisor.catalog.records import AttentionKind, Role
from advisor.jobs.registry import ProbeRegistry
from advisor.ui import backend
from probes.engines.openvino_formats import OPENVINO_FORMATS, runs_in_openvino
from probes.engines.ort_graph import ORT_FORMATS, runs_in_ort
from probes.engines.precision import RUNNABLE_FORMATS
from probes.foresee import Foresight, foresee
from probes.gguf.naming import can_write
from probes.gguf.synthetic import can_store
from probes.machine import detect
from probes.machine_records import Machine
from probes.need import Need
from probes.place import with_own
from probes.possible import computes
from probes.result import Prediction, ProbeResult
from probes.spec import EngineName, Kind, ProbeSpec

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
    """What the probe should measure, by all that this machine has taught, and whether it may start.

    Of the machine itself nothing is foreseen. Raises UnsupportedError.
    """
    if spec.kind is Kind.MACHINE:
        return Foresight(Prediction(), Need(0, 0, 0, 0), None)
    here, catalog = machine(), with_own(backend.catalog(), spec)
    history = registry().store.history(fingerprint=here.fingerprint, valid_only=True)
    return foresee(spec, here, catalog, history)


def probe_variants(engine: EngineName = EngineName.TORCH) -> Mapping[str, str]:
    """What the engine can build, by id, smallest first; one that is too large is refused with its size.

    For llama.cpp: those that a synthetic file can hold.
    """
    kinds = (AttentionKind.GQA, AttentionKind.MLA, AttentionKind.MLA_DSA, AttentionKind.CSA_HCA)
    every = [v for v in backend.catalog().variants.values() if v.role is not Role.REFERENCE]
    if engine is EngineName.ORT:
        found = [v for v in every if runs_in_ort(v.architecture)]
    elif engine is EngineName.OPENVINO:
        found = [v for v in every if runs_in_openvino(v.architecture)]
    elif engine is EngineName.LLAMACPP:
        found = [v for v in every if can_write(v.architecture)]
    else:
        found = [v for v in every if v.architecture.attention in kinds]
    return {v.id: v.name for v in sorted(found, key=lambda v: backend.model_profile(v.id).total_params)}


def probe_formats(engine: EngineName = EngineName.TORCH, device: str = "cpu") -> list[str]:
    """What the engine can run on the device, in the catalogue's order; FP8 needs a GPU with products of its own."""
    formats = backend.catalog().formats
    if engine is EngineName.ORT:
        return [name for name in formats if name in ORT_FORMATS]
    if engine is EngineName.OPENVINO:
        return [name for name in formats if name in OPENVINO_FORMATS]
    if engine is EngineName.LLAMACPP:
        return [name for name, f in formats.items() if f.offered and can_store(f)]
    return [name for name in formats if name in RUNNABLE_FORMATS and computes(name, device, machine())]

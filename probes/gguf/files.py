"""The GGUF file of a probe: the one that is given, or a synthetic one that is written when it is first needed."""

from __future__ import annotations

from pathlib import Path

from advisor.catalog.errors import InputError
from advisor.catalog.formats import load_formats
from probes.engines.base import EngineUnavailableError
from probes.gguf.synthetic import Progress, synthetic_gguf
from probes.spec import ProbeSpec
from probes.system import reset_own_peak

__all__ = ["gguf_file"]


def gguf_file(spec: ProbeSpec, progress: Progress | None = None) -> Path:
    """Raises EngineUnavailableError for a file that is not there, and as `synthetic_gguf`."""
    if spec.checkpoint:
        if not Path(spec.checkpoint).is_file():
            raise EngineUnavailableError(f"no GGUF file at {spec.checkpoint}")
        return Path(spec.checkpoint)
    formats = load_formats()
    if spec.architecture is None or spec.format_id not in formats:
        raise InputError("format", "a GGUF format of the catalogue, or a file with --checkpoint", spec.format_id)
    path = synthetic_gguf(spec.variant_id, spec.architecture, formats[spec.format_id], progress)
    reset_own_peak()  # writing is no part of the measurement
    return path

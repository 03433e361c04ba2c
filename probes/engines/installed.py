"""Which engines this machine has, found without importing or starting any of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec

from probes.engines.libllama import find_libllama
from probes.spec import EngineName, Kind

__all__ = ["KINDS", "missing_engines"]

# What each engine can measure.
KINDS: Mapping[EngineName, tuple[Kind, ...]] = {
    EngineName.TORCH: tuple(Kind),
    EngineName.LLAMACPP: (Kind.FULL, Kind.SWEEP, Kind.SUSTAINED),
    EngineName.OPENVINO: (Kind.FULL, Kind.SWEEP),
    EngineName.ORT: (Kind.FULL, Kind.SWEEP),
    EngineName.ENDPOINT: (Kind.FULL, Kind.SWEEP, Kind.SUSTAINED),
}
_PACKAGES: Mapping[EngineName, tuple[str, ...]] = {
    EngineName.TORCH: ("torch",),
    EngineName.OPENVINO: ("openvino",),
    EngineName.ORT: ("onnxruntime", "onnx"),
}


def missing_engines() -> dict[EngineName, str]:
    """Engines that cannot run here, with what is missing: names of packages or programs."""
    missing = {
        engine: ", ".join(absent)
        for engine, packages in _PACKAGES.items()
        if (absent := [name for name in packages if find_spec(name) is None])
    }
    if not (shutil.which("llama-bench") or shutil.which("llama-server") or find_libllama()):
        missing[EngineName.LLAMACPP] = "llama-bench, llama-server, xllamacpp"
    return missing

"""Which model `advisor probe` measures: a catalogue id, a `config.json`, a folder with safetensors, or a GGUF file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.hf_config import variant_from_config
from advisor.catalog.records import Role, Variant
from advisor.commands.plan_arguments import variant_from
from advisor.commands.probe_file import Identified, identify, same_shape
from probes.engines.precision import canonical_format
from probes.spec import EngineName

__all__ = ["DEFAULT_VARIANT", "find_model", "format_of", "of_folder"]

DEFAULT_VARIANT = "deepseek-r1-distill-qwen-1.5b"


def find_model(arguments: argparse.Namespace, catalog: Catalog) -> Identified:
    """Raises UnknownIdError, DataError or UnsupportedError, before anything is started."""
    words, checkpoint = arguments.model or DEFAULT_VARIANT, arguments.checkpoint
    if checkpoint and arguments.engine == EngineName.LLAMACPP:
        return identify(Path(checkpoint), catalog, words)
    if checkpoint and arguments.engine == EngineName.TORCH:
        variant = of_folder(Path(checkpoint), arguments.model, catalog)
    else:
        variant = _known_as(variant_from(words, catalog), catalog)
    return Identified(variant.id, format_of(arguments.format, arguments.engine), variant.architecture)


def format_of(name: str, engine: str) -> str:
    """llama.cpp's formats may be named as it names them: q4_k_m, bf16."""
    if engine != EngineName.LLAMACPP or name.startswith("gguf-"):
        return canonical_format(name)
    return f"gguf-{name.lower()}"


def of_folder(folder: Path, named: str | None, catalog: Catalog) -> Variant:
    """The model in a folder of safetensors; one that is named must have the same dimensions."""
    expected = "a folder with config.json and safetensors"
    if not folder.is_dir():
        raise DataError(str(folder), "", "", expected, "a file" if folder.exists() else "nothing of this name")
    if not (folder / "config.json").is_file():
        raise DataError(str(folder), "", "", expected, "no config.json")
    if not any(folder.glob("*.safetensors")):
        raise DataError(str(folder), "", "", expected, "no safetensors")
    found = _known_as(variant_from_config(folder), catalog)
    if named is None:
        return found
    variant = _known_as(variant_from(named, catalog), catalog)
    if not same_shape(variant.architecture, found.architecture):
        raise DataError(str(folder / "config.json"), "", "", f"the dimensions of {variant.id}", found.id)
    return variant


def _known_as(variant: Variant, catalog: Catalog) -> Variant:
    """The catalogue's model of these dimensions; another one never takes the name of a model that it is not."""
    if variant.role is not Role.USER:
        return variant
    alike = [v for v in catalog.variants.values() if same_shape(v.architecture, variant.architecture)]
    if alike:
        return next((v for v in alike if v.id == variant.id), alike[0])
    return replace(variant, id=f"own-{variant.id}") if variant.id in catalog.variants else variant

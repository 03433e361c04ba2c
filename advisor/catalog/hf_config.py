"""A Hugging Face `config.json` as a variant, so that any known kind of transformer can be sized.

The dimensions come from `hf_architectures`; here are the file's limits, the storage format and the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.catalog.errors import DataError, UnsupportedError
from advisor.catalog.files import MAX_FILE_BYTES, DataFile, read_text
from advisor.catalog.hf_architectures import FAMILIES, architecture_values
from advisor.catalog.hf_fields import Fields
from advisor.catalog.records import Confidence, Role, Variant
from advisor.catalog.schema_base import validate
from advisor.catalog.schema_models import ArchitectureSchema

__all__ = ["variant_from_config", "variant_from_text"]

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def variant_from_config(path: Path) -> Variant:
    """The model whose `config.json` (or folder) is at `path`. Raises DataError or UnsupportedError."""
    file = path / "config.json" if path.is_dir() else path
    folder = file.resolve().parent.name
    name = folder if file.name == "config.json" and folder else file.stem
    return variant_from_text(read_text(DataFile(file, file.name, False)), name, file=file.name)


def variant_from_text(text: str, name: str, *, file: str = "config.json") -> Variant:
    """The model described by the text of a `config.json`; `name` is what the user calls it.

    Raises DataError for broken JSON, missing or absurd dimensions, UnsupportedError for an architecture or a
    quantisation that is not known.
    """
    config = _parse(text, file)
    kind = _kind(config, file)
    fields = Fields(_text_part(config), file, kind)
    values = architecture_values(kind, fields)
    architecture = validate(ArchitectureSchema, values, file, kind).record()
    return Variant(
        id=_slug(name),
        name=name[:100],
        family=kind,
        model_id=_slug(name),
        architecture=architecture,
        role=Role.USER,
        native_format=_native_format(config, kind, fields),
        always_reasons=False,
        modality="image+text" if "vision_config" in config else "text",
        notes="Language part only: the vision tower is not counted." if "vision_config" in config else "",
        source=(file,),
        confidence=Confidence.MEDIUM,
    )


def _parse(text: str, file: str) -> Mapping[str, object]:
    if len(text.encode()) > MAX_FILE_BYTES:
        raise DataError(file, "", "", f"at most {MAX_FILE_BYTES} bytes", len(text))
    try:
        config = json.loads(text)
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise DataError(file, "", where, "valid JSON", problem.msg) from problem
    except (RecursionError, ValueError) as problem:  # nested too deeply; a number of thousands of digits
        raise DataError(file, "", "", "JSON of reasonable depth and numbers") from problem
    if not isinstance(config, dict):
        raise DataError(file, "", "", "a JSON object", type(config).__name__)
    return config


def _kind(config: Mapping[str, object], file: str) -> str:
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise DataError(file, "", "model_type", "a text such as llama or deepseek_v3", kind)
    nested = config.get("text_config")
    if kind not in FAMILIES and isinstance(nested, dict) and nested.get("model_type") in FAMILIES:
        return str(nested["model_type"])
    if kind not in FAMILIES:
        classes = config.get("architectures")
        label = f"{kind} ({classes[0]})" if isinstance(classes, list) and classes else kind
        raise UnsupportedError(
            f"{file}: architecture '{label[:80]}' is not known: the rules for its tensors and its cache are missing; "
            f"known: {', '.join(sorted(FAMILIES))}"
        )
    return kind


def _text_part(config: Mapping[str, object]) -> Mapping[str, object]:
    """Multimodal models nest the language model under `text_config`."""
    nested = config.get("text_config")
    return {**config, **nested} if isinstance(nested, dict) else config


def _native_format(config: Mapping[str, object], kind: str, fields: Fields) -> str:
    """Format id of the published weights, from `quantization_config` or the data type."""
    mlx = config.get("quantization")
    quantisation = config.get("quantization_config") or fields.config.get("quantization_config")
    if isinstance(mlx, dict) and "bits" in mlx and not quantisation:
        return _known_format({4: "mlx-4bit", 5: "mlx-5bit", 6: "mlx-6bit", 8: "mlx-8bit"}, mlx["bits"], "mlx", fields)
    if quantisation is None:
        return _sixteen_bit(config, fields)
    if not isinstance(quantisation, dict):
        raise DataError(fields.file, kind, "quantization_config", "an object", quantisation)
    return _quantised(quantisation, kind, fields)


def _sixteen_bit(config: Mapping[str, object], fields: Fields) -> str:
    """bfloat16 where the file does not say."""
    dtype = config.get("torch_dtype") or config.get("dtype") or fields.config.get("dtype") or "bfloat16"
    return _known_format(_DTYPES, str(dtype).removeprefix("torch."), "data type", fields)


def _quantised(quantisation: Mapping[str, object], kind: str, fields: Fields) -> str:
    method = str(quantisation.get("quant_method", "")).lower()
    if kind.startswith("deepseek_v4"):
        return _v4_format(kind, fields)
    if method == "fp8":
        return {"[128, 128]": "fp8-block", "[32, 32]": "fp8-block32-e8m0"}.get(
            str(quantisation.get("weight_block_size")), "fp8"
        )
    if method == "gptq":
        return _known_format({4: "gptq-int4", 8: "gptq-int8"}, quantisation.get("bits"), "gptq bits", fields)
    if method == "bitsandbytes":
        if quantisation.get("load_in_8bit"):
            return "bnb-int8"
        return "bnb-nf4-double" if quantisation.get("bnb_4bit_use_double_quant") else "bnb-nf4"
    if method.startswith("modelopt"):
        algorithm = str(quantisation.get("quant_algo", "")).upper()
        return _known_format({"NVFP4": "nvfp4", "FP8": "fp8"}, algorithm, "modelopt", fields)
    if method == "compressed-tensors":
        return _compressed_tensors(quantisation, fields)
    return _known_format({"awq": "awq", "mxfp4": "mxfp4", "fbgemm_fp8": "fp8"}, method, "quantisation", fields)


def _v4_format(kind: str, fields: Fields) -> str:
    """Releases have FP4 experts; base models are FP8 throughout and say so."""
    if kind.startswith("deepseek_v41"):
        return "v4.1-native"
    return "fp8-block" if fields.text("expert_dtype", "fp4") == "fp8" else "v4-native"


def _compressed_tensors(quantisation: Mapping[str, object], fields: Fields) -> str:
    groups = quantisation.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(weights, dict):
        raise DataError(fields.file, fields.kind, "quantization_config.config_groups", "a group with its weights")
    integer = weights.get("type", "int") == "int"
    key = (weights.get("num_bits"), integer, first.get("input_activations") is not None)
    if key == (4, False, True):
        return "nvfp4"
    if key == (8, False, True):
        return "fp8-block" if weights.get("strategy") == "block" else "fp8"
    if key == (4, True, False):
        return "w4a16-g32" if weights.get("group_size") == 32 else "w4a16-g128"
    known = {(8, True, True): "int8-w8a8", (8, True, False): "int8-w8a16"}
    return _known_format(known, key, "compressed-tensors", fields)


def _known_format(table: Mapping[Any, str], key: object, what: str, fields: Fields) -> str:
    found = table.get(key) if isinstance(key, (str, int, tuple)) else None
    if found is None:
        known = ", ".join(str(name) for name in table)
        raise UnsupportedError(f"{fields.file}: {what} '{str(key)[:60]}' is not known; known: {known}")
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")[:80] or "model"

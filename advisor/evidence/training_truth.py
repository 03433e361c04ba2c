"""Published training runs: the fit of the reached share of peak, and the checks that `advisor train-size` states.

Run `python -m advisor.evidence.training_truth` to write data/calibration_training.yaml from data/truth/training.csv.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.records import Architecture, AttentionKind, Role, Variant
from advisor.sizing.activations import Checkpointing
from advisor.sizing.training import Method, TrainingPlan, training_footprint
from advisor.sizing.training_time import forward_flops, step_times, training_speed

__all__ = ["TrainingCheck", "fit_training", "training_checks"]

TRUTH = DATA_DIR / "truth" / "training.csv"
_SPEED = ("step_s", "tflops_per_device", "device_hours_per_1e12_tokens")
LEAST_FACTOR = 1.15  # no interval narrower than published repeats of one run differ
FEW_TOKENS = 256  # of a pass, so few that launches take longer than arithmetic
ALONE_FACTOR = 2.0  # a group of one row


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """One published point beside what this program computes."""

    name: str
    quantity: str
    published: float
    computed: float
    source: str
    in_fit: bool  # a coefficient was fitted to it; else nothing has seen it


def training_checks(catalog: Catalog, path: Path = TRUTH) -> list[TrainingCheck]:
    """Every published point with the computed figure in the same unit."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_check(row, catalog) for row in csv.DictReader(file)]


def fit_training(catalog: Catalog, path: Path = TRUTH) -> dict[str, Any]:
    """Reached share of peak by kind of model: the geometric mean of the shares that explain the published steps.

    `eager_layer_s`: seconds of a layer and pass where adapters are trained on few tokens. Longer steps of adapters, and
    all bytes, are checks only: no coefficient has seen them.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    layers: list[float] = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not _in_fit(row):
                continue
            plan = _plan(row, catalog)
            times = step_times(plan)
            if plan.method is Method.FULL:
                kind = "moe" if plan.variant.architecture.is_moe else "dense"
                shares[kind].append(times.efficiency_for(_measured_step(row, plan)))
            else:
                layers.append(_measured_step(row, plan) / times.layer_passes)
    eager = {"value": float(f"{median(layers):.4g}"), "rows": len(layers)}
    return {**{kind: _summary(values) for kind, values in sorted(shares.items())}, "eager_layer_s": eager}


def _summary(values: list[float]) -> dict[str, Any]:
    center = exp(sum(map(log, values)) / len(values))
    spread = max(max(value / center, center / value) for value in values)
    return {
        "efficiency": float(f"{center:.4g}"),
        "rows": len(values),
        "factor": float(f"{max(spread, LEAST_FACTOR if len(values) > 1 else ALONE_FACTOR):.4g}"),
        "median_residual": float(f"{median(abs(log(v / center)) for v in values):.4g}"),
    }


def _check(row: Mapping[str, str], catalog: Catalog) -> TrainingCheck:
    quantity, value = row["quantity"], float(row["value"])
    return TrainingCheck(row["id"], quantity, value, _computed(row, catalog), row["source"], _in_fit(row))


def _in_fit(row: Mapping[str, str]) -> bool:
    short = row["method"] == Method.LORA and int(row["sequence"]) <= FEW_TOKENS
    return row["quantity"] in _SPEED and (not row["method"] or short)


def _computed(row: Mapping[str, str], catalog: Catalog) -> float:
    quantity = row["quantity"]
    if quantity.startswith("state_gb"):
        return _model_states(float(row["model"]), int(row["n_devices"]), int(quantity[-1]), catalog)
    plan = _plan(row, catalog)
    if quantity.startswith("memory_gb"):
        return training_footprint(plan).total_bytes / 1e9
    speed = training_speed(plan)
    if quantity == "step_s":
        return speed.step_s.value
    if quantity == "tflops_per_device":
        return speed.tflops_per_device
    return plan.devices * 1e12 / speed.tokens_per_s.value / 3600


def _measured_step(row: Mapping[str, str], plan: TrainingPlan) -> float:
    value = float(row["value"])
    if row["quantity"] == "step_s":
        return value
    if row["quantity"] == "tflops_per_device":
        useful = 3 * forward_flops(plan.variant.architecture, plan.sequence_tokens) * plan.tokens_per_step
        return useful / (value * 1e12 * plan.devices)
    return plan.tokens_per_step / (1e12 * plan.devices / (value * 3600))


def _plan(row: Mapping[str, str], catalog: Catalog) -> TrainingPlan:
    method = Method(row["method"] or "full")
    device = catalog.device(row["device_id"]) if row["device_id"] else catalog.device("rtx-4090")
    return TrainingPlan(
        variant=catalog.variant(row["model"]) if row["model"] else _gpt(row),
        method=method,
        device=device,
        base_format=catalog.format(row["format"] or "bf16"),
        devices=int(row["n_devices"]),
        tp=int(row["tp"]),
        pp=int(row["pp"]),
        interleave=int(row["interleave"]),
        micro_batch=int(row["micro_batch"]),
        accumulate=int(row["accumulate"]),
        sequence_tokens=int(row["sequence"]),
        checkpointing=Checkpointing(row["checkpointing"]),
        zero=1 if int(row["n_devices"]) > int(row["tp"]) * int(row["pp"]) else 0,
        rank=int(row["rank"] or 16),
        offload_optimizer=row["offload"] == "1",
        dropout=row["mlp_matrices"] == "2",  # GPT as in Megatron-LM
    )


def _gpt(row: Mapping[str, str]) -> Variant:
    """A GPT of the published dimensions."""
    heads, hidden = int(row["heads"]), int(row["hidden"])
    a = Architecture(
        attention=AttentionKind.GQA,
        hidden_size=hidden,
        num_layers=int(row["layers"]),
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=hidden // heads,
        vocab_size=int(row["vocab"]),
        intermediate_size=int(row["ffn"]),
        mlp_matrices=int(row["mlp_matrices"]),
        tie_word_embeddings=row["mlp_matrices"] == "2",
    )
    return Variant(row["id"], row["id"], "GPT", row["id"], a, Role.REFERENCE, "bf16", always_reasons=False)


def _model_states(params: float, devices: int, zero: int, catalog: Catalog) -> float:
    """Gigabytes per device of weights, gradients and Adam states of a model of `params` parameters."""
    variant = catalog.variant("deepseek-llm-7b-chat")
    plan = TrainingPlan(
        variant, Method.FULL, catalog.device("v100-sxm2-32"), catalog.format("bf16"), devices=devices, zero=zero
    )
    f = training_footprint(plan)
    return (f.weights_bytes + f.gradient_bytes + f.optimizer_bytes) / f.total_params * params / 1e9


def main() -> None:
    text = yaml.safe_dump(fit_training(load_catalog()), sort_keys=False)
    note = "# Written by `python -m advisor.evidence.training_truth` from data/truth/training.csv; do not edit.\n"
    (DATA_DIR / "calibration_training.yaml").write_text(note + text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

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
ALONE_FACTOR = 2.0  # a group of one row


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """One published point beside what this program computes."""

    name: str
    quantity: str
    published: float
    computed: float
    source: str


def training_checks(catalog: Catalog, path: Path = TRUTH) -> list[TrainingCheck]:
    """Every published point with the computed figure in the same unit."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_check(row, catalog) for row in csv.DictReader(file)]


def fit_training(catalog: Catalog, path: Path = TRUTH) -> dict[str, Any]:
    """Reached share of peak by kind of model: the geometric mean of the shares that explain the published steps."""
    shares: dict[str, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["quantity"] in _SPEED:
                plan = _plan(row, catalog)
                kind = "moe" if plan.variant.architecture.is_moe else "dense"
                shares[kind].append(step_times(plan).efficiency_for(_measured_step(row, plan)))
    return {kind: _summary(values) for kind, values in sorted(shares.items())}


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
    return TrainingCheck(row["id"], quantity, value, _computed(row, catalog), row["source"])


def _computed(row: Mapping[str, str], catalog: Catalog) -> float:
    quantity = row["quantity"]
    if quantity.startswith("state_gb"):
        return _model_states(float(row["model"]), int(row["n_devices"]), int(quantity[-1]), catalog)
    plan = _plan(row, catalog)
    if quantity.startswith("qlora"):
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
    qlora = row["quantity"].startswith("qlora")
    device = catalog.device(row["device_id"]) if row["device_id"] else catalog.device("rtx-4090")
    return TrainingPlan(
        variant=catalog.variant(row["model"]) if row["model"] else _gpt(row),
        method=Method.QLORA if qlora else Method.FULL,
        device=device,
        base_format=catalog.format("bnb-nf4-double" if qlora else "bf16"),
        devices=int(row["n_devices"]),
        tp=int(row["tp"]),
        pp=int(row["pp"]),
        interleave=int(row["interleave"]),
        micro_batch=int(row["micro_batch"]),
        accumulate=int(row["accumulate"]),
        sequence_tokens=int(row["sequence"]),
        checkpointing=Checkpointing(row["checkpointing"]),
        zero=1 if int(row["n_devices"]) > int(row["tp"]) * int(row["pp"]) else 0,
        dropout=not row["model"],
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
        tie_word_embeddings=True,
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

"""`advisor train-size`: memory and time of training or adapting a model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import Any

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Quantity
from advisor.catalog.text import LANGUAGES, translate
from advisor.catalog.units import format_bytes, format_count
from advisor.commands.plan_arguments import variant_from
from advisor.evidence.training_truth import training_checks
from advisor.sizing.activations import Checkpointing
from advisor.sizing.training import (
    Method,
    Optimizer,
    TrainingFootprint,
    TrainingPlan,
    smallest_count,
    training_footprint,
)
from advisor.sizing.training_time import TrainingSpeed, training_speed

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Memory and time of training, adapting or distilling a model."
NOTHING_FITS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model id, a Hugging Face name, or path/to/config.json")
    parser.add_argument("--method", required=True, choices=[str(m) for m in Method])
    parser.add_argument("--device", default="h100-sxm", metavar="D")
    parser.add_argument("--server", metavar="S", help="chassis: its network counts for data parallelism")
    for name, default, text in (
        ("count", 1, "devices"),
        ("tp", 1, "tensor parallel"),
        ("pp", 1, "pipeline stages"),
        ("interleave", 1, "model chunks of a stage"),
        ("batch", 1, "sequences of one pass and data-parallel rank"),
        ("accumulate", 8, "passes of one step"),
        ("seq", 2048, "tokens of a sequence"),
        ("rank", 16, "rank of LoRA"),
    ):
        parser.add_argument(f"--{name}", type=_positive, default=default, metavar="N", help=f"{text} ({default})")
    parser.add_argument("--zero", type=int, default=None, choices=(0, 1, 2, 3), help="ZeRO stage")
    parser.add_argument("--offload-optimizer", action="store_true", help="optimizer states in host memory")
    parser.add_argument("--optimizer", choices=[str(o) for o in Optimizer], default=str(Optimizer.ADAM))
    parser.add_argument("--checkpointing", choices=[str(c) for c in Checkpointing], default=str(Checkpointing.FULL))
    parser.add_argument("--targets", choices=("all", "attention"), default="all", help="matrices that LoRA adapts")
    parser.add_argument("--teacher", metavar="MODEL", help="for distill (default: deepseek-r1)")
    parser.add_argument("--teacher-format", metavar="F", help="weights of the teacher (default: the publisher's)")
    parser.add_argument("--hidden-losses", type=int, default=0, metavar="N", help="layers with a hidden-state loss")
    parser.add_argument("--tokens", type=float, default=1e9, metavar="N", help="tokens of the run")
    parser.add_argument("--lang", choices=LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    catalog = load_catalog()
    if not 0 < arguments.tokens <= 1e18:
        raise InputError("tokens", "a number from 1 to 1e18", arguments.tokens)
    plan = _plan(arguments, catalog)
    memory, speed = training_footprint(plan), training_speed(plan)
    content = _json(plan, memory, speed, arguments.tokens, catalog)
    if arguments.json:
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
    else:
        sys.stdout.write(_text(plan, memory, speed, content, arguments))
    return 0 if memory.fits else NOTHING_FITS


def _plan(arguments: argparse.Namespace, catalog: Catalog) -> TrainingPlan:
    method = Method(arguments.method)
    teacher = None
    if method is Method.DISTILL:
        teacher = variant_from(arguments.teacher or "deepseek-r1", catalog)
    replicas = arguments.count // (arguments.tp * arguments.pp)
    return TrainingPlan(
        variant=variant_from(arguments.model, catalog),
        method=method,
        device=catalog.device(arguments.device),
        base_format=catalog.format("bnb-nf4-double" if method is Method.QLORA else "bf16"),
        devices=arguments.count,
        tp=arguments.tp,
        pp=arguments.pp,
        interleave=arguments.interleave,
        zero=arguments.zero if arguments.zero is not None else (3 if replicas > 1 else 0),
        offload_optimizer=arguments.offload_optimizer,
        optimizer=Optimizer(arguments.optimizer),
        checkpointing=Checkpointing(arguments.checkpointing),
        micro_batch=arguments.batch,
        accumulate=arguments.accumulate,
        sequence_tokens=arguments.seq,
        rank=arguments.rank,
        attention_only=arguments.targets == "attention",
        teacher=teacher,
        teacher_format=catalog.format(arguments.teacher_format or teacher.native_format) if teacher else None,
        hidden_losses=arguments.hidden_losses,
        server=catalog.server(arguments.server) if arguments.server else None,
    )


def _json(
    plan: TrainingPlan, memory: TrainingFootprint, speed: TrainingSpeed, tokens: float, catalog: Catalog
) -> dict[str, Any]:
    per_s = speed.tokens_per_s
    hours = Quantity(tokens / per_s.value / 3600, tokens / per_s.high / 3600, tokens / per_s.low / 3600, per_s.basis)
    per_token = Quantity(1e6 / per_s.value, 1e6 / per_s.high, 1e6 / per_s.low, per_s.basis)
    return {
        "model_id": plan.variant.id,
        "method": str(plan.method),
        "device_id": plan.device.id,
        "n_devices": plan.devices,
        "layout": {"tp": plan.tp, "pp": plan.pp, "dp": plan.dp, "zero": plan.zero},
        "optimizer": str(plan.optimizer),
        "checkpointing": str(plan.checkpointing),
        "teacher_id": plan.teacher.id if plan.teacher else None,
        "fits": memory.fits,
        "shortfall_bytes": memory.shortfall_bytes,
        "smallest_count": smallest_count(plan),
        "total_params": memory.total_params,
        "trainable_params": memory.trainable_params,
        "per_device": {
            "weights_bytes": memory.weights_bytes,
            "gradient_bytes": memory.gradient_bytes,
            "optimizer_bytes": memory.optimizer_bytes,
            "activation_bytes": memory.activation_bytes,
            "teacher_bytes": memory.teacher_bytes,
            "overhead_bytes": memory.overhead_bytes,
            "total_bytes": memory.total_bytes,
            "usable_bytes": memory.usable_bytes,
            "host_bytes": memory.host_bytes,
        },
        "tokens_per_step": plan.tokens_per_step,
        "step_s": speed.step_s.as_json(),
        "tokens_per_s": per_s.as_json(),
        "us_per_token": per_token.as_json(),
        "run_tokens": tokens,
        "run_hours": hours.as_json(),
        "tflops_per_device": speed.tflops_per_device,
        "communication_share": speed.communication_share,
        "scaling_efficiency": speed.scaling_efficiency,
        "checked_against": [asdict(check) for check in training_checks(catalog)],
    }


def _text(
    plan: TrainingPlan,
    memory: TrainingFootprint,
    speed: TrainingSpeed,
    content: dict[str, Any],
    arguments: argparse.Namespace,
) -> str:
    def t(key: str, **values: object) -> str:
        return translate(arguments.lang, f"sizing.train.{key}", **values)

    counts = {"params": format_count(memory.trainable_params, 2), "total": format_count(memory.total_params, 2)}
    head = t("head", model=plan.variant.name, method=plan.method, n=plan.devices, device=plan.device.name, **counts)
    names = ("weights", "gradient", "optimizer", "activation", "teacher", "overhead", "total", "usable")
    sizes = [getattr(memory, f"{name}_bytes") for name in names]
    keys = ("weights", "gradients", "optimizer", "activations", "teacher", "overhead", "total", "usable")
    rows = [f"  {t(k):<22}{format_bytes(size, binary=True):>14}" for k, size in zip(keys, sizes, strict=True)]
    verdict = t("fits") if memory.fits else t("does_not_fit", short=format_bytes(memory.shortfall_bytes, binary=True))
    basis = translate(arguments.lang, f"sizing.basis.{speed.tokens_per_s.basis}")
    hours = {k: f"{v:,.1f}" for k, v in content["run_hours"].items() if k != "basis"}
    rate = {k: f"{v:,.0f}" for k, v in content["tokens_per_s"].items() if k != "basis"} | {"basis": basis}
    lines = [
        head,
        *rows,
        verdict,
        t("tokens", **rate),
        t("time", hours=hours["value"], low=hours["low"], high=hours["high"], tokens=format_count(arguments.tokens)),
        t("scaling", share=f"{speed.communication_share:.1%}", efficiency=f"{speed.scaling_efficiency:.1%}"),
        "",
        t("checks"),
    ]
    lines += [f"  {t(key, **values)}" for key, values in _by_source(content["checked_against"])]
    return "\n".join(lines) + "\n"


def _by_source(checks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, object]]]:
    """Points of each source and how far the computed ones are off, as text keys and values; all points are in the JSON.

    Limits, points that the fit has seen, and points that nothing has seen are told apart.
    """
    kinds = {(c["source"], "limit" if "at_most" in c["quantity"] else "fit" if c["in_fit"] else "new") for c in checks}
    for source, kind in sorted(kinds):
        own = [c for c in checks if c["source"] == source and c["in_fit"] == (kind == "fit")]
        ratios = [c["computed"] / c["published"] for c in own if ("at_most" in c["quantity"]) == (kind == "limit")]
        errors = [abs(ratio - 1) for ratio in ratios]
        held = sum(ratio <= 1 for ratio in ratios)
        values = {"median": f"{median(errors):.0%}", "most": f"{max(errors):.0%}", "held": held}
        yield f"checks_{kind}", {"source": source, "n": len(ratios), **values}


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value <= 10**7:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 10,000,000, got {text}")
    return value

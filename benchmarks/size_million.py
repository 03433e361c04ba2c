"""Sizes one million plans (bytes and seconds) on one core, and one plan: `python benchmarks/size_million.py`."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import replace

import numpy as np

from advisor.catalog import load_catalog
from advisor.sizing.columns import Hardware, LoadColumns, ModelKey, PlanColumns, Runtime
from advisor.sizing.grid import evaluate
from advisor.sizing.plan import Layout, Load, Plan
from advisor.sizing.size import size

MODELS = ("deepseek-r1", "deepseek-v3.2", "deepseek-r1-distill-llama-70b", "deepseek-r1-distill-qwen-7b")
FORMATS = ("bf16", "fp8-block", "w4a16-g128", "nvfp4")
DEVICES = ("h100-sxm", "h200-sxm", "b200-sxm", "mi300x", "a100-sxm-80", "l40s", "rtx-4090", "rtx-5090")
ENGINES = ("vllm", "sglang", "trtllm")


def million(plans: int = 1_000_000) -> tuple[PlanColumns, LoadColumns]:
    """Random combinations of models, formats, devices, layouts and loads."""
    catalog, rng = load_catalog(), np.random.default_rng(1)
    models = tuple(ModelKey(catalog.variant(m), catalog.format(f)) for m in MODELS for f in FORMATS)
    hardware = tuple(Hardware(catalog.device(d)) for d in DEVICES)
    runtimes = tuple(Runtime(catalog.engine(e), "cuda") for e in ENGINES)
    tp = rng.choice([1.0, 2.0, 4.0, 8.0], plans)
    columns = PlanColumns(
        models=models,
        runtimes=runtimes,
        hardware=hardware,
        model=rng.integers(0, len(models), plans),
        runtime=rng.integers(0, len(runtimes), plans),
        machine=rng.integers(0, len(hardware), plans),
        tp=tp,
        pp=np.ones(plans),
        ep=np.ones(plans),
        dp_attention=np.where(rng.random(plans) < 0.2, tp, 1.0),
        replicas=np.ones(plans),
        offload=np.zeros(plans, dtype=np.intp),
        gpu_expert_layers=np.zeros(plans),
        gpu_layers=np.zeros(plans),
    )
    loads = LoadColumns.from_arrays(
        input_tokens=rng.integers(64, 8192, plans),
        output_tokens=rng.integers(16, 2048, plans),
        context_tokens=16384,
        concurrency=rng.choice([1, 4, 16, 64, 256], plans),
    )
    return columns, loads


def main() -> None:
    plans, loads = million()
    evaluate(plans.take(np.arange(1000)), loads.take(np.arange(1000)))  # load the calibration and profiles
    wall, cpu = time.perf_counter(), time.process_time()
    result = evaluate(plans, loads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"1,000,000 plans: {cpu:.2f} s of CPU, {wall:.2f} s by the clock; {result.fits.mean():.0%} fit")
    catalog = load_catalog()
    plan = Plan(
        catalog.variant("deepseek-r1"),
        catalog.format("fp8-block"),
        catalog.engine("sglang"),
        "cuda",
        catalog.device("h200-sxm"),
        Layout(tp=8),
    )
    load = Load(1024, 1024, 8192, 16)
    times = []
    for n in range(200):  # no question twice
        fresh, asked = replace(plan, replicas=1 + n % 4), replace(load, input_tokens=512 + n)
        start = time.process_time()
        size(fresh, asked, catalog)
        times.append(time.process_time() - start)
    print(f"one plan: {np.median(times) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()

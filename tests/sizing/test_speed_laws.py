"""Laws that every predicted speed obeys, over the whole catalogue: no fitted coefficient may break them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from advisor.catalog import load_catalog
from advisor.catalog.engines import backends, runs_model, support, why_not
from advisor.catalog.records import Device, DeviceClass, Engine
from advisor.sizing.cache import default_kv_format
from advisor.sizing.columns import OFFLOADS, Hardware, LoadColumns, ModelKey, PlanColumns, Runtime, Tuning
from advisor.sizing.grid import GridResult, evaluate_speed
from advisor.sizing.plan import Offload

CATALOG = load_catalog()
MODELS = ("deepseek-r1", "deepseek-v3.2", "deepseek-r1-distill-llama-70b", "deepseek-r1-distill-qwen-1.5b")
FORMATS = ("bf16", "fp8-block", "int8-w8a8", "awq", "nvfp4", "gguf-q8_0", "gguf-q4_k_m", "gguf-q2_k")
ROUNDING = 1 + 1e-9


@lru_cache(maxsize=1)
def offered() -> tuple[PlanColumns, tuple[tuple[str, str], ...]]:
    """One plan for every device, engine, back end, format and model that the catalogue offers; pairs without any."""
    rows = list(_supported())
    models = tuple(_key(m, f) for m in MODELS for f in FORMATS)
    runtimes = tuple(dict.fromkeys((e, b) for _, e, b, _ in rows))
    devices = tuple(CATALOG.devices.values())
    place = {d.id: n for n, d in enumerate(devices)}
    columns = {
        "model": np.array([m for *_, m in rows], dtype=np.intp),
        "runtime": np.array([runtimes.index((e, b)) for _, e, b, _ in rows], dtype=np.intp),
        "machine": np.array([place[d] for d, *_ in rows], dtype=np.intp),
        "offload": np.array([_offload(CATALOG.device(d), b) for d, _, b, _ in rows], dtype=np.intp),
    }
    plans = PlanColumns(
        models=models,
        runtimes=tuple(Runtime(CATALOG.engine(e), b) for e, b in runtimes),
        hardware=tuple(Hardware(d) for d in devices),
        **columns,
        **{n: np.ones(len(rows)) for n in ("tp", "pp", "ep", "dp_attention", "replicas")},
        **{n: np.zeros(len(rows)) for n in ("gpu_expert_layers", "gpu_layers")},
    )
    without = tuple((d.id, e) for d in devices for e in CATALOG.engines if not _any(rows, d.id, e))
    return plans, without


def _supported() -> Iterator[tuple[str, str, str, int]]:
    for device in CATALOG.devices.values():
        for engine in CATALOG.engines.values():
            for backend in backends(engine, device):
                for n, (model, fmt) in enumerate((m, f) for m in MODELS for f in FORMATS):
                    if _runs(device, engine, backend, model, fmt):
                        yield device.id, engine.id, backend, n


def _runs(device: Device, engine: Engine, backend: str, model: str, fmt: str) -> bool:
    fits = support(engine, CATALOG.format(fmt), device, backend) is not None
    return fits and runs_model(engine, CATALOG.variant(model)) is None


def _key(model: str, fmt: str) -> ModelKey:
    variant = CATALOG.variant(model)
    return ModelKey(variant, CATALOG.format(fmt), default_kv_format(variant.architecture))


def _offload(device: Device, backend: str) -> int:
    alone = backend == "cpu" or device.device_class is DeviceClass.CPU
    return OFFLOADS.index(Offload.CPU_ONLY if alone else Offload.NONE)


def _any(rows: list[tuple[str, str, str, int]], device: str, engine: str) -> bool:
    return any(row[0] == device and row[1] == engine for row in rows)


def speeds(plans: PlanColumns, **load: float) -> GridResult:
    given = {"input_tokens": 1024.0, "output_tokens": 256.0, "context_tokens": 4096.0, "concurrency": 1.0} | load
    loads = LoadColumns.from_arrays(**{name: np.full(len(plans), value) for name, value in given.items()})
    return evaluate_speed(plans, loads, Tuning(), None)


@pytest.mark.parametrize("concurrency", [1.0, 32.0])
def test_every_plan_of_the_catalogue_has_finite_positive_speeds(concurrency: float) -> None:
    plans, _ = offered()
    assert len(plans) > 5_000
    found = speeds(plans, concurrency=concurrency)
    for rates in (found.prefill_tok_s, found.decode_tok_s, found.output_tok_s, found.ttft_s, found.tpot_s):
        assert np.all(np.isfinite(rates.value) & (rates.value > 0))
        assert np.all((rates.low > 0) & (rates.low <= rates.value) & (rates.value <= rates.high))
        assert np.all(np.isfinite(rates.high))
    np.testing.assert_allclose(found.shares.sum(axis=1), 1, atol=1e-5)


def test_an_engine_that_cannot_use_a_device_says_why() -> None:
    _, without = offered()
    assert without
    for device, engine in without:
        for fmt in FORMATS:
            reason = why_not(CATALOG.engine(engine), CATALOG.format(fmt), CATALOG.device(device))
            unable = [runs_model(CATALOG.engine(engine), CATALOG.variant(m)) for m in MODELS]
            assert reason is not None or all(unable)


def test_a_longer_context_never_makes_decoding_faster() -> None:
    plans, _ = offered()
    steps = [speeds(plans, input_tokens=n, context_tokens=n + 512).tpot_s.value for n in (512.0, 4096.0, 32768.0)]
    assert np.all(steps[1] * ROUNDING >= steps[0])
    assert np.all(steps[2] * ROUNDING >= steps[1])


def test_more_sequences_never_slow_the_total_nor_speed_up_one() -> None:
    plans, _ = offered()
    few, many = speeds(plans, concurrency=8.0), speeds(plans, concurrency=64.0)
    assert np.all(many.output_tok_s.value * ROUNDING >= few.output_tok_s.value)
    assert np.all(many.tpot_s.value * ROUNDING >= few.tpot_s.value)
    assert np.all(many.ttft_s.value * ROUNDING >= few.ttft_s.value)


def test_a_longer_prompt_never_takes_less_time() -> None:
    plans, _ = offered()
    times = [speeds(plans, input_tokens=n).ttft_s.value for n in (256.0, 1024.0, 8192.0)]
    assert np.all(times[1] * ROUNDING >= times[0])
    assert np.all(times[2] * ROUNDING >= times[1])


@pytest.mark.parametrize("field", ["bandwidth_bytes_per_s", "peak_ops_per_s"])
def test_a_better_device_is_never_slower(field: str) -> None:
    plans, _ = offered()
    better = tuple(Hardware(_scaled(h.device, field)) for h in plans.hardware if h.device)
    before, after = speeds(plans), speeds(replace(plans, hardware=better))
    assert np.all(after.tpot_s.value <= before.tpot_s.value * ROUNDING)
    assert np.all(after.ttft_s.value <= before.ttft_s.value * ROUNDING)


def _scaled(device: Device, field: str) -> Device:
    """The device with 1.3 times the bandwidth, or the peaks of every precision."""
    value = getattr(device, field)
    number = isinstance(value, float | int)
    better = value * 1.3 if number else type(value)({k: v and v * 1.3 for k, v in value.items()})
    return replace(device, **{field: better})


def test_more_devices_inside_one_switch_never_slow_a_large_model() -> None:
    plans, _ = offered()
    switched = np.array([_nvswitch(h.device) for h in plans.hardware])[plans.machine]
    large = np.isin(plans.model, np.arange(2 * len(FORMATS)))
    some = plans.take(switched & large)
    assert len(some) > 100
    for concurrency in (8.0, 64.0):
        wider = [replace(some, tp=np.full(len(some), tp)) for tp in (1.0, 2.0, 4.0, 8.0)]
        times = [speeds(plans, concurrency=concurrency).ttft_s.value for plans in wider]
        for fewer, more in pairwise(times):
            assert np.all(more <= fewer * ROUNDING)


def _nvswitch(device: Device | None) -> bool:
    return device is not None and device.link is not None and "switch" in str(device.link.topology).lower()

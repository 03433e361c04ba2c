"""Many plans at once equal one plan at a time; intervals, bases, local measurements and step tables."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import LocalCalibration, efficiency_table
from advisor.sizing.grid import evaluate, evaluate_speed
from advisor.sizing.plan import Layout, Load, Offload, Plan
from advisor.sizing.size import size
from advisor.sizing.steptables import step_tables

CATALOG = load_catalog()


def plan_of(variant: str, fmt: str, device: str, engine: str = "vllm", backend: str = "cuda", **layout: int) -> Plan:
    device_record = CATALOG.device(device)
    return Plan(
        CATALOG.variant(variant), CATALOG.format(fmt), CATALOG.engine(engine), backend, device_record, Layout(**layout)
    )


R1 = plan_of("deepseek-r1", "fp8-block", "h200-sxm", "sglang", tp=8)
SMALL = plan_of("deepseek-r1-distill-qwen-7b", "bf16", "rtx-4090")
ON_CPU = replace(
    plan_of("deepseek-r1-distill-qwen-1.5b", "gguf-q4_k_m", "rtx-4090", "llama.cpp", "cpu"),
    device=None,
    host=CATALOG.host("office-pc-i5-12400-32"),
    layout=Layout(offload=Offload.CPU_ONLY),
)


def test_a_grid_equals_its_plans_one_by_one() -> None:
    plans, load = [R1, SMALL, ON_CPU], Load(1024, 256, 4096, 4)
    grid = evaluate(PlanColumns.from_plans(plans), LoadColumns.of(load, 3))
    for row, plan in enumerate(plans):
        one = size(plan, load, CATALOG)
        assert grid.tpot_s.value[row] * 1e3 == pytest.approx(one.tpot_ms.value)
        assert grid.ttft_s.high[row] * 1e3 == pytest.approx(one.ttft_ms.high)
        assert grid.max_concurrency[row] == one.max_concurrency
        assert bool(grid.fits[row]) is one.fits


def test_every_number_has_an_interval_around_it_and_a_basis() -> None:
    found = size(SMALL, Load(512, 128, 2048, 8), CATALOG)
    for quantity in (found.prefill_tok_s, found.decode_tok_s, found.output_tok_s, found.ttft_ms, found.tpot_ms):
        assert 0 < quantity.low < quantity.value < quantity.high
        assert quantity.basis is Basis.ESTIMATED
    assert sum(found.shares.values()) == pytest.approx(1.0, abs=1e-5)


def test_an_engine_that_was_never_measured_is_extrapolated() -> None:
    plan = replace(ON_CPU, engine=CATALOG.engine("torch"), format=CATALOG.format("bf16"))
    assert size(plan, Load(128, 64, 512), CATALOG).decode_tok_s.basis is Basis.EXTRAPOLATED


@pytest.mark.parametrize("concurrency", [2, 8, 64])
def test_more_users_give_more_tokens_and_slower_ones(concurrency: int) -> None:
    few, many = (size(R1, Load(1024, 512, 4096, n), CATALOG) for n in (concurrency, 2 * concurrency))
    assert many.output_tok_s.value > few.output_tok_s.value
    assert many.tpot_ms.value > few.tpot_ms.value
    assert many.ttft_ms.value >= few.ttft_ms.value


def test_cached_prompt_tokens_shorten_the_first_token() -> None:
    cold, warm = (size(SMALL, Load(4096, 64, 8192, 1, cached), CATALOG) for cached in (0, 3072))
    assert warm.ttft_ms.value < cold.ttft_ms.value


def test_accepted_drafts_speed_up_a_stream() -> None:
    load = Load(1024, 512, 4096, 1)
    plain = size(R1, load, CATALOG)
    drafted = size(R1, load, CATALOG, Tuning(accepted_tokens=1.8, draft_tokens=1))
    assert drafted.tpot_ms.value < plain.tpot_ms.value


def test_a_local_measurement_replaces_the_estimate() -> None:
    load = Load(512, 128, 2048, 1)
    public = size(SMALL, load, CATALOG)
    local = LocalCalibration("rtx-4090", "vllm", "16bit", 1.25, 1.1, 0.8, 1.2, runs=3)
    table = efficiency_table().with_local([local])
    here = size(SMALL, load, CATALOG, table=table)
    assert here.tpot_ms.value == pytest.approx(1.25 * public.tpot_ms.value)
    assert here.tpot_ms.high == pytest.approx(1.1 * here.tpot_ms.value)
    assert here.decode_tok_s.basis is Basis.CALIBRATED
    assert size(
        SMALL, load, CATALOG, table=efficiency_table().with_local([replace(local, measured=True)])
    ).tpot_ms.basis is (Basis.MEASURED)
    assert size(R1, load, CATALOG, table=table).tpot_ms == size(R1, load, CATALOG).tpot_ms


def test_step_tables_carry_the_same_step() -> None:
    load = Load(1024, 256, 2048, 16)
    table = step_tables(SMALL, load)
    assert list(table.ntok) == sorted(set(table.ntok))
    assert all(b >= a for a, b in zip(table.step_s, table.step_s[1:], strict=False))
    read = 16 * load.mean_context_tokens
    step = float(np.interp(16, table.ntok, table.step_s)) + table.cdec * read
    assert step * 1e3 == pytest.approx(size(SMALL, load, CATALOG).tpot_ms.value, rel=0.5)
    assert table.kvcap_tokens > 16 * 1280
    assert table.max_num_batched_tokens >= table.max_num_seqs


def test_data_parallel_attention_gives_ranks_in_lock_step() -> None:
    plan = plan_of("deepseek-r1", "fp8-block", "h200-sxm", "sglang", tp=8, dp_attention=8)
    assert step_tables(plan, Load(1024, 256, 4096, 64)).dp == 8


def test_a_plan_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over one row; benchmarks/size_million.py has the time."""
    module, rows = import_module("advisor.sizing.size"), []

    def counted(plans: PlanColumns, *arguments: object, **named: object) -> object:
        rows.append(len(plans))
        return evaluate_speed(plans, *arguments, **named)

    monkeypatch.setattr(module, "evaluate_speed", counted)
    size(R1, Load(1024, 256, 4096, 4), CATALOG)
    assert rows == [1]

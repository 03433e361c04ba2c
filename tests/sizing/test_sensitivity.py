"""One change at a time moves a plan the way physics says."""

from __future__ import annotations

from advisor.catalog import load_catalog
from advisor.sizing.plan import Layout, Load, Plan
from advisor.sizing.sensitivity import Change, variations
from advisor.sizing.size import size

CATALOG = load_catalog()
LOAD = Load(1024, 512, 4096, 8)


def _plan(device: str = "l40s", variant: str = "deepseek-r1-distill-qwen-14b", **layout: int) -> Plan:
    return Plan(
        CATALOG.variant(variant),
        CATALOG.format("bf16"),
        CATALOG.engine("vllm"),
        "cuda",
        CATALOG.device(device),
        Layout(**layout),
    )


def test_each_change_moves_in_its_direction() -> None:
    base = size(_plan(), LOAD, CATALOG)
    found = {v.change: v.sizing for v in variations(_plan(), LOAD, CATALOG)}
    assert set(found) == set(Change) - {Change.ONE_MORE_DEVICE}  # twice as many
    assert found[Change.TWICE_DEVICES].per_device.weights_bytes < 0.6 * base.per_device.weights_bytes
    assert found[Change.TWICE_DEVICES].max_concurrency > base.max_concurrency
    assert found[Change.SMALLER_FORMAT].per_device.weights_bytes < 0.8 * base.per_device.weights_bytes
    assert found[Change.SMALLER_FORMAT].tpot_ms.value < base.tpot_ms.value
    assert found[Change.HALF_CONTEXT].per_device.kv_cache_bytes < base.per_device.kv_cache_bytes
    assert found[Change.TWICE_SEQUENCES].output_tok_s.value > base.output_tok_s.value
    assert found[Change.TWICE_SEQUENCES].tpot_ms.value > base.tpot_ms.value


def test_heads_that_do_not_divide_get_pipeline_stages() -> None:
    """Qwen 1.5B has 12 heads: 4 ranks divide them, 8 do not."""
    plan = _plan(variant="deepseek-r1-distill-qwen-1.5b", tp=4)
    layout = next(v.sizing.plan.layout for v in variations(plan, LOAD, CATALOG) if v.change is Change.TWICE_DEVICES)
    assert (layout.tp, layout.pp) == (4, 2)


def test_the_smallest_format_has_no_smaller_one() -> None:
    plan = _plan()
    formats = set()
    for _ in range(6):
        found = [v for v in variations(plan, LOAD, CATALOG) if v.change is Change.SMALLER_FORMAT]
        if not found:
            break
        plan = found[0].sizing.plan
        formats.add(plan.format.id)
    assert not found
    assert len(formats) >= 2


def test_one_more_device_is_a_rank_or_a_stage() -> None:
    """40 heads: 5 ranks divide them; llama.cpp adds a stage; a grid of ranks and stages has no room for one more."""
    found = {v.change: v.sizing.plan.layout for v in variations(_plan(tp=4), LOAD, CATALOG)}
    assert (found[Change.ONE_MORE_DEVICE].tp, found[Change.ONE_MORE_DEVICE].pp) == (5, 1)
    staged = {v.change: v.sizing.plan.layout for v in variations(_plan(pp=3), LOAD, CATALOG)}
    assert staged[Change.ONE_MORE_DEVICE].devices == 4
    assert Change.ONE_MORE_DEVICE not in {v.change for v in variations(_plan(tp=2, pp=2), LOAD, CATALOG)}

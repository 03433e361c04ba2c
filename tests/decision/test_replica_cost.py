"""Cost of one replica: rent or write-off, per hour and per million tokens."""

from __future__ import annotations

import pytest

from advisor.catalog import load_catalog
from advisor.decision.replica_cost import replica_cost
from advisor.sizing.plan import Layout, Load, Offload, Plan, Sizing
from advisor.sizing.sensitivity import Change, variations
from advisor.sizing.size import size

CATALOG = load_catalog()
LOAD = Load(1024, 512, 4096, 8)


def sized(device: str, fmt: str = "bf16", engine: str = "vllm", backend: str = "cuda", **layout: int) -> Sizing:
    variant = CATALOG.variant("deepseek-r1-distill-qwen-7b")
    plan = Plan(
        variant, CATALOG.format(fmt), CATALOG.engine(engine), backend, CATALOG.device(device), Layout(**layout)
    )
    return size(plan, LOAD, CATALOG)


def test_rent_of_all_devices_over_the_tokens_of_an_hour() -> None:
    found = sized("h100-sxm", tp=2)
    cost = replica_cost(found, CATALOG)
    rent = CATALOG.price_range("h100-sxm", "cloud_hourly")
    assert cost is not None
    assert rent is not None
    assert cost.rented
    assert cost.hourly_usd.value == pytest.approx(2 * rent.median)
    per_hour = found.output_tok_s.value * 3600
    assert cost.per_million_tokens_usd.value == pytest.approx(cost.hourly_usd.value / per_hour * 1e6)
    assert cost.per_million_tokens_usd.low < cost.per_million_tokens_usd.value < cost.per_million_tokens_usd.high


def test_what_cannot_be_rented_is_written_off() -> None:
    bought = [
        d.id
        for d in CATALOG.devices.values()
        if CATALOG.price_range(d.id, "purchase") and not CATALOG.price_range(d.id, "cloud_hourly") and not d.reference
    ]
    device = next(name for name in bought if name.startswith("rtx-"))
    price = CATALOG.price_range(device, "purchase")
    cost = replica_cost(sized(device), CATALOG)
    assert cost is not None
    assert price is not None
    assert not cost.rented
    assert cost.hourly_usd.value == pytest.approx(price.median * 1.4 * (1 / 4 + 0.05) / 8760)


def test_no_price_no_cost() -> None:
    host = next(h for h in CATALOG.hosts.values() if h.memory_bytes and h.cpu_device_id is None)
    variant = CATALOG.variant("deepseek-r1-distill-qwen-7b")
    layout = Layout(offload=Offload.CPU_ONLY)
    plan = Plan(variant, CATALOG.format("gguf-q4_k_m"), CATALOG.engine("llama.cpp"), "cpu", None, layout, host=host)
    assert replica_cost(size(plan, LOAD, CATALOG), CATALOG) is None


def test_twice_the_devices_cost_twice_and_twice_the_sequences_nothing() -> None:
    base = replica_cost(sized("h100-sxm", tp=2), CATALOG)
    plan = sized("h100-sxm", tp=2).plan
    found = {v.change: replica_cost(v.sizing, CATALOG) for v in variations(plan, LOAD, CATALOG)}
    twice, same = found[Change.TWICE_DEVICES], found[Change.TWICE_SEQUENCES]
    assert base is not None
    assert twice is not None
    assert same is not None
    assert twice.hourly_usd.value == pytest.approx(2 * base.hourly_usd.value)
    assert same.hourly_usd.value == base.hourly_usd.value
    assert same.per_million_tokens_usd.value < base.per_million_tokens_usd.value

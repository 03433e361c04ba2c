"""A small recommendation written by hand: every part of the record once, with round numbers."""

from __future__ import annotations

from dataclasses import replace

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis, Quantity
from advisor.decision.result import (
    Candidate,
    Constraint,
    Counts,
    Leaf,
    Mix,
    MixKind,
    Money,
    NearMiss,
    Picks,
    Pool,
    Reason,
    Recommendation,
    Rejection,
    TreeStep,
)
from advisor.decision.scenario import Axis, Scenario, Text
from advisor.sizing.plan import Binding, DeviceFootprint, Layout, Load, Plan, Sizing

__all__ = ["example_answer", "nothing_answer"]

GIB = 2**30
SCENARIO = Scenario(
    id="example",
    name=Text("Example <b>need</b>", "示例 <b>需求</b>"),
    description=Text("Twenty people ask short questions.", "二十个人提出简短的问题。"),
    users=20,
    ttft_ms=1500,
    e2e_ms=20_000,
    budget_monthly_usd=4000,
)
LOAD = Load(1024, 256, 4096, 4)


def example_answer() -> Recommendation:
    first = _candidate("deepseek-r1-distill-qwen-7b", "l4", 0.81, 14.0, 620.0, 9000.0)
    second = _candidate("deepseek-r1-distill-qwen-14b", "l40s", 0.74, 27.5, 1460.0, 7000.0)
    rejected = Rejection(
        first.plan,
        LOAD,
        Constraint.MONTHLY,
        Reason(
            "flip_at_most", {"field": "budget_monthly_usd", "value": 4000, "branch_en": "less", "branch_zh": "更少"}
        ),
        (),
    )
    return Recommendation(
        scenario=SCENARIO,
        path=(
            TreeStep(
                "processor",
                Text("Must the model run on processors alone?", "是否只能用处理器运行？"),
                {"is_cpu_only": False},
                Text("No", "否"),
                (),
            ),
        ),
        leaf=Leaf(
            "enterprise",
            Text("Enterprise balance", "企业均衡"),
            Text("Distilled models give most of the quality.", "蒸馏模型给出大部分质量。"),
            ("DeepSeek R1 distill",),
            ("16bit",),
            {Axis.QUALITY: 0.5, Axis.COST: 0.5},
        ),
        candidates=(first, second),
        picks=Picks(first, first, second, first),
        rejected=(rejected,),
        nearest_misses=(NearMiss(rejected, rejected.reason, 1.2),),
        mixes=(Mix(MixKind.TIERS, (Pool("easy", 0.7, first), Pool("hard", 0.3, second)), None, _q(2080.0), None, ()),),
        counts=Counts(1234, 200, 2, 2, {Constraint.MONTHLY: 7}),
        unrated_variants=(),
        catalog_date="2026-11-01",
        version="0.0.0",
    )


def nothing_answer() -> Recommendation:
    return replace(example_answer(), candidates=(), picks=Picks(), mixes=())


def _q(value: float, basis: Basis = Basis.ESTIMATED) -> Quantity:
    return Quantity(value, 0.8 * value, 1.25 * value, basis, "hand-written example")


def _candidate(variant: str, device: str, score: float, weights_gib: float, monthly: float, e2e_ms: float) -> Candidate:
    catalog = load_catalog()
    # Names and versions are pinned, so that the kept reports do not change with the catalogue.
    plan = Plan(
        variant=replace(catalog.variant(variant), name=variant.removeprefix("deepseek-")),
        format=replace(catalog.format("bf16"), name="bf16"),
        engine=replace(catalog.engine("vllm"), name="vLLM", version="1.0"),
        backend="cuda",
        device=replace(catalog.device(device), name=device.upper()),
        layout=Layout(),
    )
    footprint = DeviceFootprint(0, int(weights_gib * GIB), 2 * GIB, GIB // 2, GIB, 46 * GIB)
    sizing = Sizing(
        plan=plan,
        load=LOAD,
        fits=True,
        binding=Binding.BANDWIDTH,
        shortfall_bytes=0,
        per_device=footprint,
        host=None,
        kv_bytes_per_token=57_344.0,
        max_concurrency=64,
        max_context_tokens=131_072,
        prefill_tok_s=_q(4000.0),
        decode_tok_s=_q(40.0),
        output_tok_s=_q(160.0),
        ttft_ms=_q(256.0),
        tpot_ms=_q(25.0),
        shares={
            Binding.BANDWIDTH: 0.7,
            Binding.COMPUTE: 0.1,
            Binding.HOST: 0.2,
            Binding.LINK: 0.0,
            Binding.CAPACITY: 0.0,
        },
    )
    return Candidate(
        plan=plan,
        load=LOAD,
        sizing=sizing,
        replicas=1,
        quality=_q(62.0),
        ttft_ms=_q(400.0),
        tpot_ms=_q(26.0),
        e2e_ms=_q(e2e_ms),
        utilisation=0.45,
        fleet_output_tok_s=_q(160.0),
        money=Money(_q(20_000.0), _q(monthly), _q(monthly), _q(40.0), _q(1.5), "2026-01-01", "2026-10-01"),
        monthly_usd=_q(monthly),
        power_w=_q(150.0, Basis.EXTRAPOLATED),
        carbon_kg_month=_q(30.0),
        score=score,
        axis_scores={Axis.QUALITY: 0.6, Axis.COST: 0.9},
        on_pareto_front=True,
        in_leaf=True,
        reasons=(),
    )

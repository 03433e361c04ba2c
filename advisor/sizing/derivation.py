"""Where a number of bytes comes from: the formula, the values put in, and the source of each.

Texts live in data/i18n/*/sizing.yaml under `derivation`; a step is a text key with the values that fill it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.catalog.formats import TensorRole
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.cache import MlaCache, cache_bytes, cache_rule
from advisor.sizing.footprint import Footprint, footprint
from advisor.sizing.layout import kv_share, stage_layers, weight_shares
from advisor.sizing.memory import load_memory_model, workspace_kind
from advisor.sizing.plan import Load, Plan
from advisor.sizing.weights import weights
from advisor.sizing.workspace import workspace_terms

__all__ = ["Derivation", "Step", "Value", "derive"]

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Step:
    """One line: a text key below `sizing.derivation` and its values."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Derivation:
    """A number unfolded. `key`: file | device_weights | kv_token | kv_sequence | workspace | usable | fits.

    Those of speed (`advisor.sizing.derivation_speed`): rates | decode | prefill | ttft | output.
    """

    key: str
    value: float
    steps: tuple[Step, ...]
    source: str
    unit: str = "bytes"


def derive(plan: Plan, load: Load) -> tuple[Derivation, ...]:
    """All numbers of bytes of a plan under a load, in the order in which they build on each other."""
    sized = footprint(plan, load)
    return (
        _file(plan),
        _device_weights(plan, sized),
        _kv_token(plan),
        _kv_sequence(plan, load),
        _workspace(plan, load, sized),
        _usable(plan, sized),
        _fits(sized, load),
    )


def _file(plan: Plan) -> Derivation:
    w = weights(plan.variant.architecture, plan.format)
    params: dict[TensorRole, int] = {}
    for row in w.tensors:
        params[row.tensor.role] = params.get(row.tensor.role, 0) + row.tensor.params
    ordered = sorted(w.by_role.items(), key=lambda item: -item[1])
    steps = [
        _step("role", role=str(role), params=params[role], bits=8 * size / max(params[role], 1), bytes=size)
        for role, size in ordered
    ]
    steps.append(_step("sum", params=w.total_params, bytes=w.total_bytes, bits=w.bits_per_weight))
    return Derivation("file", w.total_bytes, tuple(steps), _sources(plan.format.source, plan.variant.source))


def _device_weights(plan: Plan, sized: Footprint) -> Derivation:
    s = weight_shares(plan.variant.architecture, plan.format)
    lay = plan.layout
    split = float(
        s.attention_split + s.attention_kv + s.dense_ffn + s.shared + s.experts + s.embedding + s.head + s.other
    )
    whole = float(s.attention_replicated + s.router + s.other_replicated)
    steps = (
        _step("split", bytes=split, tp=lay.tp, pp=lay.pp, dp=lay.dp_attention),
        _step("replicated", bytes=whole),
        _step("equals", bytes=sized.device.weights_bytes),
    )
    return Derivation("device_weights", sized.device.weights_bytes, steps, "advisor/sizing/layout.py")


def _kv_token(plan: Plan) -> Derivation:
    a = plan.variant.architecture
    rule = cache_rule(a, plan.kv_format, mla=_mla(plan))
    token = float(rule.token_bytes)
    window = float(rule.window_token_bytes)
    steps = [_kv_formula(a, plan, token)]
    if window:
        steps.append(_step("kv_window", bytes=window, tokens=float(rule.window_tokens)))
    if float(rule.fixed_bytes):
        steps.append(_step("kv_fixed", bytes=float(rule.fixed_bytes)))
    return Derivation("kv_token", token, tuple(steps), _CACHE_SOURCES[a.attention])


def _kv_formula(a: Architecture, plan: Plan, token: float) -> Step:
    element = token
    if a.attention is AttentionKind.GQA:
        layers = a.num_layers if a.n_global_layers is None else a.n_global_layers
        heads, width = a.global_n_kv_heads or a.n_kv_heads, a.global_head_dim or a.head_dim
        element = token / max(2 * layers * heads * width, 1)
        return _step("kv_gqa", layers=layers, heads=heads, width=width, element=element, bytes=token)
    if a.attention is AttentionKind.MLA and not plan.engine.expands_mla:
        latent, rope = a.kv_lora_rank or 0, a.qk_rope_head_dim or 0
        element = token / (a.num_layers * (latent + rope))
        return _step("kv_mla", layers=a.num_layers, latent=latent, rope=rope, element=element, bytes=token)
    if plan.engine.expands_mla:
        return _step("kv_expanded", layers=a.num_layers, heads=a.n_heads, bytes=token)
    return _step("kv_compressed", layers=a.num_layers, format=plan.kv_format, bytes=token)


def _kv_sequence(plan: Plan, load: Load) -> Derivation:
    a, lay = plan.variant.architecture, plan.layout
    rule = cache_rule(a, plan.kv_format, mla=_mla(plan))
    block = plan.engine.paged_block_tokens
    whole = float(cache_bytes(rule, load.context_tokens, block_tokens=block))
    share = float(kv_share(rule.shards, lay.tp / lay.dp_attention))
    share *= float(stage_layers(a.num_layers, lay.pp)) / a.num_layers
    steps = (
        _step("kv_context", tokens=load.context_tokens, block=block, bytes=whole),
        _step("kv_share", shards=float(rule.shards), tp=lay.tp, dp=lay.dp_attention, share=share, bytes=whole * share),
    )
    return Derivation("kv_sequence", whole * share, steps, "advisor/sizing/cache.py")


def _workspace(plan: Plan, load: Load, sized: Footprint) -> Derivation:
    kind = workspace_kind(plan.engine.id)
    model = load_memory_model()
    defaults = model.defaults[kind]
    fit = model.coefficients_of(kind)
    d = sized.device
    terms = workspace_terms(plan, load)
    steps = (
        *(_step("term", name=name, per=c, amount=x, bytes=c * x) for name, (c, x) in terms.items() if c * x >= 1),
        _step("activation", kind=kind, tokens=defaults["batched_tokens"], bytes=d.activation_bytes),
        _step("fit", rows=fit.rows, low=fit.low, high=fit.high),
        _step("overhead", bytes=d.overhead_bytes),
    )
    source = f"{defaults['source']}; data/calibration_memory.yaml"
    return Derivation("workspace", d.activation_bytes + d.overhead_bytes, steps, source)


def _usable(plan: Plan, sized: Footprint) -> Derivation:
    if plan.device is None:
        ram = plan.host.memory_bytes if plan.host and plan.host.memory_bytes else 0
        steps = (_step("ram", bytes=ram, usable=sized.device.usable_bytes),)
        return Derivation("usable", sized.device.usable_bytes, steps, "data/memory_models.yaml")
    label, visible = plan.device.memory_bytes, plan.device.usable_memory_bytes or plan.device.memory_bytes
    share = plan.engine.memory_fraction
    steps = (_step("visible", label=label, visible=visible, share=share, usable=sized.device.usable_bytes),)
    return Derivation("usable", sized.device.usable_bytes, steps, _sources(plan.device.source, plan.engine.source))


def _fits(sized: Footprint, load: Load) -> Derivation:
    d = sized.device
    key = "enough" if sized.fits else "short"
    steps = (
        _step("total", n=load.concurrency, bytes=d.total_bytes, usable=d.usable_bytes),
        _step(key, bytes=sized.shortfall_bytes if not sized.fits else d.free_bytes),
    )
    return Derivation("fits", d.total_bytes, steps, "advisor/sizing/footprint.py")


_CACHE_SOURCES = {
    AttentionKind.GQA: "2·L·n_kv·d·bytes",
    AttentionKind.MLA: "DeepSeek-V2, arXiv 2405.04434 §2.1.2",
    AttentionKind.MLA_DSA: "DeepSeek-V3.2; FlashMLA fp8 entry",
    AttentionKind.CSA_HCA: "DeepSeek-V4 model card",
    AttentionKind.CSA_SHARED: "DeepSeek-V4.1 model card",
}


def _mla(plan: Plan) -> MlaCache:
    return MlaCache.EXPANDED if plan.engine.expands_mla else MlaCache.LATENT


def _step(key: str, **values: Value) -> Step:
    return Step(key, FrozenDict(values))


def _sources(*groups: tuple[str, ...]) -> str:
    return "; ".join(text for group in groups for text in group[:2])

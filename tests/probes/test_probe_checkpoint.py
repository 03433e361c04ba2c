"""A local checkpoint gives the logits of an independent plain decoder, written here from the papers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog.errors import DataError, UnsupportedError
from advisor.catalog.records import Architecture, AttentionKind
from probes.spec import ProbeSpec

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from probes.engines.checkpoint_engine import CheckpointEngine  # noqa: E402
from probes.engines.factory import make_engine  # noqa: E402

pytestmark = pytest.mark.probe

SMALL = Architecture(
    attention=AttentionKind.GQA,
    hidden_size=128,
    num_layers=3,
    n_heads=4,
    n_kv_heads=2,
    head_dim=32,
    vocab_size=256,
    intermediate_size=256,
)
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
CASES = {
    "qwen2": (replace(SMALL, qkv_bias=True), {"rope_theta": 1e6, "rms_norm_eps": 1e-6}),
    "qwen3-tied": (replace(SMALL, qk_norm=True, tie_word_embeddings=True), {"rope_theta": 1e6, "rms_norm_eps": 1e-6}),
    "llama3": (SMALL, {"rope_theta": 5e5, "rms_norm_eps": 1e-5, "rope_scaling": LLAMA3}),
    "yarn": (SMALL, {"rope_theta": 1e6, "rms_norm_eps": 1e-6, "rope_scaling": YARN, "max_position_embeddings": 256}),
}
TOKENS = 20


def weights_of(a: Architecture) -> dict[str, torch.Tensor]:
    """Random, by Hugging Face's names."""
    g = torch.Generator().manual_seed(7)

    def values(*shape: int, spread: float = 0.08) -> torch.Tensor:
        return torch.randn(shape, generator=g) * spread

    found = {"model.embed_tokens.weight": values(a.vocab_size, a.hidden_size, spread=1.0)}
    found["model.norm.weight"] = 1 + values(a.hidden_size)
    if not a.tie_word_embeddings:
        found["lm_head.weight"] = values(a.vocab_size, a.hidden_size)
    for i in range(a.num_layers):
        at = f"model.layers.{i}."
        for name, rows in (("q", a.n_heads), ("k", a.n_kv_heads), ("v", a.n_kv_heads)):
            found[f"{at}self_attn.{name}_proj.weight"] = values(rows * a.head_dim, a.hidden_size)
            if a.qkv_bias:
                found[f"{at}self_attn.{name}_proj.bias"] = values(rows * a.head_dim)
        found[f"{at}self_attn.o_proj.weight"] = values(a.hidden_size, a.n_heads * a.head_dim)
        if a.qk_norm:
            found |= {f"{at}self_attn.{n}_norm.weight": 1 + values(a.head_dim) for n in "qk"}
        for name, shape in (("gate", (1, 0)), ("up", (1, 0)), ("down", (0, 1))):
            sides = (a.hidden_size, a.intermediate_size or 0)
            found[f"{at}mlp.{name}_proj.weight"] = values(*(sides[s] for s in shape))
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}{name}.weight"] = 1 + values(a.hidden_size)
    return found


def frequencies(dimension: int, config: dict) -> tuple[torch.Tensor, float]:
    """Element by element, from the published formulas."""
    base, scaling = config["rope_theta"], config.get("rope_scaling") or {}
    out, kind = [], scaling.get("rope_type", "default")
    for i in range(dimension // 2):
        f = base ** (-2 * i / dimension)
        if kind == "llama3":
            wave, trained = 2 * math.pi / f, scaling["original_max_position_embeddings"]
            if wave > trained / scaling["low_freq_factor"]:
                f = f / scaling["factor"]
            elif wave > trained / scaling["high_freq_factor"]:
                low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
                smooth = (trained / wave - low) / (high - low)
                f = (1 - smooth) * f / scaling["factor"] + smooth * f
        if kind == "yarn":
            trained = scaling["original_max_position_embeddings"]
            ends = [dimension * math.log(trained / (n * 2 * math.pi)) / (2 * math.log(base)) for n in (32, 1)]
            low, high = max(math.floor(ends[0]), 0), min(math.ceil(ends[1]), dimension - 1)
            ramp = min(1.0, max(0.0, (i - low) / (high - low)))
            f = f / scaling["factor"] * ramp + f * (1 - ramp)
        out.append(f)
    return torch.tensor(out), 0.1 * math.log(scaling["factor"]) + 1 if kind == "yarn" else 1.0


def reference_logits(a: Architecture, w: dict[str, torch.Tensor], config: dict, ids: torch.Tensor) -> torch.Tensor:
    """Logits of every position, (tokens, vocabulary), without cache or fused matrices."""
    inverse, factor = frequencies(a.head_dim, config)
    angle = torch.arange(len(ids), dtype=torch.float32)[:, None] * inverse
    cosine, sine = angle.cos() * factor, angle.sin() * factor

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).sqrt() * weight

    def turn(x: torch.Tensor) -> torch.Tensor:
        one, two = x[..., : a.head_dim // 2], x[..., a.head_dim // 2 :]
        c, s = cosine[:, None], sine[:, None]
        return torch.cat((one * c - two * s, two * c + one * s), dim=-1)

    x = w["model.embed_tokens.weight"][ids]
    hidden = torch.ones(len(ids), len(ids)).triu(1).bool()
    for i in range(a.num_layers):
        at = f"model.layers.{i}."
        y = norm(x, w[f"{at}input_layernorm.weight"])
        q, k, v = (
            (y @ w[f"{at}self_attn.{n}_proj.weight"].T + w.get(f"{at}self_attn.{n}_proj.bias", torch.zeros(()))).view(
                len(ids), -1, a.head_dim
            )
            for n in "qkv"
        )
        if a.qk_norm:
            q, k = norm(q, w[f"{at}self_attn.q_norm.weight"]), norm(k, w[f"{at}self_attn.k_norm.weight"])
        q, k = turn(q), turn(k)
        heads = []
        for h in range(a.n_heads):
            shared = h // (a.n_heads // a.n_kv_heads)
            scores = (q[:, h] @ k[:, shared].T / math.sqrt(a.head_dim)).masked_fill(hidden, float("-inf"))
            heads.append(scores.softmax(-1) @ v[:, shared])
        x = x + torch.cat(heads, dim=-1) @ w[f"{at}self_attn.o_proj.weight"].T
        y = norm(x, w[f"{at}post_attention_layernorm.weight"])
        gate, up = y @ w[f"{at}mlp.gate_proj.weight"].T, y @ w[f"{at}mlp.up_proj.weight"].T
        x = x + (gate * gate.sigmoid() * up) @ w[f"{at}mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, w["model.norm.weight"]) @ head.T


def write(folder: Path, w: dict[str, torch.Tensor], config: dict, *, shards: int = 1) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    names, listed = list(w), {}
    for n in range(shards):
        file = "model.safetensors" if shards == 1 else f"model-{n + 1:05}-of-{shards:05}.safetensors"
        part = {name: w[name].contiguous() for name in names[n::shards]}
        safetensors_torch.save_file(part, folder / file)
        listed |= dict.fromkeys(part, file)
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    return folder


def engine_of(folder: Path, a: Architecture, format_id: str = "fp32") -> CheckpointEngine:
    spec = ProbeSpec("tiny", format_id, a, prompt_tokens=(TOKENS,), checkpoint=str(folder))
    engine = make_engine(spec, slots=1, tokens=64)
    engine.load()
    assert isinstance(engine, CheckpointEngine)
    return engine


def logits_of(engine: CheckpointEngine, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(after a prompt of all but the last token, after decoding the last one)."""
    with torch.inference_mode():
        first = engine.decoder.prefill(ids[:-1], 0).clone()
        second = engine.decoder.decode(ids[-1:], engine.decoder.positions({0: len(ids) - 1}))[0]
    return first, second


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("case", list(CASES))
def test_logits_are_those_of_a_plain_decoder(tmp_path, case, shards):
    a, config = CASES[case]
    w, ids = weights_of(a), torch.arange(TOKENS) * 7 % a.vocab_size
    engine = engine_of(write(tmp_path, w, config, shards=shards), a)
    wanted = reference_logits(a, w, config, ids)
    for found, row in zip(logits_of(engine, ids), (-2, -1), strict=True):
        torch.testing.assert_close(found, wanted[row], rtol=2e-4, atol=2e-4)


NEAR = [("bf16", 0.9995), ("int8-w8a16", 0.999), ("int8-w8a8", 0.998), ("w4a16-g128", 0.97)]


@pytest.mark.parametrize(("format_id", "least"), NEAR)
def test_quantised_on_load_stays_near(tmp_path, format_id, least):
    """Cosine with the exact logits: each format as near as its bits allow."""
    a, config = CASES["qwen2"]
    w, ids = weights_of(a), torch.arange(TOKENS) * 7 % a.vocab_size
    engine = engine_of(write(tmp_path, w, config), a, format_id)
    wanted = reference_logits(a, w, config, ids)
    for found, row in zip(logits_of(engine, ids), (-2, -1), strict=True):
        assert torch.cosine_similarity(found.float(), wanted[row], dim=0) > least


def test_another_model_is_named_by_tensor_and_shape(tmp_path):
    a, config = CASES["qwen2"]
    folder = write(tmp_path, weights_of(a), config)
    with pytest.raises(DataError, match=r"embed_tokens.*shape.*\(512, 128\)"):
        engine_of(folder, replace(a, vocab_size=512))
    with pytest.raises(UnsupportedError, match="no bias"):
        engine_of(folder, replace(a, qkv_bias=False))
    with pytest.raises(DataError, match=r"model.layers.3.self_attn.q_proj.weight"):
        engine_of(folder, replace(a, num_layers=4))


@pytest.mark.parametrize("damage", ["no config", "no tensors", "cut off", "elsewhere"])
def test_damaged_folders_are_explained(tmp_path, damage):
    a, config = CASES["qwen2"]
    folder = write(tmp_path, weights_of(a), config)
    file = folder / "model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "no tensors":
        file.unlink()
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-1000])
    else:
        text = json.dumps({"weight_map": {"model.norm.weight": "../model.safetensors"}})
        (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(DataError):
        engine_of(folder, a)

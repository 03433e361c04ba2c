"""V4's attention in the torch engine: decoding continues what a prompt began, and bytes are the catalogue's."""

from __future__ import annotations

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.model_records import Compression, HyperConnections, Indexer
from advisor.catalog.records import Architecture, AttentionKind
from probes.layers import LayerCount, layer_count, layer_numbers, slices_of
from probes.need import need_of
from probes.spec import ProbeSpec

torch = pytest.importorskip("torch")

from probes.engines.torch_engine import TorchEngine  # noqa: E402

pytestmark = pytest.mark.probe

RATIOS = (0, 4, 8, 4)
TINY_V4 = Architecture(
    attention=AttentionKind.CSA_HCA,
    hidden_size=128,
    num_layers=4,
    n_heads=4,
    n_kv_heads=1,
    head_dim=64,
    vocab_size=512,
    moe_intermediate_size=64,
    n_routed_experts=2,
    n_shared_experts=1,
    experts_per_tok=2,
    q_lora_rank=64,
    o_lora_rank=32,
    o_groups=2,
    qk_rope_head_dim=32,
    sliding_window=8,
    indexer=Indexer(n_heads=16, head_dim=32, top_k=4),
    compression=Compression(ratios=RATIOS),
    hyper_connections=HyperConnections(mult=2, sinkhorn_iters=3),
)


def engine_of(slots: int = 1) -> TorchEngine:
    spec = ProbeSpec("tiny-v4", "fp32", TINY_V4, prompt_tokens=(48,), output_tokens=16)
    engine = TorchEngine(spec, slots=slots, tokens=64, layers=layer_count(TINY_V4))
    engine.load()
    return engine


@pytest.mark.parametrize("tokens", [3, 8, 20, 41])
def test_decoding_continues_what_the_prompt_began(tokens):
    """Window, overlapping entries, index and best entries: all from the caches of the prompt.

    Many index heads: with few, scores of exactly zero tie at the cut.
    """
    engine, steps = engine_of(), 5
    ids = torch.arange(tokens + steps) * 37 % TINY_V4.vocab_size
    with torch.inference_mode():
        whole = engine.decoder.prefill(ids, 0).clone()
        engine.decoder.prefill(ids[:tokens], 0)
        for n in range(tokens, tokens + steps):
            last = engine.decoder.decode(ids[n : n + 1], engine.decoder.positions({0: n}))[0]
    torch.testing.assert_close(last, whole, rtol=1e-3, atol=1e-3)


def test_sequences_of_different_lengths_do_not_mix():
    engine = engine_of(slots=2)
    ids = torch.arange(64) * 37 % TINY_V4.vocab_size
    with torch.inference_mode():
        alone = engine.decoder.prefill(ids[:31], 1).clone()
        engine.decoder.prefill(ids[:13], 0)
        engine.decoder.prefill(ids[:30], 1)
        both = engine.decoder.decode(ids[[13, 30]], engine.decoder.positions({0: 13, 1: 30}))
    torch.testing.assert_close(both[1], alone, rtol=1e-3, atol=1e-3)


def test_weights_take_the_bytes_of_the_catalogue():
    """To within the small vectors that only the published file has (the merging head, the router's bias)."""
    need = need_of(ProbeSpec("tiny-v4", "fp32", TINY_V4))
    assert engine_of().tensor_bytes == pytest.approx(need.tensor_bytes, rel=0.01)


def test_a_slice_takes_layers_of_both_ratios():
    a = load_catalog().variant("deepseek-v4-flash").architecture
    assert slices_of(a, (1, 2, 4)) == (LayerCount(0, 2), LayerCount(0, 4))
    ratios = [a.compression.ratios[n] for n in layer_numbers(a, LayerCount(0, 4))]
    assert ratios == [4, 128, 4, 128]
    assert layer_numbers(a, layer_count(a)) == list(range(a.num_layers))

"""The torch engine with the weights of a local checkpoint; 8- and 4-bit formats are quantised on load, one by one.

Dense architectures with grouped queries (Llama, Qwen2, Qwen3 and their distillations). For probe processes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture, AttentionKind
from probes.engines.attention import GqaAttention
from probes.engines.checkpoint import Checkpoint
from probes.engines.checkpoint_rope import ScaledRope
from probes.engines.decoder import Decoder, Layer
from probes.engines.linear import FloatLinear, Linear
from probes.engines.norm import Norm
from probes.engines.quantised import Int4Linear, Int8Linear
from probes.engines.random_weights import RandomPool
from probes.engines.torch_engine import TorchEngine
from probes.layers import layer_count

__all__ = ["CheckpointEngine"]

DEFAULT_EPSILON = 1e-6


class CheckpointEngine(TorchEngine):
    """Raises UnsupportedError for other architectures, DataError for a checkpoint of another model."""

    def load(self) -> None:
        _check(self._a)
        if self._layers != layer_count(self._a):
            raise UnsupportedError("a slice has random weights: leave the checkpoint out")
        checkpoint = Checkpoint(Path(self._spec.checkpoint or ""))
        pool = _EmptyPool(self._device, self._formats.activation)
        self._decoder = Decoder(
            self._a, self._formats, self._layers, None, pool, self.tuner, slots=self._slots, tokens=self._tokens
        )
        _Filler(self._decoder, self._a, checkpoint).fill(self._tokens)
        checkpoint.close()
        self._synchronise()


class _EmptyPool(RandomPool):
    """Room for tensors that the checkpoint fills."""

    def __init__(self, device: torch.device, activation: object) -> None:
        self.device, self.activation = device, activation  # type: ignore[assignment]

    def floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def integers(self, rows: int, columns: int) -> Tensor:
        return torch.empty((rows, columns), dtype=torch.int8, device=self.device)


class _Filler:
    """Names and shapes as in Hugging Face's Llama and Qwen files."""

    def __init__(self, decoder: Decoder, a: Architecture, checkpoint: Checkpoint) -> None:
        self._decoder, self._a, self._files = decoder, a, checkpoint
        self._epsilon = float(checkpoint.config.get("rms_norm_eps") or DEFAULT_EPSILON)

    def fill(self, tokens: int) -> None:
        a, decoder = self._a, self._decoder
        decoder.embedding.copy_(self._files.tensor("model.embed_tokens.weight", (a.vocab_size, a.hidden_size)))
        if not a.tie_word_embeddings:
            _store(decoder.head, self._files.tensor("lm_head.weight", (a.vocab_size, a.hidden_size)))
        self._norm(decoder.norm, "model.norm.weight")
        for number, layer in enumerate(decoder.layers):
            self._layer(layer, f"model.layers.{number}.")
        attention = decoder.layers[0].attention
        type_and_place = decoder.embedding.dtype, decoder.embedding.device
        decoder.rope = ScaledRope(tokens, attention.rotary_dimension, self._files.config, *type_and_place)
        decoder.join()

    def _layer(self, layer: Layer, start: str) -> None:
        a, attention = self._a, layer.attention
        assert isinstance(attention, GqaAttention)  # as `_check` saw to
        (qkv, out), (up, down) = attention.linears, layer.feed_forward.linears
        heads = [("q", a.n_heads), ("k", a.n_kv_heads), ("v", a.n_kv_heads)]
        sizes = [(f"{start}self_attn.{name}_proj", count * a.head_dim) for name, count in heads]
        self._matrix(qkv, sizes, a.hidden_size)
        self._matrix(out, [(f"{start}self_attn.o_proj", a.hidden_size)], a.n_heads * a.head_dim)
        width = a.intermediate_size or 0
        self._matrix(up, [(f"{start}mlp.{name}_proj", width) for name in ("gate", "up")], a.hidden_size)
        self._matrix(down, [(f"{start}mlp.down_proj", a.hidden_size)], width)
        names = ("input_layernorm.weight", "post_attention_layernorm.weight")
        for norm, name in zip(layer.norms, names, strict=True):
            self._norm(norm, start + name)
        for norm, name in zip(attention.norms, ("q_norm", "k_norm"), strict=False):
            self._norm(norm, f"{start}self_attn.{name}.weight")

    def _matrix(self, linear: Linear, parts: Sequence[tuple[str, int]], inputs: int) -> None:
        """Parts lie one under the other in the fused matrix."""
        weights = [self._files.tensor(f"{name}.weight", (rows, inputs)) for name, rows in parts]
        _store(linear, torch.cat(weights) if len(weights) > 1 else weights[0])
        if linear.bias is not None:
            linear.bias.copy_(torch.cat([self._files.tensor(f"{name}.bias", (rows,)) for name, rows in parts]))
        elif f"{parts[0][0]}.bias" in self._files:
            raise UnsupportedError(f"the architecture has no bias for {parts[0][0]}, the checkpoint has one")

    def _norm(self, norm: Norm, name: str) -> None:
        norm.weight.copy_(self._files.tensor(name, (norm.width,)))
        norm.epsilon = self._epsilon


def _check(a: Architecture) -> None:
    if a.attention is not AttentionKind.GQA or a.is_moe or a.mlp_matrices != 3:
        raise UnsupportedError("checkpoints are read for dense models with grouped queries; leave the checkpoint out")


def _store(linear: Linear, weight: Tensor) -> None:
    """The matrix in the format of `linear`; weight (outputs, inputs)."""
    if isinstance(linear, FloatLinear):
        linear.weight.copy_(weight)
    elif isinstance(linear, Int8Linear):
        _store_int8(linear, weight.float())
    elif isinstance(linear, Int4Linear):
        _store_int4(linear, weight.float())
    else:
        raise UnsupportedError("checkpoints are not converted to FP8: use bf16, int8 or int4")


def _store_int8(linear: Int8Linear, weight: Tensor) -> None:
    """One scale per output, largest value to 127."""
    values, scale = linear.stored
    found = weight.abs().amax(dim=1).clamp_min(1e-8) / 127
    values.copy_((weight / found[:, None]).round_().to(torch.int8))
    scale.copy_(found)


def _store_int4(linear: Int4Linear, weight: Tensor) -> None:
    """Sixteen steps from the least to the largest of each group: value = (nibble - 8) x scale + zero."""
    packed, grid = linear.stored
    outputs, group = weight.shape[0], linear.group
    groups = weight.view(outputs, -1, group)
    low, high = groups.amin(dim=2), groups.amax(dim=2)
    scale = ((high - low).clamp_min(1e-8) / 15).to(torch.bfloat16)
    zero = (low + 8 * scale.float()).to(torch.bfloat16)
    steps = (groups - zero.float()[..., None]) / scale.float()[..., None]
    nibbles = (steps.round_() + 8).clamp_(0, 15).to(torch.uint8)
    if packed.is_cuda:
        flat = nibbles.view(outputs, -1).to(packed.device)
        packed.copy_(torch._convert_weight_to_int4pack(flat[:, ::2] << 4 | flat[:, 1::2], 8))
        grid.copy_(torch.stack((scale, zero), dim=2).transpose(0, 1))
        return
    packed.copy_(nibbles[..., : group // 2] | nibbles[..., group // 2 :] << 4)
    grid.copy_(torch.stack((scale, zero), dim=2))

"""The record of a tensor, and the parts that every family of models shares."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture

__all__ = ["Tensor", "moe_tensors", "need", "vector"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Equal matrices: `copies` of `rows` x `cols` (output x input) in each of `layers` (empty: outside the layers)."""

    name: str
    role: R
    rows: int
    cols: int
    layers: tuple[int, ...] = ()
    copies: int = 1
    active: int | None = None  # copies that one token uses; None: all

    @property
    def matrices(self) -> int:
        return self.copies * (len(self.layers) or 1)

    @property
    def params(self) -> int:
        return self.rows * self.cols * self.matrices

    @property
    def active_params(self) -> int:
        used = self.copies if self.active is None else self.active
        return self.rows * self.cols * used * (len(self.layers) or 1)


def moe_tensors(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    """Router, shared and routed experts of `layers`."""
    h, i, n = a.hidden_size, need(a.moe_intermediate_size, "moe_intermediate_size"), a.n_routed_experts
    out = [Tensor("ffn_gate_inp", R.ROUTER, n, h, layers)]
    if a.router_bias:
        out.append(vector("exp_probs_b", R.NORM, n, tuple(i for i in layers if i >= a.n_hash_layers)))
    out.append(Tensor("ffn_gate_up_exps", R.EXPERT_UP, i, h, layers, 2 * n, 2 * a.experts_per_tok))
    out.append(Tensor("ffn_down_exps", R.EXPERT_DOWN, h, i, layers, n, a.experts_per_tok))
    if a.mlp_bias:
        out.append(Tensor("ffn_exps_bias", R.NORM, 1, 2 * i + h, layers, n, a.experts_per_tok))
        out.append(vector("router_bias", R.NORM, n, layers))
    if a.n_shared_experts:
        wide = a.shared_intermediate_size or a.n_shared_experts * i
        out.append(Tensor("ffn_gate_up_shexp", R.SHARED_UP, wide, h, layers, 2))
        out.append(Tensor("ffn_down_shexp", R.SHARED_DOWN, h, wide, layers))
    if a.shared_expert_gate:
        out.append(vector("shexp_gate", R.NORM, h, layers))
    return out


def vector(name: str, role: R, size: int, layers: tuple[int, ...] = ()) -> Tensor:
    """Norms, biases and other vectors, all of one layer together."""
    return Tensor(name, role, 1, size, layers)


def need(value: int | None, name: str) -> int:
    """The value, or UnsupportedError that names the missing dimension."""
    if value is None:
        raise UnsupportedError(f"the architecture cannot be sized without '{name}'")
    return value

"""Every CPU kernel against float64, on odd shapes; torch runs in a child only."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.probe

HEAD = """
import torch
from probes.engines.linear import NEAR_BYTES, FloatLinear
from probes.engines.precision import Precision
from probes.engines.quantised import Int4Linear, Int8Linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner
torch.set_num_threads(2)
torch.manual_seed(1)
tuner = Tuner(lambda: None, lambda: None)
pool = RandomPool(torch.device("cpu"), Precision.BF16, 1)
def error(got, exact):
    return float((got.double() - exact).abs().max() / exact.abs().max())
def check(matrix, weight, dtype, rows):
    for count in rows:
        x = torch.randn(count, matrix.inputs).to(dtype)
        exact = x.double() @ weight.double().T + (0 if matrix.bias is None else matrix.bias.double())
        for name, kernel in matrix.candidates(count).items():
            print(type(matrix).__name__, name, count, error(kernel(matrix.stored, matrix.bias, dtype)(x), exact))
        for near in NEAR_BYTES if count == 1 else ():
            ahead = matrix.ahead(near)(matrix.stored, matrix.bias, dtype)
            print(type(matrix).__name__, f"near-{near}", count, error(ahead(x), exact))
"""
FLOATS = """
sixteen = torch.bfloat16, torch.float16
for dtype, shape in ((torch.float32, (70, 131)), (torch.float32, (300, 96)), (torch.float32, (3, 64)),
        (sixteen[0], (131, 70)), (sixteen[0], (128, 200)), (sixteen[0], (3, 64)),
        (sixteen[0], (300, 96)), (sixteen[1], (67, 96))):
    weight, bias = torch.randn(shape).to(dtype), torch.randn(shape[0]).to(dtype)
    for extra in (bias, None):
        matrix = FloatLinear(shape[1], shape[0], tuner, weight, extra)
        check(matrix, weight, dtype, (1, 2, 3, 5, 17, 40))
"""
INTEGERS = """
def random8(inputs, outputs, a8):
    matrix = Int8Linear(inputs, outputs, tuner, pool, torch.randn(outputs).bfloat16(), a8=a8)
    matrix.stored[1].copy_(torch.rand(outputs) * 0.02)
    return matrix, matrix.stored[0].double() * matrix.stored[1].double()[:, None]
for inputs, outputs in ((1100, 67), (1088, 67), (64, 3), (640, 128)):
  for a8 in (True, False):
    matrix, weight = random8(inputs, outputs, a8)
    check(matrix, weight, torch.bfloat16, (1, 3, 17, 40))
loud = Int8Linear(640, 128, tuner, pool, None, a8=True)  # sums that overflow where they are kept in 16 bits
loud.stored[0].fill_(127)
for name, kernel in loud.candidates(40).items():
    got = kernel(loud.stored, None, torch.bfloat16)(torch.ones(40, 640, dtype=torch.bfloat16))
    print("loud", name, 40, error(got, torch.full((40, 128), 640 * 127 * 0.02 / 64, dtype=torch.float64)))
for inputs in (384, 96):  # groups of 128, and of 32
    matrix = Int4Linear(inputs, 37, tuner, pool, None)
    packed, grid = matrix.stored
    grid.copy_(torch.randn(grid.shape) * 0.01)
    nibbles = torch.cat((packed & 15, packed >> 4), dim=2).double() - 8
    weight = (nibbles * grid[:, :, :1].double() + grid[:, :, 1:].double()).view(37, inputs)
    check(matrix, weight, torch.bfloat16, (1, 3, 17, 40))
"""
ATTENTION = """
from probes.engines import compiled
slots, lengths = torch.tensor([2, 0, 3]), torch.tensor([299, 5, 128])
for dtype in (torch.float32, torch.bfloat16):
    q, keys, values = (torch.randn(s).to(dtype) for s in ((3, 6, 40), (4, 2, 310, 40), (4, 2, 310, 40)))
    got = compiled.attend(q, keys, values, slots, lengths, 299)
    for row, (slot, end) in enumerate(zip(slots.tolist(), (lengths + 1).tolist())):
        k, v = (t[slot, :, :end].double().repeat_interleave(3, 0) for t in (keys, values))
        share = torch.softmax((k @ q[row].double()[:, :, None])[:, :, 0] / 40**0.5, -1)
        print("attend", dtype, end, error(got[row], (share[:, None] @ v)[:, 0]))
from advisor.catalog.records import Architecture, AttentionKind
from probes.engines.attention import GqaAttention, Positions, Rope
for qk_norm in (True, False):
    a = Architecture(attention=AttentionKind.GQA, hidden_size=64, num_layers=1, n_heads=6, n_kv_heads=2, head_dim=40,
        vocab_size=97, intermediate_size=96, qk_norm=qk_norm)
    layer = GqaAttention(a, Precision.FP32, RandomPool(torch.device("cpu"), Precision.FP32, 1), tuner, 4, 310)
    for cache in layer.caches:
        cache.normal_()
    mixed, mask = torch.randn(3, 10 * 40), torch.zeros(3, 1, 1, 300)
    mask[:, 0, 0] = torch.where(torch.arange(300)[None] > lengths[:, None], float("-inf"), 0.0)
    at = Positions(slots, lengths, 299, mask)
    rope = Rope(310, 40, torch.float32, torch.device("cpu")).rows(lengths)
    exact = layer._sdpa(layer._placed(mixed, at, rope), at).reshape(3, 6, 40).double()
    placed = [cache.clone() for cache in layer.caches]
    print("placed", qk_norm, 0, error(layer._compiled(mixed, at, rope), exact))
    print("caches", qk_norm, 0, max(error(c, p.double()) for c, p in zip(layer.caches, placed)))
x, weight = torch.randn(2, 3, 67).bfloat16(), torch.randn(67).bfloat16()
exact = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 1e-6) * weight.double()
print("normalise", 0, 0, error(compiled.normalise(x, weight, 1e-6), exact))
q, kv_b, latent = (torch.randn(s).bfloat16() for s in ((3, 4, 10), (4, 17, 33), (3, 4, 33)))
exact = torch.einsum("rhi,hid->rhd", q.double(), kv_b[:, :10].double())
print("absorb", 0, 0, error(compiled.absorb(q, kv_b[:, :10]), exact))
exact = torch.einsum("rhd,hid->rhi", latent.double(), kv_b[:, 10:].double())
print("leave", 0, 0, error(compiled.leave(latent, kv_b[:, 10:]), exact))
"""

NIBBLES = """
import numba, numpy as np
from probes.engines import numba_nibbles
packed = torch.randint(0, 256, (9, 3, 64), dtype=torch.uint8)
packed[0] = 255
grid = (torch.randn(9, 3, 2) * 0.01).bfloat16()
x = torch.randn(2, 384).bfloat16()
x[0, ::2] = 3  # with nibbles of 15 the largest sums there are
bits = lambda t: t.view(torch.int16).numpy().view(np.uint16)
q, scales, sums = numba_nibbles.quantise_groups(bits(x), 128)
weight = (torch.cat((packed & 15, packed >> 4), 2).double() - 8) * grid[:, :, :1].double() + grid[:, :, 1:].double()
exact = (torch.tensor(q).double().view(2, 3, 128) * torch.tensor(scales).double()[:, :, None]).view(2, -1)
exact = exact @ weight.view(9, -1).T
for vectors in (numba_nibbles.HAS_AVX2, False):
    numba_nibbles.HAS_AVX2, row = vectors, numba_nibbles._row
    multiply = numba.njit(lambda *arrays: row(*arrays))
    for r in (0, 1):
        got = [multiply(packed[i].numpy(), bits(grid[i]), q[r], scales[r], sums[r], 512) for i in range(9)]
        print("row", vectors, r, error(torch.tensor(got), exact[r]))
"""
WHOLE = """
from advisor.catalog.records import Architecture, AttentionKind
from probes.engines.decoder import Decoder
from probes.engines.precision import precision_of
from probes.layers import LayerCount, layer_count
for name in FORMATS:
    for qk_norm in (True, False):
        a = Architecture(attention=AttentionKind.GQA, hidden_size=128, num_layers=3, n_heads=6, n_kv_heads=2,
            head_dim=32, vocab_size=97, intermediate_size=288, qk_norm=qk_norm, qkv_bias=not qk_norm)
        formats = precision_of(name)
        pool = RandomPool(torch.device("cpu"), formats.activation, 1)
        decoder = Decoder(a, formats, layer_count(a), None, pool, tuner, slots=1, tokens=150)
        with torch.inference_mode():
            decoder.prefill(torch.arange(97).repeat(2)[:140], 0)
            at, x = decoder.positions({0: 140}), decoder.embedding[[5]] * 40
            for count in (1, 3):
                decoder.use(LayerCount(count, 0))
                pieces = decoder._one_by_one(x, at)
                print(name, qk_norm, count, error(decoder._whole(x, at.slots, at.lengths, count), pieces.double()))
"""


def errors(program: str) -> list[tuple[str, float]]:
    """(kernel, largest error / largest value)"""
    done = subprocess.run([sys.executable, "-c", HEAD + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    rows = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    return [(name, float(value)) for name, value in rows]


def test_float_kernels_equal_float64():
    """To the rounding of the result: 8 bits in bfloat16, 11 in float16."""
    found = errors(FLOATS)
    assert {name.split()[1] for name, _ in found} >= {"compiled", "compiled-rows", "expand", "linear", "near-256"}
    assert [row for row in found if row[1] > 1e-2] == []


def test_integer_kernels_equal_float64():
    """16-bit activations to the rounding of the result, 8-bit ones to a hundredth. Without VNNI, oneDNN adds pairs of
    products in 16 bits, which saturate.
    """
    found = errors(INTEGERS)
    assert {name.split()[1] for name, _ in found} >= {"compiled", "expand", "onednn", "int-mm", "int8pack"}
    assert [row for row in found if row[1] > (8e-2 if "onednn" in row[0] else 2e-2)] == []


def test_nibbles_are_multiplied_exactly_with_and_without_the_byte_instructions():
    found = errors(NIBBLES)
    assert len(found) == 4
    assert [row for row in found if row[1] > 1e-5] == []


def test_attention_and_norm_equal_float64():
    found = errors(ATTENTION)
    assert len(found) == 13
    assert [row for row in found if row[1] > 1e-2] == []


CHOICE = """
from types import SimpleNamespace
import numpy as np
from probes.engines.linear import NEAR_BYTES
from probes.engines.whole_layer import WholeStep
layers = [SimpleNamespace(matrices=0, looking=lambda near: near) for _ in range(4)]
seen, calls = [], []
class Step(WholeStep):
    def __init__(self):
        self._layers, self._table, self._matrices = layers, np.arange(4)[:, None], None
    def _through(self, table, near, *rest):
        seen.append(int(table[0, 0]))
        calls.append(near)
        slow = 3 if len(calls) % 4 == 0 else 1  # disturbances of every distance
        self._elapsed_s = slow * (1.0 if near == 512 else 1.05)
step = Step()
step(None, None, None, 4)
print("chosen", abs(step._matrices - 512))
print("layers", 4 - len(set(seen)))
for near in NEAR_BYTES:
    print("each", 15 - calls.count(near) if near != 512 else 16 - calls.count(near))
"""


def test_the_distance_to_look_ahead_is_the_fastest_over_layers():
    """The last call is the step itself."""
    assert all(value == 0 for _, value in errors(CHOICE))


def test_the_tuner_takes_the_fastest_that_works_and_gives_up_hopeless_ones(monkeypatch):
    from probes.engines import tuner

    calls: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(tuner.time, "perf_counter", lambda: clock[0])

    def takes(name: str, seconds: float):
        def call() -> None:
            calls.append(name)
            clock[0] += seconds

        return call

    def absent() -> None:
        raise ImportError("numba")

    seconds = {"good": 2.0, "hopeless": 9.0, "best": 1.0}
    candidates = {"absent": absent} | {name: takes(name, s) for name, s in seconds.items()}
    chooser = tuner.Tuner(lambda: None, lambda: None)
    assert chooser.choose("k", candidates) == "best"
    assert calls.count("hopeless") == 2  # the call that may compile, and one round
    assert chooser.choose("k", {}) == "best"  # remembered


@pytest.mark.parametrize("formats", [("fp32",), ("bf16", "fp16"), ("int8", "int8-w8a8"), ("int4", "mixed")], ids=str)
def test_layers_in_one_call_equal_their_pieces(formats):
    found = errors(f"FORMATS = {formats}" + WHOLE)
    assert len(found) == 4 * len(formats)
    assert [row for row in found if row[1] > 1e-2] == []

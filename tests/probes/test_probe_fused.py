"""The kernels for GPUs against plain torch: on a GPU where there is one, else by Triton's interpreter."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")
ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu  # noqa: E402

from probes.engines import fused  # noqa: E402
from probes.engines.attention import rotate  # noqa: E402

EPSILON = 1e-6
HALF = torch.bfloat16 if ON_GPU else torch.float16  # the interpreter multiplies bfloat16 as if they were integers


@pytest.fixture(autouse=True)
def _here():
    torch.manual_seed(0)
    torch.set_default_device("cuda" if ON_GPU else "cpu")
    yield
    torch.set_default_device("cpu")


def near(found, expected, tolerance=2e-2):
    """Relative to the norm: 16-bit types round at 2^-9 or finer."""
    assert found.shape == expected.shape
    assert float((found.double() - expected.double()).norm() / expected.double().norm()) < tolerance


def in_fp8(x):
    return x.to(torch.float8_e4m3fn).to(HALF)


def rows_of(count, inputs):
    return torch.randn(count, inputs, dtype=HALF)


@pytest.mark.parametrize("rows", [1, 3, 17])
@pytest.mark.parametrize("inputs", [256, 192])
@pytest.mark.parametrize("extras", [False, True])
def test_few_rows_of_16_bit_weights(rows, inputs, extras):
    x, weight = rows_of(rows, inputs), torch.randn(40, inputs, dtype=HALF)
    bias = torch.randn(40, dtype=HALF) if extras else None
    residual = torch.randn(rows, 40, dtype=HALF) if extras else None
    expected = linear(x.double(), weight.double(), None if bias is None else bias.double())
    expected = expected if residual is None else expected + residual.double()
    ways = fused.few_rows(weight, None, bias, single=rows == 1)
    assert len(ways) > 2
    for way in ways.values():
        near(way(x, residual), expected)


@pytest.mark.parametrize("rows", [1, 5])
def test_few_rows_of_8_bit_integers(rows):
    x, weight = rows_of(rows, 256), torch.randint(-127, 128, (48, 256), dtype=torch.int8)
    scale = torch.rand(48) / 64
    expected = linear(x.double(), weight.double()) * scale.double()
    for way in fused.few_rows(weight, scale, None, single=rows == 1).values():
        near(way(x, None), expected)
    q, row_scale = fused.quantise(x)
    by_hand = linear(q.double(), weight.double()) * row_scale.double()[:, None] * scale.double()
    for way in fused.few_rows(weight, scale, None, a8=True, single=rows == 1).values():
        near(way(x, None), by_hand, 5e-3)
        near(way(x, None), expected, 3e-2)


@pytest.mark.parametrize("rows", [1, 5])
def test_few_rows_of_8_bit_floats(rows):
    x, weight = in_fp8(rows_of(rows, 256)), torch.randn(48, 256).to(torch.float8_e4m3fn)
    for way in fused.few_rows(weight, None, None, fp8=True, single=rows == 1).values():
        near(way(x, None), linear(x.double(), weight.double()))


@pytest.mark.skipif(not ON_GPU, reason="the interpreter does not round to 8-bit floats but cuts off")
def test_activations_are_rounded_to_8_bit_floats():
    x, weight = rows_of(1, 256), torch.randn(48, 256).to(torch.float8_e4m3fn)
    expected = linear(in_fp8(x).double(), weight.double())
    for way in fused.few_rows(weight, None, None, fp8=True, single=True).values():
        near(way(x, None), expected, 0.01)


@pytest.mark.parametrize("rows", [1, 4])
def test_few_rows_of_4_bit_weights_equal_the_expanded_ones(rows):
    x, packed = rows_of(rows, 256), torch.randint(0, 256, (40, 2, 64), dtype=torch.uint8)
    grid = torch.rand(40, 2, 2, dtype=torch.float32).to(HALF) / 8
    nibbles = torch.cat((packed & 15, packed >> 4), dim=2).double() - 8
    weight = (nibbles * grid[:, :, :1].double() + grid[:, :, 1:].double()).view(40, 256)
    near(fused.expand4(packed, grid, HALF), weight, 5e-3)
    residual = torch.randn(rows, 40, dtype=HALF)
    for way in fused.few_rows4(packed, grid, None).values():
        near(way(x, residual), linear(x.double(), weight) + residual.double())


def test_rows_are_rounded_to_the_nearest_of_255_steps():
    x = torch.tensor([[127.0, -63.25, 0.6, -0.6], [0.0, 0.0, 0.0, 0.0]], dtype=HALF)
    q, scale = fused.quantise(x)
    assert q.tolist() == [[127, -63, 1, -1], [0, 0, 0, 0]]
    assert float(scale[0]) == 1.0


def test_norm_and_gate_equal_torchs_own():
    x, weight = rows_of(3, 96), torch.rand(96, dtype=HALF) + 0.5
    near(fused.norm(x, weight, EPSILON), rms_norm(x.double(), (96,), weight.double(), EPSILON), 5e-3)
    wide = x.double()
    near(fused.gate(x), silu(wide[:, :48]) * wide[:, 48:], 5e-3)


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("prompt", [False, True])
def test_heads_are_turned_and_placed(normed, prompt):
    rows, heads, kv_heads, dim, tokens = 4, 6, 2, 32, 12
    x = rows_of(rows, (heads + 2 * kv_heads) * dim)
    norms = torch.rand(2, dim, dtype=HALF) + 0.5 if normed else None
    angles = torch.rand(rows, 1, dim // 2).repeat(1, 1, 2)
    rope = angles.cos().to(HALF), angles.sin().to(HALF)
    caches = tuple(torch.zeros(5, kv_heads, tokens, dim, dtype=HALF) for _ in range(2))
    slots = torch.tensor([3] if prompt else [4, 0, 2, 1])
    lengths = None if prompt else torch.tensor([0, 7, 11, 3])
    q = fused.place(x, heads, norms, EPSILON, rope, caches, slots, lengths)
    parts = x.view(rows, -1, dim).double().split([heads, kv_heads, kv_heads], dim=1)
    turned = [
        rotate(part if norms is None else rms_norm(part, (dim,), norms[i].double(), EPSILON), rope)
        for i, part in enumerate(parts[:2])
    ]
    near(q, turned[0])
    where = [(3, row) for row in range(rows)] if prompt else list(zip(slots.tolist(), lengths.tolist(), strict=True))
    for row, (slot, at) in enumerate(where):
        near(caches[0][slot, :, at], turned[1][row])
        near(caches[1][slot, :, at], parts[2][row], 1e-6)
    assert int((caches[1].abs().sum(dim=(1, 3)) > 0).sum()) == rows  # nothing else was written


@pytest.mark.parametrize("longest", [199, 9000])
def test_attention_sees_its_own_slot_up_to_its_own_length(longest, monkeypatch):
    heads, kv_heads, dim = 6, 2, 32
    monkeypatch.setattr(fused, "MOST_PARTS", 2 if longest < 1000 else 64)
    caches = tuple(torch.randn(3, kv_heads, 220, dim, dtype=HALF) for _ in range(2))
    q, slots, lengths = torch.randn(2, heads, dim, dtype=HALF), torch.tensor([2, 0]), torch.tensor([199, 5])
    found = fused.attend(q, caches, slots, lengths, longest)
    for row, (slot, length) in enumerate(zip(slots.tolist(), lengths.tolist(), strict=True)):
        keys, values = (c[slot, :, : length + 1].double() for c in caches)
        grouped = q[row].double().view(kv_heads, -1, dim)
        near(found[row], scaled_dot_product_attention(grouped, keys, values).reshape(heads, dim))


@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
@pytest.mark.parametrize("format_id", ["bf16", "fp16", "fp32", "fp8", "int8", "int8-w8a16", "int4", "mixed"])
@pytest.mark.parametrize("variant", ["deepseek-r1-distill-qwen-1.5b", "deepseek-r1-0528-qwen3-8b"])
def test_tokens_one_by_one_equal_the_prompt_on_a_gpu(variant, format_id):
    """Two layers: the logits of the last token of a prompt, and of the same token decoded after the others, in the
    step as it is and captured at another position.
    """
    from advisor.catalog import load_catalog
    from probes.engines.torch_engine import TorchEngine
    from probes.layers import LayerCount
    from probes.spec import ProbeSpec

    spec = ProbeSpec(variant, format_id, load_catalog().variant(variant).architecture, device="cuda:0")
    torch.set_default_device("cpu")  # the engine's own generators are the host's
    engine = TorchEngine(spec, slots=3, tokens=80, layers=LayerCount(2, 0))
    engine.load()
    decoder, tokens = engine.decoder, torch.randint(0, 150_000, (40,), device="cuda")
    with torch.inference_mode():
        expected = decoder.prefill(tokens, 1)
        decoder.prefill(tokens[:39], 2)
        found = decoder.decode(tokens[39:], decoder.positions({2: 39}))[0]
    tolerance = 0.01 if format_id == "fp32" else 0.15  # activations are rounded at every product
    near(found, expected, tolerance)
    engine.step({0: 5, 1: 7})
    captured = engine._graphs.moving({2: 39})
    captured.ids.copy_(tokens[39:])
    captured.replay()
    torch.cuda.synchronize()
    near(captured.logits[0], expected, tolerance)
    padded = engine._graphs.moving_prompt(40, 2)
    padded.ids[:40] = tokens
    padded.replay()
    torch.cuda.synchronize()
    near(padded.logits, expected, tolerance)
    prompt = engine._graphs.prompt(40)
    prompt.ids.copy_(tokens)
    prompt.replay()
    torch.cuda.synchronize()
    near(prompt.logits, expected, tolerance)
    assert engine.decoder.is_movable


@pytest.mark.parametrize("kind", ["bf16", "int8-w8a8", "int8-w8a16", "fp8"])
def test_chosen_experts_equal_each_alone(kind):
    """Three rows with two of five experts each, against the experts one by one."""
    from probes.engines.expert_bank import Matrices, _run

    rows, top, inputs, outputs = 3, 2, 64, 24
    x, experts = in_fp8(rows_of(rows, inputs)), torch.tensor([4, 0, 0, 2, 4, 1])
    weights = [torch.randn(outputs, inputs) for _ in range(5)]
    scales = [torch.rand(outputs) / 64 for _ in range(5)]
    if kind.startswith("int8"):
        weights = [(w * 40).round().clamp(-127, 127).to(torch.int8) for w in weights]
    else:
        weights = [w.to(torch.float8_e4m3fn if kind == "fp8" else HALF) for w in weights]
    stored = [(w, s) if kind.startswith("int8") else (w,) for w, s in zip(weights, scales, strict=True)]

    class Bare:
        def __init__(self, tensors):
            self.stored, self.outputs, self.inputs = tensors, outputs, inputs

    matrices = Matrices([Bare(tensors) for tensors in stored])
    matrices.a8 = kind == "int8-w8a8"
    shares = torch.rand(rows * top).to(HALF)
    order = experts.argsort()
    found = _run(matrices, (8, 32, 4), x, experts, order, shares, top)
    for pair, expert in enumerate(experts.tolist()):
        weight = weights[expert].double()
        weight = weight * scales[expert].double()[:, None] if kind.startswith("int8") else weight
        expected = x[pair // top].double() @ weight.t() * shares[pair].double()
        near(found[pair], expected, 0.03 if kind == "int8-w8a8" else 0.01)


@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
@pytest.mark.parametrize("format_id", ["bf16", "fp8", "int8"])
def test_experts_chosen_on_the_gpu_run_in_a_captured_step(format_id):
    """Two layers of V2-Lite: finite, captured, and as fast replayed as no host could ask for experts."""
    from advisor.catalog import load_catalog
    from probes.engines.torch_engine import TorchEngine
    from probes.layers import LayerCount
    from probes.spec import ProbeSpec

    torch.set_default_device("cpu")
    architecture = load_catalog().variant("deepseek-v2-lite").architecture
    spec = ProbeSpec("deepseek-v2-lite", format_id, architecture, device="cuda:0")
    engine = TorchEngine(spec, slots=4, tokens=80, layers=LayerCount(1, 1))
    engine.load()
    assert engine.decoder.is_capturable(4)
    assert not engine.decoder.is_capturable(64)
    for rows in (1, 4):
        engine.prefill(40, 0)
        captured = engine._graphs.fixed(40, rows)
        assert "CUDAGraph" in repr(captured.replay)
        assert min(engine.decode(40, rows, 20)) < 2e-3

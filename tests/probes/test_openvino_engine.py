"""OpenVINO for real on a tiny decoder, against a plain computation of the same graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.errors import InputError, UnsupportedError
from probes.engines.factory import make_engine
from probes.engines.openvino_formats import OPENVINO_FORMATS, check_openvino
from probes.engines.openvino_need import openvino_need
from probes.layers import LayerCount
from probes.needs import needed
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import EngineName, Kind, SweepAxis
from tests.probes.conftest import TINY

pytest.importorskip("openvino", reason="the package openvino is not installed")


@pytest.fixture
def openvino_spec(spec):
    return replace(spec, engine=EngineName.OPENVINO, format_id="int8-w8a16")


@pytest.mark.parametrize("format_id", list(OPENVINO_FORMATS))
def test_it_computes_and_its_bytes_are_foreseen(openvino_spec, format_id):
    asked = replace(openvino_spec, format_id=format_id)
    engine = make_engine(asked, slots=2, tokens=64)
    engine.load()
    assert engine.tensor_bytes == openvino_need(asked).tensor_bytes
    assert engine.prefill(20) > 0
    assert len(engine.decode(20, 2, 3)) == 3
    assert engine._request.query_state()[0].state.shape == [2, 2, 23, 64]
    assert engine.step({0: 20, 1: 30}) > 0
    assert engine.versions()["openvino_cache"] == OPENVINO_FORMATS[format_id].cache
    with pytest.raises(InputError, match="at most 64"):
        engine.prefill(65)
    engine.close()


@pytest.mark.parametrize("format_id", list(OPENVINO_FORMATS))
def test_the_plugin_multiplies_with_the_stored_type_and_fuses_the_cache(openvino_spec, format_id):
    """Otherwise the figures would be those of matrices expanded to 32 bit."""
    engine = make_engine(replace(openvino_spec, format_id=format_id), slots=1, tokens=64)
    engine.load()
    info = [node.get_rt_info() for node in engine._compiled.get_runtime_model().get_ops()]
    found = [(i["layerType"].astype(str), i["runtimePrecision"].astype(str)) for i in info]
    products = {kind for layer, kind in found if layer == "FullyConnected"}
    if OPENVINO_FORMATS[format_id].is_integer:
        assert products == {OPENVINO_FORMATS[format_id].matrices}
    assert [layer for layer, _ in found].count("ScaledDotProductAttention") == TINY.num_layers
    assert [layer for layer, _ in found].count("RMS") == 2 * TINY.num_layers + 1
    engine.close()


def test_no_two_tensors_are_equal(openvino_spec):
    """OpenVINO keeps equal constants once."""
    engine = make_engine(openvino_spec, slots=1, tokens=64)
    engine.load()
    matrices = [w.tobytes() for name, w in engine._graph.weights.items() if name.endswith(".w")]
    assert len(set(matrices)) == len(matrices) == 7 * TINY.num_layers + 1
    assert all(w.base is None or w.base.nbytes == w.nbytes for w in engine._graph.weights.values())  # nothing behind
    engine.close()


@pytest.mark.parametrize("qk_norm", [False, True])
def test_one_layer_equals_the_formulas(openvino_spec, qk_norm):
    """Logits of a prompt and of the token behind it, in 32 bit, against numpy."""
    a = replace(TINY, num_layers=1, qk_norm=qk_norm)
    engine = make_engine(replace(openvino_spec, architecture=a, format_id="fp32"), slots=1, tokens=32)
    engine.load()
    ids = np.array([7, 1, 300, 5, 12, 2000])
    engine._hold(1, 0)
    assert np.allclose(_logits(engine, ids[:5], 0), _expected(engine._graph.weights, a, ids[:5]), atol=1e-3)
    assert np.allclose(_logits(engine, ids[5:], 5), _expected(engine._graph.weights, a, ids), atol=1e-3)
    engine.close()


def _logits(engine, ids, at):
    inputs = {"input_ids": ids[None], "positions": np.arange(at, at + len(ids))[None],
              "beam_idx": np.zeros(1, np.int32)}  # fmt: skip
    return engine._request.infer(inputs)[0][0, 0].copy()


def _expected(w, a, ids):
    x = w["embedding"][ids]
    n, tokens = _norm(x), len(ids)
    q, k, v = (
        (n @ w[f"{name}0.w"].T + w[f"{name}0_bias"]).reshape(tokens, -1, a.head_dim).transpose(1, 0, 2)
        for name in "qkv"
    )
    if a.qk_norm:
        q, k = _norm(q), _norm(k)
    k, v = (np.repeat(each, a.n_heads // a.n_kv_heads, axis=0) for each in (_turned(k), v))
    scores = _turned(q) @ k.transpose(0, 2, 1) / np.sqrt(a.head_dim)
    scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ v
    x = x + mixed.transpose(1, 0, 2).reshape(tokens, -1) @ w["o0.w"].T
    n = _norm(x)
    gate, up = n @ w["gate0.w"].T, n @ w["up0.w"].T
    x = x + (gate / (1 + np.exp(-gate)) * up) @ w["down0.w"].T
    return _norm(x[-1]) @ w["logits.w"].T


def _norm(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)


def _turned(heads):
    """Each pair (i, i + half) as a complex number, turned by position × 10000^(-i/half)."""
    half = heads.shape[-1] // 2
    pairs = heads[..., :half] + 1j * heads[..., half:]
    angle = np.outer(np.arange(heads.shape[1]), 1e4 ** -(np.arange(half) / half))
    turned = pairs * np.exp(1j * angle)
    return np.concatenate([turned.real, turned.imag], axis=-1)


@pytest.mark.parametrize(("format_id", "close"), [("int8-w8a16", 0.02), ("w4a16-g128", 0.02), ("w4a16-g32", 0.02)])
def test_integers_are_expanded_as_stored(openvino_spec, format_id, close):
    """The head's product against numpy; the plugin rounds activations to 8 bit in groups of 32."""
    a = replace(TINY, num_layers=1)
    engine = make_engine(replace(openvino_spec, architecture=a, format_id=format_id), slots=1, tokens=32)
    engine.load()
    weights = {name: _floats(w) for name, w in engine._graph.weights.items()}
    for name in [name for name in weights if name.endswith(".w")]:
        scales, cols = weights[f"{name[:-2]}.s"], a.intermediate_size if name == "down0.w" else a.hidden_size
        stored = _integers(engine._graph.weights[name], OPENVINO_FORMATS[format_id].bits)
        weights[name] = (stored.reshape(*scales.shape[:-1], -1) * scales).reshape(-1, cols)
    ids = np.array([7, 1, 300, 5, 12, 2000])
    engine._hold(1, 0)
    got, wanted = _logits(engine, ids, 0), _expected(weights, a, ids)
    assert np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < close
    engine.close()


def _floats(values):
    return values.astype(np.float32)


def _integers(raw, bits):
    """Signed; of 4 bits the lower half of a byte comes first."""
    signed = raw.view(np.int8)
    if bits == 8:
        return signed.astype(np.float32)
    halves = np.stack([(raw << 4).view(np.int8) >> 4, signed >> 4], axis=-1)
    return halves.reshape(-1).astype(np.float32)


@pytest.mark.parametrize(
    ("changes", "format_id", "reason"),
    [({}, "fp8", "not 'fp8'"), ({"sliding_window": 64}, "fp32", "dense"), ({"n_routed_experts": 8}, "fp32", "dense")],
)
def test_what_it_cannot_run_is_named(changes, format_id, reason):
    with pytest.raises(UnsupportedError, match=reason):
        check_openvino(replace(TINY, **changes), format_id)


def test_slices_devices_and_converted_models_are_refused(openvino_spec):
    with pytest.raises(UnsupportedError, match="not single layers"):
        make_engine(openvino_spec, slots=1, tokens=64, layers=LayerCount(1, 0))
    with pytest.raises(UnsupportedError, match="on the processor"):
        make_engine(replace(openvino_spec, device="cuda:0"), slots=1, tokens=64)
    with pytest.raises(UnsupportedError, match="OVMS"):
        needed(replace(openvino_spec, checkpoint="converted"))
    with pytest.raises(UnsupportedError, match="for 'sustained' take engine torch"):
        needed(replace(openvino_spec, kind=Kind.SUSTAINED))


@pytest.mark.probe
def test_a_batch_sweep(openvino_spec):
    swept = replace(openvino_spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2), threads=1)
    result = ProbeProcess(swept, Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.versions["openvino_cache"] == "bf16"
    assert [point.at["batch"] for point in result.points if point.name == "decode"] == [1, 2]

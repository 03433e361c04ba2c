"""ONNX Runtime for real on a tiny decoder, against a plain computation of the same graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.errors import InputError, UnsupportedError
from probes.engines.factory import make_engine
from probes.engines.ort_graph import Blocks, build_graph, check_runnable
from probes.engines.ort_need import ort_need
from probes.layers import LayerCount
from probes.needs import needed
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import EngineName, Kind, SweepAxis
from tests.probes.conftest import TINY

ORT = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
pytest.importorskip("onnx", reason="the package onnx is not installed")


@pytest.fixture
def ort_spec(spec):
    return replace(spec, engine=EngineName.ORT, format_id="w4a16-g32")


@pytest.mark.parametrize("format_id", ["fp32", "int8-w8a16", "w4a16-g128", "w4a16-g32"])
def test_it_computes_and_its_bytes_are_foreseen(ort_spec, format_id):
    asked = replace(ort_spec, format_id=format_id)
    engine = make_engine(asked, slots=2, tokens=64)
    engine.load()
    tables = 2 * 64 * 32 * 4  # sines and cosines of the positions
    assert engine.tensor_bytes - tables == ort_need(asked).tensor_bytes
    assert engine.prefill(20) > 0
    assert len(engine.decode(20, 2, 3)) == 3
    assert engine.step({0: 20, 1: 30}) > 0
    with pytest.raises(InputError, match="at most 64"):
        engine.prefill(65)
    engine.close()


def test_one_layer_equals_the_formulas(ort_spec):
    """Logits of one token through one layer in 32 bit, against numpy: attention of one token is its own value."""
    a = replace(TINY, num_layers=1)
    engine = make_engine(replace(ort_spec, architecture=a, format_id="fp32"), slots=1, tokens=32)
    engine.load()
    w = engine._graph.weights
    graph = build_graph(a, Blocks(32), tokens=32, seed=ort_spec.seed)
    assert all((graph.weights[name] == w[name]).all() for name in w)  # the same seed, the same weights
    token = 7
    got = _logits(engine, token)
    x = w["embedding"][token].astype(np.float32)
    n = _norm(x)
    value = (n @ w["v0.w"] + w["v_bias0"]).reshape(a.n_kv_heads, a.head_dim)
    mixed = np.repeat(value, a.n_heads // a.n_kv_heads, axis=0).reshape(-1) @ w["o0.w"]
    x = x + mixed
    n = _norm(x)
    gate, up = n @ w["gate0.w"], n @ w["up0.w"]
    x = x + (gate / (1 + np.exp(-gate)) * up) @ w["down0.w"]
    assert np.allclose(got, _norm(x) @ w["logits.w"], atol=1e-4)


def _norm(x):
    return x / np.sqrt(np.mean(x**2) + 1e-6)


def _logits(engine, token):
    feeds = {"input_ids": np.array([[token]]), "seqlens_k": np.zeros(1, np.int32),
             "total_sequence_length": np.array(1, np.int32)}  # fmt: skip
    feeds |= {f"past_{name}": cache for name, cache in engine._caches.items()}
    return engine._session.run(["logits"], feeds)[0][0, 0]


@pytest.mark.parametrize(
    ("changes", "format_id", "reason"),
    [({}, "fp8", "not 'fp8'"), ({"qk_norm": True}, "fp32", "query norms"), ({"n_routed_experts": 8}, "fp32", "dense")],
)
def test_what_it_cannot_run_is_named(changes, format_id, reason):
    with pytest.raises(UnsupportedError, match=reason):
        check_runnable(replace(TINY, **changes), format_id)


def test_slices_are_refused(ort_spec):
    with pytest.raises(UnsupportedError, match="not single layers"):
        make_engine(ort_spec, slots=1, tokens=64, layers=LayerCount(1, 0))


@pytest.mark.probe
def test_a_batch_sweep(ort_spec):
    swept = replace(ort_spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2), threads=1)
    result = ProbeProcess(swept, Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.versions == {"onnxruntime": ORT.__version__}
    assert result.tensor_bytes > 1_000_000


@pytest.mark.parametrize(
    ("engine", "kind", "message"),
    [
        (EngineName.ORT, Kind.SUSTAINED, "for 'sustained' take engine torch"),
        (EngineName.LLAMACPP, Kind.SLICE, "for 'slice' take engine torch"),
    ],
)
def test_what_an_engine_does_not_measure_is_said_beforehand(ort_spec, engine, kind, message):
    with pytest.raises(UnsupportedError, match=message):
        needed(replace(ort_spec, engine=engine, kind=kind))

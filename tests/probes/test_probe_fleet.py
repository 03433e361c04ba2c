"""Fleets: the flow with a stand-in for Ray, and two real local nodes where Ray is installed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import UnsupportedError
from probes.codec import decode, encode
from probes.fleet import measure_here, probe_fleet
from probes.result import ProbeResult, State
from probes.spec import ProbeSpec


class FakeRayError(Exception):
    pass


def fake_ray(nodes: list[dict[str, object]], answers: dict[str, object]) -> ModuleType:
    """Runs nothing: `answers` holds, per node, the result or the error of its measurement."""
    module = ModuleType("ray")
    util, strategies = ModuleType("ray.util"), ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = lambda node_id, soft: node_id
    util.scheduling_strategies = strategies

    def remote(function):
        def options(scheduling_strategy, **_):
            key = (scheduling_strategy, function.__name__)
            return SimpleNamespace(remote=lambda text: key)

        return SimpleNamespace(options=options)

    def get(key, timeout=None):
        node, name = key
        answer = ["cpu"] if name == "devices_here" else answers[node]
        if isinstance(answer, Exception):
            raise answer
        return answer

    module.util, module.remote, module.get = util, remote, get
    module.nodes = lambda: nodes
    module.init = lambda **_: None
    module.shutdown = lambda: None
    module.wait = lambda pending, num_returns: (pending[:1], pending[1:])
    module.exceptions = SimpleNamespace(RayError=FakeRayError)
    return module


def install(monkeypatch, module: ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.util", module.util)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", module.util.scheduling_strategies)


def node(name: str, *, alive: bool = True) -> dict[str, object]:
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": alive}


def test_a_node_that_dies_is_reported_and_the_rest_continue(monkeypatch, spec, result):
    answers = {
        "a": json.dumps(encode(result("ra"))),
        "b": FakeRayError("node died\nlong trace"),
        "c": json.dumps(encode(result("rc"))),
    }
    install(monkeypatch, fake_ray([node("a"), node("b"), node("gone", alive=False), node("c")], answers))
    rows = {row.node: row for row in probe_fleet(spec, "auto")}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["b"].result, rows["b"].error) == (None, "node died")
    assert isinstance(rows["a"].result, ProbeResult)
    assert rows["c"].result.id == "rc"


@pytest.mark.parametrize("answer", ["not JSON", '{"id": "x"}', '{"id": "x", "spec": {"kind": "telepathy"}}', None])
def test_an_answer_that_cannot_be_read_is_reported_and_the_rest_continue(monkeypatch, spec, result, answer):
    answers = {"a": answer, "b": json.dumps(encode(result("rb")))}
    install(monkeypatch, fake_ray([node("a"), node("b")], answers))
    rows = {row.node: row for row in probe_fleet(spec, "auto")}
    assert rows["a"].result is None
    assert rows["a"].error
    assert rows["b"].result.id == "rb"


def test_without_ray_the_extra_is_named(monkeypatch, spec):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError, match="cluster"):
        list(probe_fleet(spec, "auto"))


def test_what_cannot_fit_on_a_node_is_refused_there_with_its_prediction():
    large = load_catalog().variant("deepseek-r1")
    spec = ProbeSpec(large.id, "bf16", large.architecture)
    outcome = decode(ProbeResult, json.loads(measure_here(json.dumps(encode(spec)))), where="test")
    assert outcome.state is State.REFUSED
    assert "with margin" in outcome.error
    assert outcome.predicted.peak_bytes.value > 1e12


@pytest.mark.probe
def test_two_local_nodes(spec):
    pytest.importorskip("ray", reason="Ray is an optional extra and is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        rows = list(probe_fleet(replace(spec, threads=1), cluster.address))
    finally:
        cluster.shutdown()
    assert len(rows) == 2
    assert all(row.result is not None and row.result.state is State.DONE for row in rows), [r.error for r in rows]

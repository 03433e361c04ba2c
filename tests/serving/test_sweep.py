"""Sweeps: one process, local processes and a real Ray cluster of two nodes give the same answers."""

from __future__ import annotations

import pytest

from advisor.catalog.errors import UnsupportedError
from advisor.serving.capacity import CancelledError
from advisor.serving.lengths import LengthDistribution
from advisor.serving.step_costs import StepCosts
from advisor.serving.sweep import SweepTask, sweep
from advisor.serving.workload import ArrivalProcess, RequestClass, Slo, Workload

COSTS = StepCosts((0, 64, 2048), (0.012, 0.0126, 0.072), 7e-8, 1.2e-7, 1.5e-9, 256, 450_000, 256, 2048)
SLO = Slo(ttft_ms=1500, tpot_ms=35, percentile=95)


def tasks():
    """Two plans under three loads."""
    lengths = LengthDistribution.lognormal
    request = RequestClass("all", lengths(mean=800, p50=500), lengths(mean=250, p50=180))
    return [
        SweepTask(f"{rate} {factor}", COSTS.scaled(factor), Workload("w", "w", arrivals, (request,)), SLO)
        for rate in (1, 5, 20)
        for arrivals in (ArrivalProcess(rate_per_s=rate),)
        for factor in (1.0, 1.2)
    ]


@pytest.fixture(scope="module")
def serial():
    return sweep(tasks(), workers=0)


def test_processes_give_the_answers_of_one_process(serial):
    seen = []
    assert sweep(tasks(), workers=2, progress=seen.append) == serial
    assert seen[-1] == 1.0
    assert [row.key for row in serial] == [task.key for task in tasks()]
    assert all(dict(row.at_step_factor)[0.9] <= row.replicas for row in serial)


def test_a_sweep_stops_when_asked():
    with pytest.raises(CancelledError):
        sweep(tasks(), workers=0, cancelled=lambda: True)


def test_a_ray_cluster_of_two_nodes_gives_the_answers_of_one_process(serial):
    ray = pytest.importorskip("ray", reason="Ray is an optional extra and is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        assert len(cluster.list_all_nodes()) == 2
        seen = []
        assert sweep(tasks(), ray_address=cluster.address, progress=seen.append) == serial
        assert seen[-1] == 1.0
        assert not ray.is_initialized()  # the sweep leaves nothing connected
    finally:
        cluster.shutdown()


def test_a_node_that_dies_is_replaced_by_the_other(serial):
    pytest.importorskip("ray", reason="Ray is an optional extra and is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        shares = []

        def kill_once(share: float) -> None:
            if not shares:
                cluster.remove_node(second, allow_graceful=False)
            shares.append(share)

        assert sweep(tasks(), ray_address=cluster.address, progress=kill_once) == serial
        assert shares[-1] == 1.0
    finally:
        cluster.shutdown()


def test_a_search_that_the_cluster_loses_is_named():
    from types import SimpleNamespace

    from advisor.serving.sweep import _answer_of

    class RayError(Exception):
        pass

    def get(reference: object) -> None:
        raise RayError(f"the node of {reference} died\nmore")

    lost = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=RayError))
    with pytest.raises(UnsupportedError, match=r"lost the search '1 1.0'.*the node of x died"):
        _answer_of(lost, "x", tasks()[0])


def test_an_address_without_a_cluster_is_said():
    pytest.importorskip("ray", reason="Ray is an optional extra and is not installed")
    with pytest.raises(UnsupportedError, match="no Ray cluster"):
        sweep(tasks(), ray_address="127.0.0.1:1")


def test_a_cluster_without_ray_is_refused(monkeypatch):
    monkeypatch.setattr("advisor.serving.sweep.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="cluster"):
        sweep(tasks(), ray_address="auto")

"""Arithmetic behind the figures: histograms, traffic, slices, memory need, resumption."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from probes.histogram import Histogram
from probes.layers import LayerCount, ends_of, layer_count, slices_of
from probes.need import need_of, refusal
from probes.result import Measured, Point, State
from probes.resume import continuation, joined, summed, totals
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.traffic import Account, Request, arrivals

TARGET = LoadTarget(requests_per_s=5.0, duration_s=400.0)


@given(st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_right_to_one_percent(values, share):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    rank = max(1, -(-int(share * 100) * len(values) // 100))
    exact = sorted(values)[rank - 1]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0051)


@given(st.lists(st.floats(min_value=0.1, max_value=1e4), min_size=2, max_size=60), st.integers(1, 59))
def test_histograms_add_up_through_storage(values, cut):
    parts = [Histogram(), Histogram(), Histogram()]
    for index, value in enumerate(values):
        parts[0].add(value)
        parts[1 if index < cut else 2].add(value)
    stored = Histogram(parts[1].bins())
    stored.merge(Histogram(parts[2].bins()))
    assert stored.bins() == parts[0].bins()


def test_arrivals_are_poisson_and_repeatable():
    spec = ProbeSpec("x", "bf16", prompt_tokens=(100,), output_tokens=20, load=TARGET)
    requests = list(arrivals(spec, TARGET))
    assert len(requests) == pytest.approx(2000, rel=0.1)
    assert [r.arrival_s for r in arrivals(spec, TARGET)] == [r.arrival_s for r in requests]
    assert all(50 <= r.prompt_tokens <= 150 for r in requests)
    gaps = [b.arrival_s - a.arrival_s for a, b in itertools.pairwise(requests)]
    mean = sum(gaps) / len(gaps)
    assert sum((g - mean) ** 2 for g in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.2)  # exponential


def test_goodput_needs_both_limits():
    account = Account(LoadTarget(ttft_limit_ms=100.0, tpot_limit_ms=10.0))
    for ttft, tpot in ((0.05, 0.005), (0.5, 0.005), (0.05, 0.05)):
        account.finish(Request(0.0, 1, 11, first_token_s=ttft, finished_s=ttft + 10 * tpot, generated=11))
    assert (account.finished, account.good, account.output_tokens) == (3, 1, 33)
    assert account.figures(10.0)["goodput_requests_per_s"].value == 0.1


def test_slices_of_dense_and_expert_models():
    catalog = load_catalog()
    dense = catalog.variant("deepseek-r1-distill-llama-70b").architecture
    assert slices_of(dense, (1, 2, 4)) == (LayerCount(1, 0), LayerCount(2, 0), LayerCount(4, 0))
    r1 = catalog.variant("deepseek-r1").architecture
    assert layer_count(r1) == LayerCount(3, 58)
    assert slices_of(r1, (1, 2)) == (LayerCount(1, 0), LayerCount(1, 1), LayerCount(1, 2), LayerCount(2, 0))
    deeper = (LayerCount(1, 0), LayerCount(1, 1), LayerCount(1, 4), LayerCount(3, 0))  # of its three dense layers
    assert slices_of(r1, (1, 4, 8)) == deeper
    lite = catalog.variant("deepseek-v2-lite").architecture
    assert slices_of(lite, (1, 4, 8)) == (LayerCount(1, 0), LayerCount(1, 1), LayerCount(1, 4))  # one dense layer


def test_two_of_each_sort_are_the_ends():
    depths = (LayerCount(1, 0), LayerCount(4, 0), LayerCount(8, 0))
    assert ends_of(depths) == (LayerCount(1, 0), LayerCount(8, 0))
    mixed = (LayerCount(1, 0), LayerCount(1, 1), LayerCount(1, 4), LayerCount(3, 0))
    assert ends_of(mixed) == mixed
    assert ends_of((LayerCount(0, 2), LayerCount(0, 4))) == (LayerCount(0, 2), LayerCount(0, 4))


def test_need_of_the_default_probe_equals_the_published_parameters():
    variant = load_catalog().variant("deepseek-r1-distill-qwen-1.5b")
    need = need_of(ProbeSpec(variant.id, "bf16", variant.architecture))
    assert need.tensor_bytes == 2 * 1_777_088_000
    assert need.cache_bytes == 544 * 28 * 2 * 2 * 128 * 2
    whole = need.read_bytes - 512 * 28 * 2 * 2 * 128 * 2
    assert whole == 2 * (1_777_088_000 - 151_936 * 1536)  # all but the embedding


def test_a_slice_needs_its_layers_only_and_the_whole_needs_all():
    variant = load_catalog().variant("deepseek-r1")
    spec = ProbeSpec(
        variant.id, "bf16", variant.architecture, kind=Kind.SLICE, slice_layers=(1, 2), resident_experts=16
    )
    part, whole = need_of(spec), need_of(spec, whole=True)
    assert part.tensor_bytes < 12e9
    assert whole.tensor_bytes == pytest.approx(2 * 671.03e9, rel=1e-4)
    assert whole.read_bytes == pytest.approx(2 * 36.63e9, rel=0.01)


def test_refusal_names_needed_and_allowed():
    need = need_of(_tiny_spec())
    assert refusal(need, 64 * 2**30) is None
    refused = refusal(need, 2**30)
    assert refused is not None
    assert refused[0] > refused[1] == 0


def _tiny_spec() -> ProbeSpec:
    variant = load_catalog().variant("deepseek-r1-distill-qwen-1.5b")
    return ProbeSpec(variant.id, "bf16", variant.architecture)


def test_a_cut_run_continues_and_adds_up(result):
    def part(seconds: float, finished: int, ttft: float) -> tuple[Point, ...]:
        account = Account(TARGET)
        for _ in range(finished):
            account.finish(Request(0.0, 8, 3, first_token_s=ttft, finished_s=ttft + 0.02, generated=3))
        points = [Point("tally", account.tally(seconds))]
        points += [Point("histogram", account.ttft_ms.bins(), label="ttft_ms")]
        return (*points, Point("histogram", account.tpot_ms.bins(), label="tpot_ms"))

    spec = ProbeSpec("x", "bf16", kind=Kind.SUSTAINED, load=TARGET)
    first = result("cut", spec=spec, points=part(100.0, 30, 0.1))
    rest = continuation(spec, first)
    assert rest.load is not None
    assert (rest.load.duration_s, rest.load.elapsed_before_s, rest.load.resume_id) == (300.0, 100.0, "cut")
    assert next(arrivals(rest, rest.load)).arrival_s != next(arrivals(spec, TARGET)).arrival_s
    second = result("rest", spec=rest, points=part(300.0, 10, 0.4))
    whole = joined(first, second)
    assert whole.figures["finished_requests"].value == 40
    assert whole.figures["finished_requests_per_s"].value == pytest.approx(0.1)
    assert whole.figures["p50_ttft_ms"].value == pytest.approx(100, rel=0.01)
    assert whole.figures["p99_ttft_ms"].value == pytest.approx(400, rel=0.01)
    assert totals(whole.points, TARGET)[1] == 400.0
    assert replace(whole, points=()).id == "rest"


def test_a_run_that_ends_early_keeps_its_figures_and_says_when_memory_ran_out(result):
    """Traffic began 20 s into the probe; windows end after 5 and 10 s; memory runs out 34 s into it."""
    account = Account(TARGET)
    account.finish(Request(0.0, 8, 3, first_token_s=0.1, finished_s=0.12, generated=3))
    points: tuple[Point, ...] = ()
    for elapsed in (5.0, 10.0):
        points += (
            Point("window", {"elapsed_s": elapsed}, {"resident_bytes": Measured.of([1e9])}, at_s=20.0 + elapsed),
            Point("tally", account.tally(5.0)),
            Point("histogram", account.ttft_ms.bins(), label="ttft_ms"),
            Point("histogram", account.tpot_ms.bins(), label="tpot_ms"),
        )
    spec = ProbeSpec("x", "bf16", kind=Kind.SUSTAINED, load=TARGET)
    cut = summed(result("cut", spec=spec, points=points, state=State.CANCELLED, figures={}, duration_s=34.0))
    assert cut.figures["finished_requests"].value == 2
    assert cut.figures["finished_requests_per_s"].value == pytest.approx(0.2)
    assert "first_out_of_memory_s" not in cut.figures
    out = summed(replace(cut, state=State.OUT_OF_MEMORY, figures={}))
    assert out.figures["first_out_of_memory_s"].value == pytest.approx(14.0)
    early = summed(replace(out, points=(), figures={}))
    assert early.figures["first_out_of_memory_s"].value == 34.0
    done = replace(cut, state=State.DONE)
    assert summed(done) is done

"""Sampling, the built-in workloads, and what a careless user does to them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advisor.catalog.errors import DataError, FathomError, InputError, UnknownIdError
from advisor.serving.lengths import LengthDistribution
from advisor.serving.library import DEFAULT_REASONING, load_workloads, read_workload, workload
from advisor.serving.sampling import sample
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Workload

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
FIXED = LengthDistribution.fixed


def one_class(arrivals, **options):
    return Workload("w", "w", arrivals, (RequestClass("all", FIXED(100), FIXED(50), **options),))


def test_every_built_in_workload_can_be_sampled():
    for name, traffic in load_workloads().items():
        table = sample(traffic, 500, seed=3)
        assert len(table) == 500, name
        assert traffic.source, name
        assert np.all(table.output_tokens >= 1), name
        assert np.all(table.prefix_hit_tokens <= table.input_tokens), name


@pytest.mark.parametrize(
    "name", ["azure-code", "azure-conversation", "chat", "chat-day", "reasoning-tutor", DEFAULT_REASONING]
)
def test_sampled_means_are_the_stated_means(name):
    traffic = workload(name)
    table = sample(traffic, 60_000, seed=1)
    slack = 0.06 if name == "chat" else 0.03  # the last conversations are cut short
    assert table.output_tokens.mean() == pytest.approx(traffic.mean_output_tokens, rel=slack)
    assert table.input_tokens.mean() == pytest.approx(traffic.mean_input_tokens, rel=slack)


def test_r1_lengths_are_the_published_quantiles():
    """ServeGen: median prompt 208 tokens, median answer 792, 99 % below 12,607."""
    table = sample(workload(DEFAULT_REASONING), 100_000, seed=1)
    assert np.median(table.input_tokens) == pytest.approx(208, rel=0.03)
    assert np.median(table.output_tokens) == pytest.approx(792, rel=0.03)
    assert np.quantile(table.output_tokens, 0.99) == pytest.approx(12_607, rel=0.05)


def test_input_and_output_are_independent():
    table = sample(workload(DEFAULT_REASONING), 50_000, seed=1)
    ranks = [np.argsort(np.argsort(v)) for v in (table.input_tokens, table.output_tokens)]
    assert abs(np.corrcoef(*ranks)[0, 1]) < 0.02


@pytest.mark.skipif(not TRACES.exists(), reason="the traces are not beside this checkout")
@pytest.mark.parametrize("name", ["deepseek-r1", "m-large"])
def test_production_figures_are_those_of_the_source(name):
    with (TRACES / f"servegen_{name}_lengths.csv").open() as rows:
        source = list(csv.DictReader(rows))
    lengths = workload(f"servegen-{name}").classes[0]
    for q in (0.1, 0.5, 0.9, 0.99):
        row = next(r for r in source if abs(float(r["quantile"]) - q) < 1e-6)
        assert lengths.input.quantile(q) == pytest.approx(float(row["input_tokens"]), abs=0.51)
        assert lengths.output.quantile(q) == pytest.approx(float(row["output_tokens"]), abs=0.51)


def test_poisson_and_gamma_have_their_rate_and_variation():
    for kind, cv in ((ArrivalKind.POISSON, 1.0), (ArrivalKind.GAMMA, 3.0), (ArrivalKind.GAMMA, 0.5)):
        table = sample(one_class(ArrivalProcess(kind, rate_per_s=20, cv=cv)), 100_000, seed=5)
        gaps = np.diff(table.arrival_s)
        assert 1 / gaps.mean() == pytest.approx(20, rel=0.03)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_day_shape_sets_the_rate_over_time():
    traffic = one_class(ArrivalProcess(rate_per_s=50, shape=(0.0, 1.0, 2.0, 1.0), period_s=400))
    times = sample(traffic, 40_000, seed=2).arrival_s
    counts = np.histogram(times % 400, bins=[0, 100, 200, 300, 400])[0] / len(times)
    np.testing.assert_allclose(counts, [0.125, 0.375, 0.375, 0.125], atol=0.01)
    assert traffic.arrivals.peak_rate_per_s == pytest.approx(100)


def test_the_rate_only_scales_time():
    slow = sample(one_class(ArrivalProcess(rate_per_s=1)), 1000, seed=4)
    fast = sample(one_class(ArrivalProcess(rate_per_s=10)), 1000, seed=4)
    np.testing.assert_allclose(slow.arrival_s, 10 * fast.arrival_s)
    np.testing.assert_array_equal(slow.input_tokens, fast.input_tokens)


def test_conversations_carry_what_was_said():
    traffic = one_class(ArrivalProcess(rate_per_s=1), turns=3, think_s=5.0, shared_prefix_tokens=40)
    table = sample(traffic, 300, seed=1)
    later = np.flatnonzero(table.follows >= 0)
    before = table.follows[later]
    said = table.input_tokens[before] + table.output_tokens[before]
    np.testing.assert_array_equal(table.input_tokens[later], said + 100 - 32)
    np.testing.assert_array_equal(table.prefix_hit_tokens[later], said // 16 * 16)
    assert len(later) == 200


def test_context_limit_cuts_long_requests():
    lengths = LengthDistribution.lognormal(mean=4000, p50=1000)
    traffic = Workload("w", "w", ArrivalProcess(rate_per_s=1), (RequestClass("a", lengths, lengths),), 8192)
    table = sample(traffic, 5000, seed=1)
    assert np.max(table.input_tokens + table.output_tokens) <= 8192


@pytest.mark.parametrize(
    ("arrivals", "field"),
    [
        (ArrivalProcess(rate_per_s=0), "rate_per_s"),
        (ArrivalProcess(rate_per_s=float("inf")), "rate_per_s"),
        (ArrivalProcess(rate_per_s=float("nan")), "rate_per_s"),
        (ArrivalProcess(rate_per_s=-3), "rate_per_s"),
        (ArrivalProcess(ArrivalKind.GAMMA, rate_per_s=1, cv=0), "cv"),
        (ArrivalProcess(ArrivalKind.CLOSED_LOOP), "users"),
        (ArrivalProcess(rate_per_s=1, shape=(0.0, 0.0)), "shape"),
        (ArrivalProcess(rate_per_s=1, think_s=-1), "think_s"),
    ],
)
def test_impossible_traffic_is_refused(arrivals, field):
    with pytest.raises(InputError) as problem:
        sample(one_class(arrivals), 10)
    assert problem.value.field == field


def test_ten_million_requests_are_refused():
    with pytest.raises(InputError, match="5,000,000"):
        sample(one_class(ArrivalProcess(rate_per_s=1)), 10_000_000)


@pytest.mark.parametrize(
    "make", [lambda: FIXED(-5), lambda: FIXED(float("inf")), lambda: LengthDistribution.lognormal(mean=1, p50=9)]
)
def test_impossible_lengths_are_refused(make):
    with pytest.raises(InputError):
        make()


GOOD = """
id: mine
name: Mine
arrivals: {kind: poisson, rate_per_s: 2}
classes:
  - {name: a, input: {kind: fixed, tokens: 10}, output: {kind: lognormal, mean: 20, p50: 10}}
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert read_workload(path).arrivals.rate_per_s == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate_per_s: 2", "rate_per_s: -2", "rate_per_s"),
        ("rate_per_s: 2", "rate_per_s: 0", "rate_per_s"),
        ("rate_per_s: 2", "rate_per_s: .inf", "rate_per_s"),
        ("tokens: 10", "tokens: -10", "tokens"),
        ("mean: 20", "mean: 5", "mean length"),
        ("kind: poisson", "kind: sometimes", "kind"),
        ("classes:", "clases:", "classes"),
        ("arrivals: {", "arrivals: [{", "valid YAML"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path, old, new, message):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(DataError) as problem:
        read_workload(path)
    assert message in str(problem.value)
    assert "mine.yaml" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_unknown_workload_names_the_nearest():
    with pytest.raises(UnknownIdError, match="azure-code"):
        workload("azure-codes")


def test_an_overlay_adds_workloads(tmp_path):
    (tmp_path / "workloads.yaml").write_text("workloads:\n  - " + GOOD.strip().replace("\n", "\n    "))
    assert "mine" in load_workloads(tmp_path)
    assert DEFAULT_REASONING in load_workloads(tmp_path)


def test_errors_are_expected_failures():
    assert issubclass(InputError, FathomError)
    assert replace(workload("chat"), id="x").id == "x"


def test_a_ramp_goes_evenly_from_start_to_end():
    arrivals = ArrivalProcess.ramp(1.0, 9.0, 3600.0)
    assert arrivals.rate_per_s == 5
    assert arrivals.peak_rate_per_s == pytest.approx(9)
    request = RequestClass("all", LengthDistribution.fixed(10), LengthDistribution.fixed(10))
    times = sample(Workload("w", "w", arrivals, (request,)), 18_000, seed=3).arrival_s
    counts = np.histogram(times, bins=np.linspace(0, 3600, 11))[0] / 360
    np.testing.assert_allclose(counts[:9], 1.0 + 8 * (np.arange(9) + 0.5) / 10, rtol=0.12)

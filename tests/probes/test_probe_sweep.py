"""Sweeps go as far as memory, latency and throughput allow, and say what ended them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.cli import main
from advisor.commands import probe
from advisor.commands.probe_spec import DEFAULT_SWEEPS
from advisor.report.sweep_text import left_out_texts, sweep_texts
from probes import foresee as foreseeing
from probes.foresee import foresee
from probes.machine import detect
from probes.need import MARGIN, Need, need_of
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import Kind, LeftOut, ProbeSpec, SweepAxis, SweepLimit
from probes.sweep_values import SweepWatch, fitted

LARGE = "deepseek-r1-distill-qwen-7b"
GIB = 2**30


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(autouse=True)
def _store(monkeypatch, tmp_path):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    monkeypatch.setenv("LC_ALL", "C")


@pytest.fixture
def sweep(spec) -> ProbeSpec:
    return replace(spec, kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2, 4))


def a_hundred_each(spec: ProbeSpec) -> Need:
    return Need(100 * max(spec.sweep_values), 0, 0, runtime_bytes=0)


def with_memory(monkeypatch, allowed: int) -> None:
    monkeypatch.setattr(foreseeing, "available_bytes", lambda: allowed + GIB)  # one is left to the rest


def test_values_that_fit_are_kept_in_order_and_the_others_named(sweep):
    """100 bytes a sequence and a margin of 15 %: 460 bytes hold four."""
    found = fitted(replace(sweep, sweep_values=(8, 1, 4, 2, 2)), a_hundred_each, 460, 2)
    assert found.sweep_values == (1, 2, 4)
    assert found.left_out == (LeftOut(8, SweepLimit.MEMORY, int(800 * MARGIN), 460),)


def test_the_smallest_stays_to_be_refused_with_its_own_bytes(sweep):
    found = fitted(sweep, a_hundred_each, 50, 2)
    assert found.sweep_values == (1,)
    assert [one.value for one in found.left_out] == [2, 4]


def test_threads_that_the_machine_lacks_are_said_to_be_left_out(sweep):
    found = fitted(replace(sweep, sweep_axis=SweepAxis.THREADS, sweep_values=(1, 2, 4, 8)), a_hundred_each, 0, 2)
    assert found.sweep_values == (1, 2)
    assert [(one.value, one.allowed) for one in found.left_out] == [(4, 2), (8, 2)]
    assert left_out_texts(found, "en")[0] == "Left out: 4 threads; this machine has 2 hardware threads."
    only = fitted(replace(sweep, sweep_axis=SweepAxis.THREADS, sweep_values=(16,)), a_hundred_each, 0, 6)
    assert only.sweep_values == (6,)


def test_formats_that_do_not_fit_are_left_out(sweep):
    sizes = {"fp32": 400, "bf16": 200, "w4a16-g128": 60}
    several = replace(sweep, sweep_axis=SweepAxis.FORMAT, sweep_values=(), sweep_formats=tuple(sizes))
    found = fitted(several, lambda s: Need(sizes[s.format_id], 0, 0, runtime_bytes=0), 300, 2)
    assert found.sweep_formats == ("bf16", "w4a16-g128")
    assert found.left_out == (LeftOut(0, SweepLimit.MEMORY, int(400 * MARGIN), 300, "fp32"),)
    assert "fp32" in left_out_texts(found, "en")[0]


def test_a_batch_sweep_goes_on_to_32_by_default():
    assert DEFAULT_SWEEPS[SweepAxis.BATCH] == (1, 2, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("axis", "values"), [(SweepAxis.BATCH, (1, 2, 4, 8, 16, 32)), (SweepAxis.CONTEXT, (512, 65_536))]
)
def test_a_sweep_whose_smallest_value_fits_is_not_refused(catalog, monkeypatch, axis, values):
    """A 7B in 16 bit takes 15.2 GB; 32 sequences of 4k tokens, or one of 65k, take 7.5 or 3.8 GB more."""
    a = catalog.variant(LARGE).architecture
    spec = ProbeSpec(LARGE, "bf16", a, kind=Kind.SWEEP, prompt_tokens=(4096,), sweep_axis=axis, sweep_values=values)
    least = int(need_of(replace(spec, sweep_values=values[:1])).total_bytes * MARGIN)
    with_memory(monkeypatch, least + GIB)
    found = foresee(spec, detect(), catalog)
    assert found.refused is None
    assert found.runs.sweep_values[0] == values[0]
    assert found.runs.sweep_values + tuple(one.value for one in found.runs.left_out) == values
    assert found.need.total_bytes * MARGIN <= least + GIB < found.runs.left_out[0].needed
    assert found.prediction.peak_bytes.low < need_of(replace(spec, sweep_values=values[:1])).total_bytes
    with_memory(monkeypatch, least - 1)
    assert foresee(spec, detect(), catalog).refused == (least, least - 1)


def test_latency_throughput_and_memory_end_a_sweep(sweep):
    watch = SweepWatch(replace(sweep, tpot_limit_ms=200.0))
    assert watch.stop(1, 100.0, 10.0) is None
    assert watch.stop(2, 110.0, 18.0) is None
    slow = watch.stop(4, 210.0, 19.0)
    assert (slow.limit, slow.value, slow.figure, slow.allowed) == (SweepLimit.LATENCY, 4, 210.0, 200.0)
    free = SweepWatch(sweep)
    assert free.stop(1, 100.0, 10.0) is None
    assert free.stop(2, 205.0, 9.75) is None  # within 3 % of the best
    flat = free.stop(4, 420.0, 9.5)
    assert (flat.limit, flat.value, flat.figure, flat.allowed) == (SweepLimit.THROUGHPUT, 4, 9.5, 10.0)
    beyond = (LeftOut(8, SweepLimit.MEMORY, 30, 20), LeftOut(16, SweepLimit.MEMORY, 50, 20))
    left = SweepWatch(replace(sweep, left_out=beyond))
    left.stop(4, 1.0, 1.0)
    assert (left.end().limit, left.end().value, left.end().figure) == (SweepLimit.MEMORY, 8, 30)
    free.stop(2, 1.0, 99.0)
    assert (free.end().limit, free.end().value) == (SweepLimit.DONE, 2)


def test_depth_slows_but_does_not_end_for_throughput(sweep):
    watch = SweepWatch(replace(sweep, sweep_axis=SweepAxis.CONTEXT))
    assert watch.stop(512, 100.0, 10.0) is None
    assert watch.stop(8192, 300.0, 3.3) is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("axis", list(SweepAxis))
def test_every_end_has_a_sentence(sweep, result, language, axis):
    spec = replace(sweep, sweep_axis=axis, left_out=(LeftOut(8, SweepLimit.MEMORY, 30 * 10**9, 20 * 10**9),))
    if axis is SweepAxis.FORMAT:
        spec = replace(spec, left_out=(LeftOut(0, SweepLimit.MEMORY, 30 * 10**9, 20 * 10**9, "fp32"),))
    end = SweepWatch(spec).end()
    (text,) = sweep_texts(result(spec=spec, sweep_end=end), language)
    assert "30.0 GB" in text
    assert "20.0 GB" in text
    for limit in (SweepLimit.LATENCY, SweepLimit.THROUGHPUT, SweepLimit.DONE, SweepLimit.THREADS):
        texts = sweep_texts(result(spec=spec, sweep_end=replace(end, limit=limit, value=4)), language)
        assert len(texts) == 2  # and what memory left out
    assert sweep_texts(result(), language) == []


@pytest.mark.parametrize("changes", [{"tpot_limit_ms": 0.0}, {"tpot_limit_ms": float("inf")}, {"sweep_values": (0, 1)}])
def test_impossible_sweeps_are_refused(sweep, changes):
    with pytest.raises(InputError):
        replace(sweep, **changes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-tpot-ms", "100"], "--sweep"),
        (["--sweep", "batch", "--max-tpot-ms", "0"], "tpot limit"),
        (["--sweep", "batch", "--scenario", "no-such"], "no-such"),
    ],
)
def test_bad_limits_are_one_line(capsys, words, message):
    assert main(["probe", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


@pytest.mark.probe
def test_a_slow_token_ends_a_real_sweep(sweep):
    found = ProbeProcess(replace(sweep, tpot_limit_ms=1e-3), Identity("p1", "f1", "box")).result()
    assert found.state is State.DONE, found.error
    assert [p.at["batch"] for p in found.points if p.name == "decode"] == [1]
    assert (found.sweep_end.limit, found.sweep_end.value) == (SweepLimit.LATENCY, 1)


@pytest.mark.probe
def test_a_sweep_from_the_command_line_stops_where_memory_does(capsys, monkeypatch, tiny):
    """8 MB a sequence: a thousand of them do not fit beside the rest in one gigabyte."""
    catalog = load_catalog()
    small = replace(catalog.variant("deepseek-r1-distill-qwen-1.5b"), id="tiny", architecture=tiny)
    monkeypatch.setattr(probe, "load_catalog", lambda: replace(catalog, variants={"tiny": small}))
    with_memory(monkeypatch, GIB)
    words = ["probe", "tiny", "--sweep", "batch", "--values", "1", "1000", "--prompt", "4000", "--output", "4"]
    assert main([*words, "--repeats", "1", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["sweep_end"]["limit"], body["sweep_end"]["value"]) == ("memory", 1000)
    assert body["sweep_end"]["figure"] > body["sweep_end"]["allowed"]
    assert [one["value"] for one in body["left_out"]] == [1000]
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main([*words, "--repeats", "1"]) == 0
    assert "扫描止于内存：1000 个并发序列" in capsys.readouterr().out

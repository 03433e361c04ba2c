"""The best reading of memory in a run: every share of bandwidth is a share of that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from probes.bench import Canary, ProductCanary, Reading, read_bandwidth  # noqa: E402
from probes.engines.factory import make_engine  # noqa: E402
from probes.kinds.full import load, run_full  # noqa: E402
from probes.kinds.parts import measure_parts, parts_of  # noqa: E402
from probes.kinds.session import Session  # noqa: E402
from probes.layers import LayerCount  # noqa: E402
from probes.measure import DecodeRounds, Reporter, decode_rounds, rounds_of  # noqa: E402
from probes.spec import ProbeSpec  # noqa: E402
from tests.jobs.test_registry import TINY  # noqa: E402

CPU = torch.device("cpu")


def quiet_reporter() -> Reporter:
    return Reporter(lambda *_: None, lambda _: None)


def test_the_canary_takes_the_best_reader_and_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    canary = Canary(CPU, 2**20, threads=1)
    seconds = {"slow": 0.1, "fast": 0.02, "middling": 0.05}
    canary._readers = list(seconds)
    canary._seconds = seconds.__getitem__
    assert canary.read(0.0) == Reading(canary._bytes / 0.02, canary._bytes / 0.02)
    assert canary._readers == ["fast"]
    assert torch.get_num_threads() == before


def test_the_median_pass_is_the_usual_speed_and_a_moment_the_best():
    """As with steps: the best of a few passes is some hundredths faster than what memory gives on average."""
    canary = Canary(CPU, 2**20)
    seconds = iter([0.02, 0.05, 0.01, 0.025, 0.04])
    canary._readers, canary._seconds = ["only"], lambda _: next(seconds)
    assert canary.read(0.0) == Reading(canary._bytes / 0.02, canary._bytes / 0.01)


def test_products_are_read_with_the_threads_of_the_canary_and_leave_those_of_the_model():
    before, seen = torch.get_num_threads(), []
    canary = ProductCanary(threads=before + 1, size=64)
    multiply = torch.mm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "mm", lambda *a, **k: (seen.append(torch.get_num_threads()), multiply(*a, **k))[1])
        rate = canary.read(0.0)
    assert seen == [before + 1] * 2
    assert torch.get_num_threads() == before
    assert rate > 2 * 64**3  # operations per second: less than a second for one product
    assert torch.equal(canary._c, torch.full((64, 64), 64.0))


def test_a_run_reads_products_around_its_prompts_and_rounds():
    spec = ProbeSpec("tiny", "bf16", TINY, prompt_tokens=(4, 8), output_tokens=4, repeats=2)
    session = Session(spec, quiet_reporter())
    products = run_full(session).conditions.product_ops_per_s
    assert products.n == 3 + len(session.canaries)  # before, between and after two prompts; with each of memory
    assert 0 < products.low <= products.value <= products.high


def test_every_reader_reads_the_whole_buffer():
    """256 MiB of ones, as float32: the sum tells what was read."""
    canary = Canary(CPU, 2**20)
    assert [float(total) for total in canary._readers[0]()] == [canary._bytes // 4]
    numba_read = pytest.importorskip("probes.engines.numba_read")
    pieces = [np.arange(4096, dtype=np.int64), np.arange(512, dtype=np.int64), np.arange(8192, dtype=np.int64)]
    sums = np.zeros(2, np.int64)
    numba_read.read_words(pieces[2], numba_read.table_of(pieces), sums)
    assert sums.sum() == sum(piece.sum() for piece in pieces)
    assert read_bandwidth(CPU, 2**20, repeats=1).value > 1e8


def test_no_share_exceeds_one(monkeypatch):
    """What the model reached is a reading of memory, too; what stays in a cache is none."""
    session = Session(ProbeSpec("tiny", "bf16", TINY), quiet_reporter())
    session.canaries = [10e9, 12e9]
    session._benchmarked = [11e9]
    assert session.best_read().value == 12e9
    assert session.best_read().low == 10e9
    rounds = DecodeRounds((0.1,), (0.1, 0.125), (), 1_500_000_000)
    session.reached(max(rounds.read_rates))
    share = rounds.mbu(session.best_read().value)
    assert share.high == 1.0
    assert share.low == pytest.approx(0.8)
    assert rounds.mbu(0.0) is None


def test_each_round_is_set_against_the_readings_beside_it():
    """Memory that fell to half: the model fell with it, and its share stayed."""
    rounds = DecodeRounds((0.1,), (0.1, 0.2), (20e9, 20e9, 4e9), 1_200_000_000)
    share = rounds.mbu(25e9)
    assert (share.low, share.high) == (pytest.approx(0.5), pytest.approx(0.6))  # 6 of (20 + 4) / 2; 12 of 20


@pytest.mark.parametrize(
    ("step_s", "output", "expected"),
    [(0.002, 32, (3, 32)), (0.15, 32, (8, 13)), (0.65, 32, (8, 3)), (6.0, 32, (8, 3)), (0.15, 4, (3, 8))],
)
def test_rounds_are_short_and_as_many_as_their_steps_need(step_s, output, expected):
    """Three times `output` steps, at least eight and at most five seconds each, in rounds of two seconds."""
    spec = ProbeSpec("tiny", "bf16", TINY, output_tokens=output, repeats=3)
    assert rounds_of(spec, step_s) == expected


class SlowEngine:
    """A second a step."""

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        return [1.0] * steps

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        return 1_000


@pytest.mark.parametrize(("times", "rounds"), [(1, 8), (4, 32)])
def test_rounds_are_counted_and_read_beside(times, rounds):
    """32 steps of a second three times: eight rounds of three; four times as many where memory is shared."""
    spec, told = ProbeSpec("tiny", "bf16", TINY, output_tokens=32, repeats=3), []
    found = decode_rounds(SlowEngine(), spec, 64, lambda: 1e9, times=times, progress=lambda *at: told.append(at))
    assert found.round_step_s == (1.0,) * rounds
    assert len(found.canaries) == rounds + 1  # before each and after the last
    assert told == [(done, rounds) for done in range(rounds)]


@pytest.mark.parametrize(("hypervisor", "rounds"), [("", 2), ("kvm", 8)])
def test_a_virtual_machine_decodes_for_longer(monkeypatch, hypervisor, rounds):
    spec = ProbeSpec("tiny", "bf16", TINY, prompt_tokens=(4,), output_tokens=8, repeats=2)
    session = Session(spec, quiet_reporter())
    session.cpu = replace(session.cpu, hypervisor=hypervisor)
    run_full(session)
    assert len(session.canaries) == rounds + 1


def test_a_run_of_several_layers_measures_parts_of_itself():
    deep = replace(TINY, num_layers=8)
    session = Session(ProbeSpec("deep", "bf16", deep, prompt_tokens=(8,), output_tokens=4, repeats=1), quiet_reporter())
    session.cache_bytes = 1  # else so small a model is only in the cache
    result = run_full(session)
    parts = [p for p in result.points if p.name == "part"]
    assert [p.at["dense_layers"] for p in parts] == [1, 2]
    assert all(p.values["step_ms"].value > 0 for p in parts)
    assert result.mbu is not None
    assert 0 < result.mbu.value <= 1.0
    assert result.bandwidth_bytes_per_s.value >= max(session.canaries)


def test_attention_is_what_the_cache_adds_between_the_products(monkeypatch):
    """0.5 ms with an empty cache, 0.25 us a token more."""
    deep = replace(TINY, num_layers=8)
    session = Session(ProbeSpec("deep", "int8", deep, prompt_tokens=(64,)), quiet_reporter())
    engine = make_engine(session.spec, slots=1, tokens=128)
    load(session, engine)
    seen = []
    decode = engine.decode
    monkeypatch.setattr(engine, "decode", lambda tokens, *rest: (seen.append(tokens), decode(tokens, *rest))[1])
    monkeypatch.setattr(type(engine), "between_s", property(lambda _: 5e-4 + 0.25e-6 * seen[-1]))
    measure_parts(session, engine, 64)
    (point,) = [p for p in session.reporter.points if p.name == "attention"]
    assert point.at == {"dense_layers": 2, "moe_layers": 0, "context_tokens": 64}
    assert point.values["attention_ms"].value == pytest.approx(0.25e-3 * 63)
    monkeypatch.setattr(type(engine), "between_s", property(lambda _: None))  # layers one by one: nothing to tell
    session.reporter.points.clear()
    measure_parts(session, engine, 64)
    assert not [p for p in session.reporter.points if p.name == "attention"]


@pytest.mark.parametrize(("differences", "value"), [((-0.1, 0.2, 0.3), 0.2), ((-0.1, -0.2, 0.3), None)])
def test_attention_of_few_tokens_may_be_less_than_the_rest_varies_by(monkeypatch, differences, value):
    """A figure below zero would keep the whole run out of the store."""
    from probes.kinds import parts

    deep = replace(TINY, num_layers=8)
    session = Session(ProbeSpec("deep", "int8", deep, prompt_tokens=(8,)), quiet_reporter())
    engine = make_engine(session.spec, slots=1, tokens=16)
    load(session, engine)
    readings = iter([ms for difference in differences for ms in (1e-3, 1e-3 + difference * 1e-3)])
    monkeypatch.setattr(parts, "MOST_ROUNDS", 3)
    monkeypatch.setattr(type(engine), "between_s", property(lambda _: next(readings)))
    measure_parts(session, engine, 8)
    found = [p.values["attention_ms"] for p in session.reporter.points if p.name == "attention"]
    if value is None:
        assert found == []
        return
    assert found[0].value == pytest.approx(value)
    assert found[0].low == 0


def test_the_time_between_products_grows_with_the_cache_and_is_part_of_the_step():
    pytest.importorskip("numba")
    from probes.engines.numba_bits import HAS_TICKS

    if not HAS_TICKS:
        pytest.skip("programs may not read this processor's ticks")
    engine = make_engine(ProbeSpec("tiny", "int8", TINY), slots=1, tokens=4096)
    engine.load()
    engine.decoder._tuner.choose = lambda _key, ways: "whole" if "whole" in ways else next(iter(ways))

    def best(tokens: int) -> float:
        return min((engine.decode(tokens, 1, 1), engine.between_s)[1] for _ in range(20))

    shallow, deep = best(1), best(4000)
    assert 0 < shallow < deep
    (step,) = engine.decode(4000, 1, 1)
    assert engine.between_s < step
    engine.decoder._tuner.choose = lambda _key, ways: "pieces" if "pieces" in ways else next(iter(ways))
    engine.decode(1, 1, 1)
    assert engine.between_s is None


def test_parts_of_models():
    assert parts_of(LayerCount(28, 0)) == (LayerCount(1, 0), LayerCount(7, 0))
    assert parts_of(LayerCount(1, 26)) == (LayerCount(1, 1), LayerCount(1, 6))
    assert parts_of(LayerCount(0, 24)) == (LayerCount(0, 1), LayerCount(0, 6))
    assert parts_of(LayerCount(2, 0)) == ()


def test_the_weights_themselves_are_the_memory_that_is_read(monkeypatch):
    """Every matrix once, whole."""
    from probes.engines import numba_read, torch_engine

    monkeypatch.setattr(torch_engine, "PLAIN_BYTES", 1)
    engine = torch_engine.TorchEngine(ProbeSpec("tiny", "int8", TINY), tokens=32)
    engine.load()
    read = []
    monkeypatch.setattr(numba_read, "read_words", lambda _longest, table, _sums: read.extend(8 * table[:, 1]))
    canary = Canary(CPU, 2**20, memory=engine.memory())
    for reader in canary._readers:
        reader()
    stored = [t.numel() * t.element_size() for t in engine.decoder.matrices()]
    assert read == [size // 8 * 8 for size in stored]
    assert canary._bytes == sum(read)
    linears = [m for layer in engine.decoder.layers for m in (*layer.attention.linears, *layer.feed_forward.linears)]
    biases = sum(m.bias.numel() * m.bias.element_size() for m in linears if m.bias is not None)
    assert sum(stored) == sum(m.bytes for m in (*linears, engine.decoder.head)) - biases


@pytest.mark.parametrize(("cache_bytes", "best"), [(1, 1e9), (2**40, 1e15)])
def test_shares_are_of_the_memory_that_holds_the_weights(monkeypatch, cache_bytes, best):
    """Another buffer may lie in faster memory. What may stay in a cache is no memory, and then that buffer counts."""
    from probes.engines import torch_engine

    monkeypatch.setattr(torch_engine, "PLAIN_BYTES", 1)
    spec = ProbeSpec("tiny", "bf16", TINY)
    session = Session(spec, quiet_reporter())
    session._benchmarked, session.cache_bytes = [1e15], cache_bytes
    load(session, make_engine(spec, slots=1, tokens=32))
    session.canaries = [1e9]
    assert session.best_read().value == best
    session.reads([])
    assert session.best_read().value == 1e15

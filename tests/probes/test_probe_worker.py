"""The real worker with a tiny model: torch runs in the child only."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from probes import worker
from probes.codec import encode
from probes.need import need_of
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import EndpointTarget, Kind, LoadTarget, ProbeSpec
from probes.traffic import arrivals

pytestmark = pytest.mark.probe


def measure(spec: ProbeSpec):
    return ProbeProcess(spec, Identity("p1", "f1", "box")).result()


def test_a_whole_run_measures_everything(spec):
    result = measure(spec)
    assert result.state is State.DONE, result.error
    assert {"load_s", "peak_bytes", "prefill_tok_s", "ttft_ms", "decode_tok_s", "mbu", "bandwidth_bytes_per_s"} == set(
        result.measured()
    )
    assert result.tensor_bytes == need_of(spec).tensor_bytes
    assert result.read_bytes_per_token is not None
    assert result.read_bytes_per_token < result.tensor_bytes  # one row of the embedding is read, not all
    assert "fits_in_cache" in result.flags
    assert {p.name for p in result.points} == {"bandwidth", "gemm", "load", "prefill", "decode"}
    assert result.peak_bytes is not None
    assert result.peak_bytes < 2 * 2**30  # the child's own, not what the benchmarks before it took
    assert "torch" in result.versions


def test_memory_guard_ends_a_probe_that_takes_too_much(spec, tiny):
    big = replace(tiny, hidden_size=2048, intermediate_size=32_768, num_layers=20)  # 8 GB in bf16
    result = measure(replace(spec, architecture=big, memory_limit_bytes=900 * 2**20))
    assert result.state is State.OUT_OF_MEMORY, result.error


def test_a_probe_on_an_accelerator_leaves_the_machine_its_memory(spec, monkeypatch):
    """Its model is on the device, and no limit was given; the watch has that of the machine."""
    limits = []
    monkeypatch.setattr(worker, "watch_memory", lambda limit, _: limits.append(limit))
    monkeypatch.setattr(worker, "memory_limit", lambda: 7 * 2**30)
    monkeypatch.setattr(worker, "_kind", lambda kind: lambda spec, reporter: None)
    channel = worker._Channel(io.StringIO())
    worker._measure(replace(spec, device="cuda:0"), channel)
    assert limits == [7 * 2**30]
    worker._measure(replace(spec, endpoint=EndpointTarget("http://127.0.0.1:9"), kind=Kind.MACHINE), channel)
    assert len(limits) == 1  # what a client takes of a machine is not worth a watch


def test_unknown_device_is_one_line(spec):
    result = measure(replace(spec, device="cuda:7"))
    assert result.state is State.FAILED
    assert "cuda:7" in result.error
    assert "\n" not in result.error


def test_closing_standard_input_ends_the_worker(spec):
    """What happens when the server dies: no orphan."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "probes.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps(encode(replace(spec, output_tokens=60_000, repeats=50))) + "\n")
    worker.stdin.flush()
    worker.stdout.readline()
    worker.stdin.close()
    assert worker.wait(timeout=20) == 0


FORMATS = """
import json, sys
from dataclasses import replace
from probes.codec import decode
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.traffic import arrivals
from probes.need import need_of
from probes.engines.torch_engine import TorchEngine, set_threads
set_threads(1)
spec = decode(ProbeSpec, json.loads(sys.argv[1]))
for name in sys.argv[2:]:
    one = replace(spec, format_id=name)
    engine = TorchEngine(one, slots=3, tokens=40)
    engine.load()
    engine.prefill(20)
    engine.decode(20, 3, 2)
    engine.step({0: 5, 2: 9})
    print(name, engine.tensor_bytes - need_of(one).tensor_bytes, engine.read_bytes(0, 1))
"""


def test_every_cpu_format_runs_and_has_the_bytes_it_should(spec):
    names = ["fp32", "bf16", "fp16", "int8-w8a8", "int8-w8a16", "w4a16-g128", "bf16-attn-int8-ffn"]
    text = json.dumps(encode(spec))
    done = subprocess.run([sys.executable, "-c", FORMATS, text, *names], capture_output=True, text=True, check=False)
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert list(rows) == names, done.stderr[-800:]
    assert {name: row[0] for name, row in rows.items()} == dict.fromkeys(names, "0")
    read = {name: int(row[1]) for name, row in rows.items()}
    assert read["fp32"] > read["bf16"] > read["bf16-attn-int8-ffn"] > read["int8-w8a8"] > read["w4a16-g128"]


NUMERICS = """
import torch
from advisor.catalog.records import Architecture, AttentionKind, Indexer
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.traffic import arrivals
from probes.engines.torch_engine import TorchEngine
torch.set_num_threads(1)
gqa = dict(hidden_size=64, num_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, vocab_size=97, intermediate_size=96,
    qk_norm=True)
mla = dict(hidden_size=64, num_layers=2, n_heads=4, n_kv_heads=4, head_dim=24, vocab_size=97, intermediate_size=96,
    q_lora_rank=32, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16)
dsa = dict(mla, indexer=Indexer(n_heads=16, head_dim=8, top_k=4))
for kind, dims in ((AttentionKind.GQA, gqa), (AttentionKind.MLA, mla), (AttentionKind.MLA_DSA, dsa)):
    engine = TorchEngine(ProbeSpec("t", "fp32", Architecture(attention=kind, **dims)), slots=3, tokens=32)
    engine.load()
    d = engine.decoder
    ids = torch.randint(97, (12,), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = d.prefill(ids, 0)
        d.prefill(ids[:11], 0)
        step = d.decode(ids[11:], d.positions({0: 11}))[0]
        d.prefill(ids[:11], 2)
        d.prefill(ids[:5], 1)
        ragged = d.decode(torch.tensor([ids[5], ids[11]]), d.positions({1: 5, 2: 11}))
        short = d.prefill(ids[:6], 1)
    print(*(float((x - y).abs().max()) for x, y in ((whole, step), (whole, ragged[1]), (short, ragged[0]))))
"""


def test_decode_equals_prefill_alone_batched_and_ragged():
    """The same tokens give the same logits whichever way they are computed; grouped queries and absorbed MLA."""
    done = subprocess.run([sys.executable, "-c", NUMERICS], capture_output=True, text=True, check=False)
    rows = [[float(x) for x in line.split()] for line in done.stdout.splitlines()]
    assert len(rows) == 3, done.stderr[-800:]
    assert max(max(row) for row in rows) < 1e-5


def test_a_slice_says_what_the_whole_takes(spec, tiny):
    """Eight equal layers measured by one and two of them: bytes of the whole are exact, its speed has an interval."""
    deep = replace(tiny, num_layers=8)
    result = measure(replace(spec, architecture=deep, kind=Kind.SLICE, slice_layers=(1, 2), repeats=1))
    assert result.state is State.DONE, result.error
    assert "extrapolated" in result.flags
    assert result.tensor_bytes == need_of(replace(spec, architecture=replace(deep, num_layers=2))).tensor_bytes
    assert {(p.at["dense_layers"], p.at["moe_layers"]) for p in result.points if p.name == "decode"} == {(1, 0), (2, 0)}
    whole = result.figures["full_peak_bytes"].value
    assert whole - (result.peak_bytes or 0) > 0
    decode = result.figures["full_decode_tok_s"]
    assert 0 < decode.low < decode.value < decode.high
    assert decode == result.decode_tok_s


def test_sustained_load_reports_windows_and_finishes_every_request(spec):
    load = LoadTarget(requests_per_s=4.0, duration_s=4.0, slots=3)  # waits as long again for the last of them
    result = measure(replace(spec, kind=Kind.SUSTAINED, load=load))
    assert result.state is State.DONE, result.error
    expected = len(list(arrivals(replace(spec, load=load), load)))
    assert result.figures["finished_requests"].value == expected
    assert result.figures["p50_ttft_ms"].value <= result.figures["p95_ttft_ms"].value
    assert {p.name for p in result.points} >= {"window", "tally", "histogram"}

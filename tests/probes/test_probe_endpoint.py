"""Endpoint probes against servers that behave, hang, lie and die."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from advisor.catalog.errors import InputError
from probes.kinds.endpoint import run_endpoint
from probes.measure import Reporter
from probes.openai_client import EndpointClient, EndpointError, parse_metrics
from probes.process import Identity, ProbeProcess
from probes.result import Point, State
from probes.resume import totals
from probes.server_metrics import gauges, server_figures, server_flags
from probes.spec import EndpointTarget, EngineName, Kind, LoadTarget, ProbeSpec, SweepAxis, SweepLimit
from probes.traffic import arrivals

TOKEN = {"choices": [{"delta": {"content": "x"}}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 4}}


def event(body: object) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


GOOD = [event({"choices": [{"delta": {"role": "assistant"}}]}), *[event(TOKEN)] * 4, event(USAGE), b"data: [DONE]\n\n"]
Script = Callable[[BaseHTTPRequestHandler, dict[str, object]], None]


def stream(*pieces: bytes) -> Script:
    def answer(handler: BaseHTTPRequestHandler, _: dict[str, object]) -> None:
        handler.send_response(200)
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()

    return answer


def refuse(status: int, text: str) -> Script:
    def answer(handler: BaseHTTPRequestHandler, _: dict[str, object]) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


@pytest.fixture
def serve() -> Iterator[Callable[[Script], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(script: Script) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (
                    '{"data": [{"id": "m"}]}' if self.path.endswith("/models") else "vllm:generation_tokens_total 12\n"
                )
                refuse(200, body)(self, {})

            def do_POST(self) -> None:
                script(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def probe(url: str, **changes: object) -> ProbeSpec:
    target = EndpointTarget(url, timeout_s=1.0)
    base = ProbeSpec(
        "m", "bf16", engine=EngineName.ENDPOINT, prompt_tokens=(16,), output_tokens=4, repeats=2, endpoint=target
    )
    return replace(base, **changes)


def run(spec: ProbeSpec):
    points: list[Point] = []
    return run_endpoint(spec, Reporter(lambda *_: None, points.append))


def test_a_server_that_behaves(serve):
    result = run(probe(serve(stream(*GOOD))))
    assert result.ttft_ms is not None
    assert result.decode_tok_s is not None
    assert result.ttft_ms.n == 2  # the warm-up is dropped
    assert result.versions == {"served_model": "m"}
    assert result.figures["server.vllm:generation_tokens_total"].value == 0.0  # no growth between the two readings
    assert result.points[0].at["prompt_tokens"] == 20  # what the server counted, not what we asked for


def test_fields_that_a_server_refuses_are_left_out(serve):
    seen: list[bool] = []

    def picky(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        seen.append("stream_options" in body)
        (refuse(400, "unknown field") if seen[-1] else stream(*GOOD))(handler, body)

    assert run(probe(serve(picky))).state is State.DONE
    assert seen == [True, False, False, False]


def hang(handler: BaseHTTPRequestHandler, _: dict[str, object]) -> None:
    handler.connection.settimeout(5)
    handler.connection.recv(1)  # until the client gives up


def die(handler: BaseHTTPRequestHandler, _: dict[str, object]) -> None:
    stream(*GOOD[:3])(handler, {})
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (hang, "sent nothing for 0.3 s"),
        (die, "stopped in the middle of the stream, after 2 tokens"),
        (stream(b"<html>login</html>\n"), "no event stream but '<html>"),
        (stream(b"data: {broken\n\n"), "not JSON"),
        (stream(b"data: [1]\n\n"), "not an object"),
        (stream(event({"error": {"message": "CUDA out of memory"}})), "CUDA out of memory"),
        (stream(b"data: [DONE]\n\n"), "without a token"),
        (stream(b"data: " + b"x" * 2**20), "more than an answer"),
        (refuse(500, "oops"), "answered 500"),
        (refuse(401, "no key"), "answered 401"),
    ],
)
def test_servers_that_misbehave_are_explained_in_one_line(serve, script, message):
    spec = probe(serve(script))
    spec = replace(spec, endpoint=replace(spec.endpoint, timeout_s=0.3))
    with pytest.raises(EndpointError, match="http://127") as caught:
        run(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match="cannot reach"):
        run(probe(f"127.0.0.1:{port}"))


def test_an_address_that_is_none():
    with pytest.raises(InputError):
        EndpointClient(EndpointTarget("ftp://x"))


def test_passwords_in_the_address_are_not_repeated():
    client = EndpointClient(EndpointTarget("http://user:secret@127.0.0.1:9"))
    with pytest.raises(EndpointError) as caught:
        client.connect()
    assert "secret" not in str(caught.value)


def test_concurrency_sweep(serve):
    result = run(probe(serve(stream(*GOOD)), kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 3)))
    assert [p.at["batch"] for p in result.points] == [1, 3]
    assert (result.sweep_end.limit, result.sweep_end.value) == (SweepLimit.DONE, 3)


def test_a_slow_token_ends_a_concurrency_sweep(serve):
    limited = probe(serve(stream(*GOOD)), kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 3))
    result = run(replace(limited, tpot_limit_ms=1e-6))
    assert [p.at["batch"] for p in result.points] == [1]
    assert (result.sweep_end.limit, result.sweep_end.value) == (SweepLimit.LATENCY, 1)


def test_sustained_load_counts_failures_and_goodput(serve):
    count = iter(range(1000))

    def flaky(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        (refuse(503, "busy") if next(count) % 4 == 3 else stream(*GOOD))(handler, body)

    load = LoadTarget(requests_per_s=40.0, duration_s=1.0)
    result = run(probe(serve(flaky), kind=Kind.SUSTAINED, load=load))
    finished, failed = (result.figures[f"{name}_requests"].value for name in ("finished", "failed"))
    assert finished + failed > 15
    assert failed > 0
    assert "requests_failed" in result.flags
    assert result.figures["p50_ttft_ms"].value <= result.figures["p99_ttft_ms"].value


def test_a_server_that_dies_under_sustained_load_costs_nothing_that_was_measured(serve):
    """It closes its socket with the tenth answer; the run goes on to its end and counts what is refused."""
    asked = iter(range(1000))

    def mortal(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        stream(*GOOD)(handler, body)
        if next(asked) == 9:
            handler.server.server_close()  # in its own thread: new connections are refused from here on

    load = LoadTarget(requests_per_s=20.0, duration_s=1.5)
    spec = probe(serve(mortal), kind=Kind.SUSTAINED, load=load)
    result = ProbeProcess(spec, Identity("p", "f", "m")).result()
    finished, failed = (result.figures[f"{name}_requests"].value for name in ("finished", "failed"))
    assert result.state is State.DONE
    assert finished + failed == len(list(arrivals(spec, load)))
    assert 10 <= finished <= 12  # one or two were accepted already
    assert failed > 5
    assert result.figures["p50_ttft_ms"].value > 0
    assert 0 < result.figures["last_answer_s"].value < 1.4
    assert set(result.flags) >= {"requests_failed", "server_silent"}
    assert "refused" in result.error
    assert totals(result.points, load)[0].finished == finished


def test_a_server_that_comes_back_is_not_called_silent(serve):
    count = iter(range(1000))

    def pausing(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        (refuse(503, "busy") if 5 <= next(count) < 12 else stream(*GOOD))(handler, body)

    load = LoadTarget(requests_per_s=40.0, duration_s=1.0)
    result = run(probe(serve(pausing), kind=Kind.SUSTAINED, load=load))
    assert result.figures["failed_requests"].value == 7
    assert "requests_failed" in result.flags
    assert "server_silent" not in result.flags
    assert "last_answer_s" not in result.figures


def test_a_slow_server_does_not_slow_the_arrivals(serve):
    def slow(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        time.sleep(0.3)
        stream(*GOOD)(handler, body)

    load = LoadTarget(requests_per_s=30.0, duration_s=1.0)
    start = time.monotonic()
    result = run(probe(serve(slow), kind=Kind.SUSTAINED, load=load))
    assert time.monotonic() - start < 3.0  # 30 requests one after the other would take 9 s
    assert result.figures["finished_requests"].value > 10


def test_the_worker_process_reports_an_endpoint_that_dies(serve):
    result = ProbeProcess(probe(serve(die)), Identity("p", "f", "m")).result()
    assert result.state is State.FAILED
    assert "stopped in the middle" in result.error


def test_metrics_text():
    text = '# HELP x\nr_total{a="1"} 2\nr_total{a="2"} 3\nlatency_bucket{le="1"} 9\n'
    text += 'broken\nnan_value x\nuse 0.5\nuse NaN\nq{x="1"} +Inf\n'
    assert parse_metrics(text) == {"r_total": 5.0, "use": 0.5}


def test_prompts_are_never_alike_and_have_the_length_asked_for(serve):
    """A server that counts 2.5 tokens per word is asked for fewer words; no two prompts share their beginning."""
    prompts: list[str] = []

    def counting(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        prompts.append(body["messages"][0]["content"])  # type: ignore[index]
        tokens = 8 + round(2.5 * len(prompts[-1].split()))
        usage = {"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 4}}
        stream(*[event(TOKEN)] * 4, event(usage), b"data: [DONE]\n\n")(handler, body)

    result = run(probe(serve(counting), prompt_tokens=(508,), repeats=4))
    assert result.points[0].at["prompt_tokens"] == pytest.approx(508, abs=3)
    assert len({prompt[:24] for prompt in prompts}) == len(prompts)


VLLM = {
    "vllm:generation_tokens_total": 100.0,
    "vllm:prompt_tokens_total": 1000.0,
    "vllm:prefix_cache_hits_total": 50.0,
    "vllm:time_to_first_token_seconds_sum": 2.0,
    "vllm:time_to_first_token_seconds_count": 4.0,
    "vllm:num_requests_running": 3.0,
    "vllm:generation_tokens_created": 1.7e9,
}


def test_a_servers_own_figures_stand_beside_ours():
    """Growth by hand: 60 tokens in 3 s; two first tokens in 0.5 s; 900 of 1000 prompt tokens from its cache."""
    after = {**VLLM, "vllm:generation_tokens_total": 160.0, "vllm:prompt_tokens_total": 2000.0,
             "vllm:prefix_cache_hits_total": 950.0, "vllm:time_to_first_token_seconds_sum": 2.5,
             "vllm:time_to_first_token_seconds_count": 6.0}  # fmt: skip
    found = server_figures(VLLM, after, 3.0)
    figures = {name: figure.value for name, figure in found.items() if name.startswith("server_")}
    counts = {"server_output_tokens": 60.0, "server_prompt_tokens": 1000.0, "server_cached_prompt_tokens": 900.0}
    assert figures == {**counts, "server_output_tok_s": 20.0, "server_ttft_ms": 250.0}
    assert "server.vllm:generation_tokens_created" not in found
    assert server_flags(found) == ("prompts_cached",)
    assert gauges(after)["server_running"].value == 3.0


def test_other_servers_have_other_names():
    llama = {"llamacpp:tokens_predicted_total": 40.0, "llamacpp:tokens_predicted_seconds_total": 8.0,
             "llamacpp:prompt_tokens_total": 300.0, "llamacpp:prompt_seconds_total": 3.0}  # fmt: skip
    found = server_figures({}, llama, 20.0)
    assert (found["server_decode_tok_s"].value, found["server_prefill_tok_s"].value) == (5.0, 100.0)
    assert server_figures({}, {"sglang:generation_tokens_total": 9.0}, 3.0)["server_output_tok_s"].value == 3.0
    assert server_figures({}, {"tgi_request_generated_tokens_sum": 9.0}, 3.0)["server_output_tok_s"].value == 3.0
    many = {f"a{i}_total": 1.0 for i in range(500)} | {"vllm:generation_tokens_total": 7.0}
    assert server_figures({}, many, 1.0)["server.vllm:generation_tokens_total"].value == 7.0  # never cut away
    assert server_figures({}, {}, 1.0) == {}
    restarted = server_figures({"vllm:generation_tokens_total": 900.0}, {"vllm:generation_tokens_total": 30.0}, 1.0)
    assert restarted["server_output_tokens"].value == 30.0

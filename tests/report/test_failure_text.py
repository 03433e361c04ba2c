"""Why a probe failed, in the reader's language, from its key and values; unknown ones keep their text."""

from __future__ import annotations

import sys
from string import Formatter

import pytest

from advisor.catalog.errors import DataError
from advisor.catalog.text import LANGUAGES, texts
from advisor.report.failure_text import failure_text
from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.failure import Failure, failure_of
from probes.openai_client import EndpointError
from probes.process import Identity, ProbeProcess
from probes.result import ProbeResult, State
from probes.spec import ProbeSpec

SPEC = ProbeSpec("tiny", "bf16")


def failed(failure: Failure | None, error: str = "stored text") -> ProbeResult:
    return ProbeResult("p", SPEC, State.FAILED, "f", "2026-11-26T00:00:00", 1.0, error=error, failure=failure)


@pytest.mark.parametrize(
    ("failure", "english", "chinese"),
    [
        (Failure("timed_out", {"seconds": "900"}), "ended after 900 s", "900 秒后被结束"),
        (Failure("over_limit", {"taken": "9 GiB", "limit": "8 GiB"}), "took 9 GiB, limit 8 GiB",
         "占用了 9 GiB，上限为 8 GiB"),
        (EndpointError("hangs", where="http://a:1", seconds="5").failure, "http://a:1 sent nothing for 5 s",
         "http://a:1 在 5 秒内没有发送任何内容"),
        (EndpointError("mid_stream", where="http://a:1", pieces="7").failure,
         "http://a:1 stopped in the middle of the stream, after 7 tokens",
         "http://a:1 在应答中途停止，此前输出了 7 个词元"),
        (failure_of(RuntimeError("CUDA error: unspecified launch failure\nmore"), "cuda:0"),
         "cuda:0 stopped answering, or refused a product: CUDA error: unspecified launch failure",
         "cuda:0 停止应答或拒绝了某次运算：CUDA error: unspecified launch failure"),
        (failure_of(EngineUnavailableError("no llama-bench"), "cpu"), "the engine cannot run here: no llama-bench",
         "该引擎无法在此运行：no llama-bench"),
        (failure_of(InvalidOutputError("logits are not finite"), ""), "logits are not finite", "输出的 logits"),
        (failure_of(ModuleNotFoundError("No module named 'onnx'", name="onnx"), ""),
         "the package onnx is not installed", "未安装软件包 onnx"),
        (failure_of(DataError("m.safetensors", "", "", "a complete safetensors file", "cut"), "cpu"),
         "m.safetensors: expected a complete safetensors file, got cut",
         "m.safetensors：应为完整的 safetensors 文件"),
    ],
)  # fmt: skip
def test_known_failures_are_worded_in_both_languages(failure: Failure, english: str, chinese: str) -> None:
    assert failure.text == english
    assert failure_text(failed(failure), "en") == english
    assert chinese in failure_text(failed(failure), "zh")


def test_unknown_failures_keep_their_text() -> None:
    for one in (None, Failure("of_a_newer_version"), Failure("timed_out", {"other": "1"})):
        assert failure_text(failed(one), "zh") == "stored text"
    assert failure_of(RuntimeError("shapes do not match"), "cpu") is None
    assert failure_of(ValueError("CUDA error"), "cuda:0") is None


def test_every_text_names_the_same_values_in_both_languages() -> None:
    keys = [key for key in texts("en") if key.startswith("probes.failure.")]
    assert len(keys) > 20
    for key in keys:
        names = [{name for _, name, _, _ in Formatter().parse(texts(language)[key]) if name} for language in LANGUAGES]
        assert names[0] == names[1], key


@pytest.mark.parametrize(
    ("program", "key", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed", "测量进程被信号 SIGKILL 结束"),
        ("import sys; print('boom', file=sys.stderr); sys.exit(3)", "exit", "测量进程以退出码 3 结束: boom"),
        ("import sys; sys.exit(137)", "memory_limit", "因内存上限被结束"),
    ],
)
def test_a_child_that_ends_is_explained_in_chinese(program: str, key: str, words: str) -> None:
    result = ProbeProcess(SPEC, Identity("p", "f", "box"), [sys.executable, "-c", program]).result()
    assert result.failure is not None
    assert result.failure.key == key
    assert failure_text(result, "zh") == words

"""The process of long calculations, in a thread: what it says before it can calculate, and its answer."""

from __future__ import annotations

import os
import pickle
import threading
from types import SimpleNamespace

import pytest

from advisor.jobs import worker
from advisor.jobs.messages import Told


def test_it_says_that_it_compiles_then_answers_and_ends_with_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, ended = threading.Event(), threading.Event()

    def end(code: int) -> None:
        ended.set()
        threading.Event().wait()  # the thread that listens ends here, as its process would

    monkeypatch.setattr(worker, "os", SimpleNamespace(_exit=end))
    monkeypatch.setattr(worker, "warm_up", lambda: compiled.wait(30))
    monkeypatch.setattr(worker, "perform", lambda request, tell: f"answer to {request}")
    (source_fd, ask_fd), (told_fd, sink_fd) = os.pipe(), os.pipe()
    source, sink = os.fdopen(source_fd, "rb"), os.fdopen(sink_fd, "wb")
    ask, told = os.fdopen(ask_fd, "wb"), os.fdopen(told_fd, "rb")
    threading.Thread(target=worker.main, args=(source, sink), daemon=True).start()

    def send(request: str) -> None:
        pickle.dump(request, ask)
        ask.flush()

    send("first")
    assert pickle.load(told) == Told(phase="compile")
    compiled.set()
    assert pickle.load(told) == Told(answer="answer to first")
    send("second")
    assert pickle.load(told) == Told(answer="answer to second")
    ask.close()
    assert ended.wait(10)  # the worker ends with its input

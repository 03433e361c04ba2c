"""The process of long calculations: requests on standard input, messages on standard output.

It ends as soon as standard input closes: then the app is gone or has cancelled.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from advisor.catalog.errors import FathomError
from advisor.jobs.load_work import perform
from advisor.jobs.messages import Request, Told
from advisor.serving.simulate import warm_up

__all__ = ["main"]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    ready, writing = threading.Event(), threading.Lock()

    def tell(told: Told) -> None:
        with writing:
            pickle.dump(told, sink)
            sink.flush()

    def came(request: Request) -> None:
        if not ready.is_set():  # half a minute where the kernels have changed and must be compiled
            tell(Told(phase="compile"))
        requests.put(request)

    threading.Thread(target=_listen, args=(source, came), daemon=True).start()
    warm_up()
    ready.set()
    while True:
        _answer(requests.get(), tell)


def _answer(request: Request, tell: Callable[[Told], None]) -> None:
    try:
        answer = perform(request, lambda share, phase, number: tell(Told(share, phase, number)))
    except FathomError as problem:
        tell(Told(problem=problem))
    else:
        tell(Told(answer=answer))


def _listen(source: BinaryIO, came: Callable[[Request], None]) -> None:
    """Until the other side closes, in the middle of a calculation too."""
    while True:
        try:
            came(pickle.load(source))  # noqa: S301  (written by our own parent)
        except (EOFError, pickle.UnpicklingError):
            os._exit(0)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)

"""The process of one long calculation: a request on standard input, messages on standard output.

It ends as soon as standard input closes: then the app is gone or has cancelled.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import BinaryIO

from advisor.catalog.errors import FathomError
from advisor.jobs.load_work import perform
from advisor.jobs.messages import Told

__all__ = ["main"]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    request = pickle.load(source)  # noqa: S301  (written by our own parent)
    threading.Thread(target=_leave_with_parent, args=(source,), daemon=True).start()

    def tell(told: Told) -> None:
        pickle.dump(told, sink)
        sink.flush()

    try:
        answer = perform(request, lambda share, phase, number: tell(Told(share, phase, number)))
    except FathomError as problem:
        tell(Told(problem=problem))
    else:
        tell(Told(answer=answer))


def _leave_with_parent(source: BinaryIO) -> None:
    source.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)

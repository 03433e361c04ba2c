"""One probe as a child process, seen from the side that starts it: events in, a complete result out, whatever
happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from advisor.catalog.errors import FathomError
from probes.codec import decode, encode
from probes.failure import Failure
from probes.memory_guard import OUT_OF_MEMORY_EXIT, remove_group, remove_stale_groups
from probes.result import Event, EventKind, Place, Point, Prediction, ProbeResult, State
from probes.spec import ProbeSpec

__all__ = ["Identity", "ProbeProcess", "new_probe_id"]

ROOT = Path(__file__).resolve().parents[1]
GRACE_S = 0.4  # between asking a child to end and ending it


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose measurement it is."""

    probe_id: str
    fingerprint: str
    machine_name: str
    predicted: Prediction = field(default_factory=Prediction)
    place: Place | None = None


def new_probe_id() -> str:
    return uuid.uuid4().hex[:12]


class ProbeProcess:
    """A running probe. `events()` is read by one thread; `cancel()` may be called from any."""

    def __init__(self, spec: ProbeSpec, identity: Identity, command: list[str] | None = None) -> None:
        self.spec, self.identity = spec, identity
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._start = time.monotonic()
        self._points: list[Point] = []
        self._outcome: Event | None = None
        self._reason: State | None = None  # why we ended it ourselves
        self._errors: deque[str] = deque(maxlen=50)
        remove_stale_groups()
        self._child = subprocess.Popen(
            command or [sys.executable, "-m", "probes.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", start_new_session=True, env=_environment(spec),
        )  # fmt: skip
        threading.Thread(target=self._drain_errors, daemon=True, name="probe-stderr").start()
        self._timer = threading.Timer(spec.timeout_s, self._end, [State.TIMED_OUT])
        self._timer.daemon = True
        self._timer.start()
        with contextlib.suppress(OSError):  # it died at once: its exit code tells
            self._write_spec()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start

    def events(self) -> Iterator[Event]:
        """Phases and points as they come. A line that is no event is kept for the error text."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            event = self._parse(line)
            if event is None:
                continue
            if event.point is not None:
                self._points.append(event.point)
            if event.kind in (EventKind.RESULT, EventKind.ERROR):
                self._outcome = event
            else:
                yield event

    def result(self) -> ProbeResult:
        """Wait for the end (drains events that nobody read) and complete the result: never raises, never loses
        points.
        """
        for _ in self.events():
            pass
        code = self._child.wait()
        self._timer.cancel()
        out_of_memory = remove_group(self.pid)
        if self._outcome is not None and self._outcome.result is not None and self._reason is None:
            return self._complete(self._outcome.result)
        state, told = self._explain(code, out_of_memory=out_of_memory)
        return self._complete(
            ProbeResult(
                id="",
                spec=self.spec,
                state=state,
                fingerprint="",
                started_at="",
                duration_s=self.elapsed_s,
                points=tuple(self._points),
                error=told.text if isinstance(told, Failure) else told,
                failure=told if isinstance(told, Failure) else None,
            )
        )

    def cancel(self) -> None:
        """End it within a second."""
        self._end(State.CANCELLED)

    def gone(self, seconds: float) -> bool:
        """Whether the process has ended, after waiting for at most so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        return self._child.poll() is not None

    def _end(self, reason: State) -> None:
        if self._child.poll() is not None:
            return
        self._reason = self._reason or reason
        self._signal(signal.SIGTERM)
        try:
            self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, number)
            else:
                self._child.send_signal(number)

    def _write_spec(self) -> None:
        """Standard input stays open: its end tells the child that we are gone."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(encode(self.spec)) + "\n")
        self._child.stdin.flush()

    def _parse(self, line: str) -> Event | None:
        try:
            return decode(Event, json.loads(line), where="probe output")
        except (ValueError, FathomError):
            self._errors.append(line.strip()[:300])
            return None

    def _drain_errors(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._errors.append(line.rstrip()[:300])

    def _explain(self, code: int, *, out_of_memory: bool) -> tuple[State, Failure | str]:
        """State and reason of a run without a result."""
        if self._reason is State.CANCELLED:
            return self._reason, ""
        if self._reason is not None:
            return self._reason, Failure("timed_out", {"seconds": f"{self.spec.timeout_s:g}"})
        if self._outcome is not None:
            return self._outcome.state or State.FAILED, self._outcome.failure or self._outcome.message
        if out_of_memory or code == OUT_OF_MEMORY_EXIT:
            return State.OUT_OF_MEMORY, Failure("memory_limit")
        last = self._errors[-1] if self._errors else ""
        how = ("killed", signal.Signals(-code).name) if code < 0 else ("exit", str(code))
        return State.FAILED, Failure(how[0], {"how": how[1], "last": f": {last}" if last else ""})

    def _complete(self, result: ProbeResult) -> ProbeResult:
        who = self.identity
        return replace(
            result, id=who.probe_id, spec=self.spec, fingerprint=who.fingerprint, machine_name=who.machine_name,
            predicted=who.predicted, started_at=self.started_at, place=who.place,
        )  # fmt: skip


def _environment(spec: ProbeSpec) -> dict[str, str]:
    """Threads must be set before libraries load; huge pages save a tenth of the time on Linux."""
    environment = os.environ.copy()
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    environment["THP_MEM_ALLOC_ENABLE"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    if spec.threads:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    else:
        environment.pop("OMP_NUM_THREADS", None)
    return environment

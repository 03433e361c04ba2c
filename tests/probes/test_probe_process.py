"""Faults of probe processes, with small stand-ins for the worker."""

from __future__ import annotations

import json
import time

import psutil

from probes.codec import encode
from probes.result import Event, EventKind, Measured, Point, State

POINT = json.dumps(encode(Event(EventKind.POINT, point=Point("decode", {}, {"decode_tok_s": Measured.of([2.0])}))))
SAY_POINT = f"import sys, time, os; sys.stdin.readline(); print({POINT!r}, flush=True);"


def test_killed_child_keeps_its_points_and_names_the_signal(child):
    process = child(SAY_POINT + "os.kill(os.getpid(), 9)")
    result = process.result()
    assert result.state is State.FAILED
    assert "SIGKILL" in result.error
    assert result.points[0].values["decode_tok_s"].value == 2.0
    assert (result.id, result.fingerprint, result.machine_name) == ("p1", "f1", "box")


def test_crash_text_is_the_last_line_of_standard_error(child):
    result = child(SAY_POINT + "raise ValueError('boom')").result()
    assert result.state is State.FAILED
    assert "boom" in result.error


def test_exit_of_the_memory_guard_is_out_of_memory(child):
    assert child(SAY_POINT + "os._exit(137)").result().state is State.OUT_OF_MEMORY


def test_a_child_that_takes_more_than_its_limit_is_ended_for_real(child):
    """The guard itself, on real memory: 8 MiB at a time until it strikes, far below what the machine has."""
    guard = (
        "from probes.memory_guard import watch_memory; from probes.system import own_resident_bytes;"
        "watch_memory(own_resident_bytes() + 64 * 2**20, lambda text: print(text, file=sys.stderr, flush=True));"
        "kept = [];\nwhile len(kept) < 200: kept.append(bytearray(b'x' * (8 * 2**20))); time.sleep(0.004)"
    )
    before = psutil.Process().memory_info().rss
    result = child(SAY_POINT + guard).result()
    assert (result.state, result.error) == (State.OUT_OF_MEMORY, "ended by the memory limit")
    assert len(result.points) == 1  # what was measured before is kept
    assert psutil.Process().memory_info().rss < before + 64 * 2**20  # and we did not suffer
    assert child(SAY_POINT + "os._exit(3)").result().state is State.FAILED  # the next one starts as ever


GREEDY_PROGRAM = """
import subprocess, sys, time
from probes.memory_guard import watch_memory
from probes.system import own_resident_bytes
watch_memory(own_resident_bytes() + 128 * 2**20, lambda text: print(text, file=sys.stderr, flush=True))
more = "import time; kept = [bytearray(b'x' * 2**20) for _ in range(300)]; time.sleep(30)"
nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {more!r}])"
program = subprocess.Popen([sys.executable, "-c", nested])
print("started", program.pid, file=sys.stderr, flush=True)
time.sleep(20)
"""


def test_programs_that_a_probe_starts_count_in_its_memory_and_end_with_it(child):
    """300 MiB in a program of a program, 128 allowed; the probe itself stays small."""
    process = child(SAY_POINT + GREEDY_PROGRAM)
    result = process.result()
    assert (result.state, result.error) == (State.OUT_OF_MEMORY, "ended by the memory limit")
    assert result.duration_s < 15
    time.sleep(0.1)
    mine = [p for p in psutil.process_iter(["cmdline"]) if "for _ in range(300)" in " ".join(p.info["cmdline"] or [])]
    assert mine == []


def test_reported_error_wins_over_the_exit_code(child):
    line = json.dumps(encode(Event(EventKind.ERROR, state=State.INVALID, message="logits are not finite")))
    result = child(f"import sys; sys.stdin.readline(); print({line!r}); sys.exit(1)").result()
    assert (result.state, result.error) == (State.INVALID, "logits are not finite")


def test_garbage_on_standard_output_is_survived(child):
    result = child("import sys; sys.stdin.readline(); print('{broken'); print('[1,2]'); print('\\x00\\xff')").result()
    assert result.state is State.FAILED


def test_a_flood_on_standard_error_does_not_block(child):
    flood = "import sys; sys.stdin.readline(); [sys.stderr.write('y' * 99 + '\\n') for _ in range(20000)]"
    assert child(flood).result().state is State.FAILED


def test_a_child_that_dies_before_reading_is_explained(child):
    assert child("import sys; sys.exit(3)").result().error.startswith("the probe process ended with exit code 3")


def test_cancel_ends_a_stubborn_child_within_a_second(child):
    process = child(
        SAY_POINT + "import signal; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    events = process.events()
    next(events)
    start = time.monotonic()
    process.cancel()
    result = process.result()
    assert time.monotonic() - start < 1.0
    assert result.state is State.CANCELLED
    assert len(result.points) == 1
    assert not psutil.pid_exists(process.pid)


def test_cancel_takes_grandchildren_along(child):
    process = child(
        SAY_POINT
        + "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, file=sys.stderr, flush=True); print("
        + repr(POINT)
        + ", flush=True); p.wait()"
    )
    events = process.events()
    next(events)
    next(events)
    grandchildren = psutil.Process(process.pid).children()
    process.cancel()
    gone, alive = psutil.wait_procs(grandchildren, timeout=2)
    assert gone
    assert not alive


def test_time_limit_is_a_result(child):
    result = child(SAY_POINT + "time.sleep(60)", timeout_s=1.0).result()
    assert result.state is State.TIMED_OUT
    assert "1 s" in result.error


def test_durations_ignore_jumps_of_the_wall_clock(child, monkeypatch):
    process = child("import sys; sys.stdin.readline()")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= process.result().duration_s < 30


def test_cancel_after_the_end_changes_nothing(child):
    process = child("import sys; sys.stdin.readline()")
    first = process.result()
    process.cancel()
    assert first.state is State.FAILED
    assert not psutil.pid_exists(process.pid)

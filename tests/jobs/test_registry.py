from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from advisor.catalog.errors import InputError
from advisor.catalog.records import Architecture, AttentionKind
from advisor.jobs.registry import ProbeRegistry, Snapshot
from probes.codec import encode
from probes.machine import detect
from probes.result import ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store

pytestmark = pytest.mark.probe

TINY = Architecture(
    attention=AttentionKind.GQA, hidden_size=128, num_layers=2, n_heads=2, n_kv_heads=1, head_dim=64, vocab_size=512,
    intermediate_size=256,
)  # fmt: skip
SHORT = ProbeSpec("tiny", "bf16", TINY, prompt_tokens=(8,), output_tokens=4, repeats=1, timeout_s=100.0)
LONG = replace(SHORT, output_tokens=60_000, repeats=100)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ProbeRegistry]:
    made = ProbeRegistry(Store(tmp_path / "probes.sqlite"), detect())
    yield made
    made.close()


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Longer than a probe may take, which then says why."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def final(registry: ProbeRegistry, probe_id: str) -> Snapshot:
    wait_for(lambda: registry.snapshot(probe_id).result is not None)
    return registry.snapshot(probe_id)


def test_a_result_is_stored_though_nobody_watches(registry):
    probe_id = registry.start(SHORT)
    assert [s.id for s in registry.running()] == [probe_id]
    done = final(registry, probe_id)
    assert done.state is State.DONE, done.result
    assert registry.running() == ()
    assert registry.store.get(probe_id) == done.result


def test_one_probe_per_device_and_cancel_within_a_second(registry):
    probe_id = registry.start(LONG)
    with pytest.raises(InputError, match="one at a time"):
        registry.start(SHORT)
    wait_for(lambda: registry.snapshot(probe_id).phase != "")
    start = time.monotonic()
    registry.cancel(probe_id)
    assert registry.snapshot(probe_id).state is State.CANCELLED  # seen at once, whatever the process still does
    assert registry.running() == ()
    done = final(registry, probe_id)
    assert time.monotonic() - start < 1.0
    assert done.state is State.CANCELLED
    assert registry.store.get(probe_id).state is State.CANCELLED
    registry.cancel(probe_id)  # again, and unknown ones: nothing happens
    registry.cancel("nobody")
    assert registry.snapshot("nobody") is None


def test_the_next_probe_may_start_while_a_cancelled_one_goes(registry):
    first = registry.start(LONG)
    wait_for(lambda: registry.snapshot(first).phase != "")
    registry.cancel(first)
    second = registry.start(SHORT)
    assert final(registry, second).state is State.DONE
    assert final(registry, first).state is State.CANCELLED


def test_a_probe_of_another_process_keeps_the_device(registry, tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from probes.device_lock import DeviceLock\n"
        "lock = DeviceLock(Path(sys.argv[1]), 'cpu')\n"
        "lock.take()\n"
        "print('taken', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "taken\n"
    with pytest.raises(InputError, match="one at a time"):
        registry.start(SHORT)
    other.kill()  # however it ends, the device is free again
    other.wait()
    assert final(registry, registry.start(SHORT)).state is State.DONE


def test_figures_stay_visible_when_the_store_fails(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    registry = ProbeRegistry(Store(blocker / "x.sqlite"), detect())
    done = final(registry, registry.start(SHORT))
    assert done.state is State.DONE
    assert done.result is not None
    assert "folder that can be written" in str(done.problem)


SERVER = """
import json, sys, threading
from pathlib import Path
from advisor.jobs.registry import ProbeRegistry
from probes.codec import decode
from probes.spec import ProbeSpec
from probes.store import Store
registry = ProbeRegistry(Store(Path(sys.argv[1])))
probe_id = registry.start(decode(ProbeSpec, json.loads(sys.argv[2])))
while not registry.snapshot(probe_id).points:
    threading.Event().wait(0.01)
print("measuring", flush=True)
threading.Event().wait()
"""
COMMAND = """
import json, sys
from pathlib import Path
from advisor.commands import probe
from probes.codec import decode
from probes.foresee import Foresight
from probes.machine import detect
from probes.need import Need
from probes.result import EventKind, Prediction
from probes.spec import ProbeSpec
from probes.store import Store
probe.show_progress = lambda event, _: event.kind is EventKind.POINT and print("measuring", flush=True)
spec, nothing = decode(ProbeSpec, json.loads(sys.argv[2])), Foresight(Prediction(), Need(0, 0, 0, 0), None)
probe._measure(spec, detect(), nothing, Store(Path(sys.argv[1])), keep=True)
"""


@pytest.mark.parametrize("program", [SERVER, COMMAND], ids=["app", "command"])
def test_a_killed_server_leaves_no_orphan_and_an_intact_history(tmp_path, program):
    """The cut run is in it, with what had been measured; nobody else takes it while it runs."""
    path = tmp_path / "probes.sqlite"
    Store(path).add(_done())
    arguments = [sys.executable, "-c", program, str(path), json.dumps(encode(LONG))]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "measuring\n"
    children = psutil.Process(server.pid).children(recursive=True)
    assert children
    ProbeRegistry(Store(path))
    assert [r.id for r in Store(path).history()] == ["before"]  # a second app leaves a living run alone
    server.send_signal(signal.SIGKILL)
    server.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    ProbeRegistry(Store(path))
    cut, before = Store(path).history()
    assert before.id == "before"
    assert (cut.state, cut.flags, cut.spec) == (State.INTERRUPTED, ("watcher_killed",), _limited(cut, LONG))
    assert cut.points[0].name == "bandwidth"
    assert cut.duration_s > 0
    assert cut.fingerprint == detect().fingerprint
    assert list(tmp_path.glob("*.running/*")) == []


def _limited(cut: ProbeResult, spec: ProbeSpec) -> ProbeSpec:
    """The app sets a limit on memory."""
    return replace(spec, memory_limit_bytes=cut.spec.memory_limit_bytes)


def _done() -> ProbeResult:
    return ProbeResult("before", SHORT, State.DONE, "f1", "2026-01-01T00:00:00+00:00", 1.0)

"""llama.cpp through a `llama-server` found on PATH, driven over the loopback address."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.engines.child import Memory, start_child
from probes.spec import ProbeSpec

__all__ = ["RunningServer", "find_llama_server", "llama_server"]

HOST = "127.0.0.1"
POLL_S = 0.1
END_S = 5.0
CELLS = 256
TEMPLATE_TOKENS = 64  # a chat template around the prompt


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers. `load_s`: from its start to its first healthy answer."""

    url: str
    load_s: float
    memory: Memory
    version: str


def find_llama_server() -> str:
    """Raises EngineUnavailableError."""
    found = shutil.which("llama-server")
    if found is None:
        raise EngineUnavailableError("llama.cpp's llama-server is not on PATH")
    return found


@contextlib.contextmanager
def llama_server(spec: ProbeSpec, model: Path, threads: int) -> Iterator[RunningServer]:
    """Runs while the block does. Raises InvalidOutputError when it ends before it answers, with its last line."""
    slots = _slots(spec)
    room = slots * (-(-(spec.context_tokens + TEMPLATE_TOKENS) // CELLS) * CELLS)
    port = _free_port()
    words = [find_llama_server(), "-m", str(model), "--host", HOST, "--port", str(port), "-t", str(threads)]
    words += ["-c", str(room), "-np", str(slots), "-ngl", "0" if spec.device == "cpu" else "99", "--metrics"]
    start = time.perf_counter()
    child, memory = start_child(words)
    tail: deque[str] = deque(maxlen=50)
    for stream in (child.stdout, child.stderr):
        threading.Thread(target=tail.extend, args=(stream,), daemon=True).start()
    try:
        _wait(child, port, start + spec.timeout_s, tail)
        yield RunningServer(f"http://{HOST}:{port}", time.perf_counter() - start, memory, _version())
    finally:
        _end(child)
        memory.settle()


def _slots(spec: ProbeSpec) -> int:
    slots = spec.batch if spec.load is None else max(spec.batch, spec.load.slots)
    return max(slots, *spec.sweep_values) if spec.sweep_axis == "batch" else slots


def _wait(child: subprocess.Popen[str], port: int, until: float, tail: deque[str]) -> None:
    while time.perf_counter() < until:
        if child.poll() is not None:
            time.sleep(POLL_S)  # its last lines arrive
            last = next((line.strip() for line in reversed(tail) if line.strip()), "")
            raise InvalidOutputError(f"llama-server ended with code {child.returncode}: {last[:200]}")
        if _is_healthy(port):
            return
        time.sleep(POLL_S)
    raise InvalidOutputError("llama-server did not become healthy in time")


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _version() -> str:
    """As it prints; "" when it does not."""
    try:
        words = [find_llama_server(), "--version"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in text if line.startswith("version")), "")


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

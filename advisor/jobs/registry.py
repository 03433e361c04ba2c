"""Probes that run in the background of this process: start, watch, cancel. Knows nothing of pages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from advisor.catalog.errors import FathomError, InputError
from probes.device_lock import DeviceLock
from probes.journal import Journal, recover, settle
from probes.machine import detect
from probes.machine_records import Machine
from probes.need import memory_limit
from probes.process import Identity, ProbeProcess, new_probe_id
from probes.result import Event, EventKind, Place, Point, Prediction, ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store

__all__ = ["ProbeRegistry", "Snapshot"]

LEAVING_S = 2.0  # a cancelled probe gives its memory back
KEPT_FINAL = 50  # finished probes that stay visible without the store
NOTHING_FORESEEN = Prediction()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A probe at one moment; never changes, a later moment is another snapshot.

    A cancelled one says so at once; its `result` follows when its process has gone and the store has it.
    """

    id: str
    spec: ProbeSpec
    state: State
    phase: str = ""  # key of a text: probes.phase.<phase>
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0
    predicted: Prediction = NOTHING_FORESEEN
    points: tuple[Point, ...] = ()
    result: ProbeResult | None = None
    problem: FathomError | None = None  # why the store did not take the result


class ProbeRegistry:
    """One per process (the app keeps it in `st.cache_resource`). Results go to the store even when nobody watches.

    What an earlier process was watching when it was killed is stored at the start.
    """

    def __init__(self, store: Store | None = None, machine: Machine | None = None) -> None:
        self.store = store or Store()
        recover(self.store)
        self._machine = machine
        self._lock = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}
        self._processes: dict[str, ProbeProcess] = {}
        self._locks: dict[str, DeviceLock] = {}

    def start(
        self, spec: ProbeSpec, predicted: Prediction = NOTHING_FORESEEN, place: Place | None = None
    ) -> str:
        """Begin a probe and return its id at once. Raises InputError when one already runs on the same device, here or
        in another process with the same history.

        A CPU probe without a memory limit gets the one that leaves the machine its share.
        """
        machine = self._detected()
        recover(self.store)
        if spec.memory_limit_bytes is None and spec.device == "cpu" and spec.endpoint is None:
            spec = replace(spec, memory_limit_bytes=memory_limit())
        self._await_cancelled()
        with self._lock:
            self._refuse_second(spec)
            lock = DeviceLock(None if spec.endpoint else self.store.folder, spec.device)
            lock.take()
            probe_id = new_probe_id()
            self._locks[probe_id] = lock
            identity = Identity(probe_id, machine.fingerprint, machine.name, predicted, place)
            process = ProbeProcess(spec, identity)
            self._processes[probe_id] = process
            self._snapshots[probe_id] = Snapshot(probe_id, spec, State.RUNNING, predicted=predicted)
            self._forget_oldest()
        follow = threading.Thread(target=self._follow, args=(process,), daemon=True, name=f"probe-{probe_id}")
        follow.start()
        return probe_id

    def snapshot(self, probe_id: str) -> Snapshot | None:
        """The probe now; None for an id that this process does not know (look in the store)."""
        with self._lock:
            found = self._snapshots.get(probe_id)
            process = self._processes.get(probe_id)
        if found is None or process is None or found.state.is_final:
            return found
        return replace(found, elapsed_s=process.elapsed_s)

    def cancel(self, probe_id: str) -> None:
        """End it: shown as cancelled at once, gone within a second. A finished or unknown probe is left as it is.

        Does not wait: a process with many gigabytes takes a moment to give them back.
        """
        with self._lock:
            process = self._processes.get(probe_id)
            if process is None:
                return
            now = self._snapshots[probe_id]
            self._snapshots[probe_id] = replace(now, state=State.CANCELLED, elapsed_s=process.elapsed_s)
        threading.Thread(target=process.cancel, daemon=True, name=f"cancel-{probe_id}").start()

    def running(self) -> tuple[Snapshot, ...]:
        """Those that nobody has cancelled."""
        with self._lock:
            ids = list(self._processes)
        found = (self.snapshot(probe_id) for probe_id in ids)
        return tuple(s for s in found if s is not None and not s.state.is_final)

    def close(self) -> None:
        """Stop all probes, and wait until they are gone."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.cancel()

    def _detected(self) -> Machine:
        if self._machine is None:
            self._machine = detect()
        return self._machine

    def _await_cancelled(self) -> None:
        """Those that are on their way out need not be in the way of the next one."""
        with self._lock:
            leaving = [p for i, p in self._processes.items() if self._snapshots[i].state.is_final]
        for process in leaving:
            process.gone(LEAVING_S)
        with self._lock:
            for process in leaving:
                if process.gone(0.0):
                    self._forget(process.identity.probe_id)

    def _forget(self, probe_id: str) -> None:
        """Its process is gone: the device is free."""
        self._processes.pop(probe_id, None)
        lock = self._locks.pop(probe_id, None)
        if lock is not None:
            lock.release()

    def _refuse_second(self, spec: ProbeSpec) -> None:
        busy = [p for p in self._processes.values() if p.spec.device == spec.device]
        if busy and spec.endpoint is None:
            raise InputError("device", "a device without a running probe (one at a time)", spec.device)

    def _follow(self, process: ProbeProcess) -> None:
        """Runs in a thread of its own until the child has ended and the result is stored."""
        probe_id, journal = process.identity.probe_id, Journal(self.store, process)
        for event in process.events():
            journal.keep(event, process.elapsed_s)
            self._swap(probe_id, event)
        result, problem = settle(self.store, process.result(), journal)
        with self._lock:
            self._forget(probe_id)
            self._snapshots[probe_id] = replace(
                self._snapshots[probe_id],
                state=result.state,
                points=result.points,
                result=result,
                elapsed_s=result.duration_s,
                problem=problem,
            )

    def _swap(self, probe_id: str, event: Event) -> None:
        with self._lock:
            now = self._snapshots[probe_id]
            if event.kind is EventKind.POINT and event.point is not None:
                self._snapshots[probe_id] = replace(now, points=(*now.points, event.point))
            elif event.kind is EventKind.PHASE:
                self._snapshots[probe_id] = replace(now, phase=event.phase, done=event.done, total=event.total)

    def _forget_oldest(self) -> None:
        final = [s.id for s in self._snapshots.values() if s.state.is_final]
        for probe_id in final[: max(0, len(final) - KEPT_FINAL)]:
            del self._snapshots[probe_id]

"""What every kind of probe shares: the device, its bandwidth, the conditions, and the frame of the result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil
import torch

from probes.bench import SMALL_SIZE, Canary, ProductCanary, gemm_rate, read_bandwidth
from probes.cpu import read_cpu
from probes.disk_bench import cached_share
from probes.engines.cuda_card import card_of
from probes.engines.precision import Precision
from probes.engines.torch_engine import forget_device_peak, select_device, set_threads
from probes.measure import Reporter
from probes.nvidia import gpu_energy_joules, gpu_state
from probes.rapl import RaplMeter
from probes.result import Conditions, Measured, ProbeResult, State
from probes.spec import ProbeSpec
from probes.system import LoadSampler, clock_hz, load_average, reset_own_peak

__all__ = ["Session"]

FOREIGN_CORES = 0.1
CANARY_CHANGE = 0.1
STEAL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class EnergyReading:
    joules: float | None
    source: str  # nvml | rapl | ""


class Session:
    """One probe process at work."""

    def __init__(self, spec: ProbeSpec, reporter: Reporter) -> None:
        self.spec, self.reporter = spec, reporter
        self.device = select_device(spec.device)
        self.card = card_of(self.device)
        self.cpu = read_cpu()
        self.threads = spec.threads or self.cpu.cores
        set_threads(self.threads)
        self.cache_bytes = self.cpu.cache_bytes.get("l3", self.cpu.cache_bytes.get("l2", 32 * 2**20))
        self._load = LoadSampler()
        self._rapl = RaplMeter()
        self._energy = self.energy()
        self._swap = psutil.swap_memory().used
        self._canary: Canary | None = None
        self._memory: Sequence[torch.Tensor] = ()
        self._canary_threads = self.threads
        self._benchmarked: list[float] = []
        self._reached: list[float] = []
        self.canaries: list[float] = []
        self._product_canary: ProductCanary | None = None
        self._products: list[float] = []
        self._page_cache: float | None = None

    def benchmark(self) -> Measured:
        """Read bandwidth by thread count and one matrix product; returns the best bandwidth. Leaves no trace in the
        peak.
        """
        self.reporter.phase("bandwidth")
        best: Measured | None = None
        for threads in self._thread_counts():
            set_threads(threads)
            found = read_bandwidth(self.device, self.cache_bytes, repeats=3)
            self.reporter.point("bandwidth", {"threads": threads}, {"read_bytes_per_s": found})
            self._benchmarked += [found.low, found.value, found.high]
            best = found if best is None or found.value > best.value else best
        set_threads(self.threads)
        for precision in (Precision.FP32, Precision.BF16):
            rate = gemm_rate(self.device, precision, size=SMALL_SIZE if self.device.type == "cpu" else None, repeats=3)
            if rate is not None:
                self.reporter.point("gemm", {}, {"ops_per_s": rate}, precision)
        reset_own_peak()
        forget_device_peak(self.device)
        return best or Measured(0.0, 0.0, 0.0)

    def multiply(self) -> None:
        """A reading of the processors' products now; nothing where an accelerator computes."""
        if self.device.type != "cpu":
            return
        self._product_canary = self._product_canary or ProductCanary(self._canary_threads)
        self._products.append(self._product_canary.read())

    def canary(self) -> Callable[[], float]:
        """A reading of the speed now of the memory that `reads` named, else of a buffer that is made on first use,
        after the peak was read. Products are read with it.
        """
        if self._canary is None:
            self._canary = Canary(self.device, self.cache_bytes, self._canary_threads, self._memory)
            self._canary.read(0.0)

        def read() -> float:
            assert self._canary is not None
            self.multiply()
            found = self._canary.read()
            self.canaries.append(found.usual)
            self._reached.append(found.best)
            return found.usual

        return read

    def reads(self, memory: Sequence[torch.Tensor]) -> None:
        """The canary is to read `memory`; nothing: a buffer of its own. Memory is not equally fast everywhere, on a
        virtual machine less so, and a model can be no faster than the memory that holds it.
        """
        self._canary, self._memory = None, memory

    def reached(self, bytes_per_s: float) -> None:
        """Memory was read at this rate, be it by the model itself: so can the machine."""
        self._reached.append(bytes_per_s)

    def best_read(self) -> Measured:
        """The best read bandwidth of this run so far, of the memory that `reads` named, else of any, before, between
        and after what was measured, down to the slowest reading of the canary.
        """
        elsewhere = [] if self._memory and self.canaries else self._benchmarked
        seen = [*elsewhere, *self.canaries, *self._reached]
        if not seen:
            return Measured(0.0, 0.0, 0.0)
        return Measured(max(seen), min(self.canaries or seen), max(seen), len(seen))

    def choose_threads(self, step: Callable[[], float]) -> int:
        """Keep the thread count with the fastest step: on a busy machine fewer threads wait less for each other.

        A count given in the spec is kept.
        """
        counts = [self.threads] if self.spec.threads else self._thread_counts()
        seconds = {}
        for threads in counts:
            set_threads(threads)
            seconds[threads] = step()
        self.threads = min(counts, key=lambda n: seconds[n])
        set_threads(self.threads)
        return self.threads

    def conditions(self) -> Conditions:
        """How the machine was during the probe so far."""
        foreign, steal = self._load.foreign_cores(), self._load.steal_share()
        used = self.joules_since(self._energy)
        return Conditions(
            load_average=load_average(),
            steal_share=steal,
            foreign_cores=foreign,
            clock_hz=clock_hz(),
            canary_before_bytes_per_s=self.canaries[0] if self.canaries else None,
            canary_after_bytes_per_s=self.canaries[-1] if self.canaries else None,
            canary_bytes_per_s=median(self.canaries) if self.canaries else None,
            product_ops_per_s=Measured.of(self._products) if self._products else None,
            hardware_threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            page_cache_resident=self._page_cache,
            gpu=self.gauges(),
            energy_joules=used,
            energy_source=self._energy.source if used is not None else "",
            warnings=self._warnings(foreign, steal),
        )

    def look_at_page_cache(self) -> None:
        """How much of the weight files is in memory already, before they are loaded."""
        path = Path(self.spec.checkpoint) if self.spec.checkpoint else None
        if path is None or not path.exists():
            return
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        shares = [(file.stat().st_size, cached_share(file)) for file in files if file.stat().st_size]
        known = [(size, share) for size, share in shares if share is not None]
        total = sum(size for size, _ in known)
        self._page_cache = sum(size * share for size, share in known) / total if total else None

    def gauges(self) -> dict[str, float | str]:
        """Clocks, power, temperature and throttling of the GPU that computes; empty without one."""
        return {} if self.card is None else gpu_state(self.card)

    def energy(self) -> EnergyReading:
        """The energy counter of the device that computes."""
        joules = self._rapl.joules() if self.card is None else gpu_energy_joules(self.card)
        source = "rapl" if self.card is None else "nvml"
        return EnergyReading(joules, source if joules is not None else "")

    def joules_since(self, earlier: EnergyReading) -> float | None:
        """None where energy cannot be measured, or the counter started over unseen."""
        now = self.energy().joules
        if now is None or earlier.joules is None or now < earlier.joules:
            return None
        return now - earlier.joules

    def finish(self, result: ProbeResult, flags: list[str]) -> ProbeResult:
        """Points, conditions and validity; INVALID when a flag says that the figures cannot be true."""
        state = State.INVALID if any(flag.startswith("invalid_") for flag in flags) else State.DONE
        elapsed = time.perf_counter() - self.reporter.started_s
        return replace(
            result, state=state, points=tuple(self.reporter.points), conditions=self.conditions(), flags=tuple(flags),
            duration_s=elapsed,
        )  # fmt: skip

    def empty_result(self) -> ProbeResult:
        """The frame that the parent process completes."""
        return ProbeResult(id="", spec=self.spec, state=State.DONE, fingerprint="", started_at="", duration_s=0.0)

    def _thread_counts(self) -> list[int]:
        if self.device.type != "cpu":
            return [self.threads]
        return sorted({max(1, self.threads // 2), self.threads})

    def _warnings(self, foreign: float | None, steal: float | None) -> tuple[str, ...]:
        found = []
        if foreign is not None and foreign > FOREIGN_CORES:
            found.append("foreign_load")
        if steal is not None and steal > STEAL_SHARE:
            found.append("steal")
        if self.canaries and max(self.canaries) > (1 + CANARY_CHANGE) * min(self.canaries):
            found.append("unsteady_memory")
        if psutil.swap_memory().used > self._swap:
            found.append("swapping")
        gauges = self.gauges()
        if str(gauges.get("throttle", "none")) != "none":
            found.append("throttled")
        if self.card is not None and not gauges:
            found.append("gpu_unread")
        return tuple(found)

"""What was measured: frozen records, and the events that a running probe sends.

A result explains itself: spec, machine, versions, conditions, what was foreseen, what was seen, and whether to
believe it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import Host
from probes.failure import Failure
from probes.pace_curves import PaceCurves
from probes.spec import ProbeSpec, SweepLimit

__all__ = [
    "Conditions", "DevicePart", "Event", "EventKind", "ForeseenPoint", "Lessons", "Measured", "Place", "Point",
    "Prediction", "ProbeResult", "State", "SweepEnd",
]  # fmt: skip


class State(StrEnum):
    """Life of a probe; everything after `running` is final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    INVALID = "invalid"  # ran to its end, but the figures break a rule (see `flags`): kept, never used for calibration
    REFUSED = "refused"  # would not fit: never started
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # the program that watched it was killed, or the machine went down
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"

    @property
    def is_final(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class EventKind(StrEnum):
    PHASE = "phase"  # import, canary, load, prefill, decode, ...
    POINT = "point"  # one finished measurement
    RESULT = "result"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Measured:
    """Repeated samples of one figure: median, and the range that they span."""

    value: float
    low: float
    high: float
    n: int = 1

    @classmethod
    def of(cls, samples: list[float] | tuple[float, ...]) -> Measured:
        """Median with the 5th and 95th percentiles by nearest rank. `samples` must not be empty."""
        ordered = sorted(samples)
        last = len(ordered) - 1
        return cls(median(ordered), ordered[round(0.05 * last)], ordered[round(0.95 * last)], len(ordered))

    @property
    def spread(self) -> float:
        """(high - low) / value."""
        return (self.high - self.low) / self.value if self.value else 0.0

    def quantity(self, source: str = "probe") -> Quantity:
        return Quantity(self.value, self.low, self.high, Basis.MEASURED, source)


@dataclass(frozen=True, slots=True)
class Point:
    """Figures at one position: what differs from point to point is in `at` (context_tokens, batch, threads, layers,
    ...).

    `values`: keys with units: decode_tok_s (per sequence), output_tok_s (all sequences), step_ms, ttft_ms,
    prefill_tok_s,
    read_bytes_per_s, peak_bytes, tensor_bytes, queue_length, ...
    """

    name: str  # prefill | decode | part (some of the layers) | attention | bandwidth | gemm | disk | pcie | window
    at: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, Measured] = field(default_factory=dict)
    label: str = ""  # format, precision or device where the position is not a number
    at_s: float = 0.0  # seconds since the probe began


@dataclass(frozen=True, slots=True)
class Conditions:
    """State of the machine while the probe ran. None: could not be read here."""

    load_average: float | None = None
    steal_share: float | None = None  # of all CPU time
    foreign_cores: float | None = None  # cores used by other processes
    clock_hz: float | None = None
    canary_before_bytes_per_s: float | None = None
    canary_after_bytes_per_s: float | None = None
    canary_bytes_per_s: float | None = None  # median of all readings between the rounds
    product_ops_per_s: Measured | None = None  # float32 products between the prompts and rounds; processors only
    hardware_threads: int | None = None  # that the probe was bound to, one of each core
    page_cache_resident: float | None = None  # share of the weight file, where there is one
    gpu: Mapping[str, float | str] = field(default_factory=dict)  # clocks, temperature, power, throttle reasons
    energy_joules: float | None = None
    energy_source: str = ""  # nvml | rapl | "" (not measurable here)
    warnings: tuple[str, ...] = ()  # keys of texts: noisy, throttled, steal, swapping


@dataclass(frozen=True, slots=True)
class DevicePart:
    """A MIG slice of a device of the catalogue, with its shares of memory bandwidth and of multiprocessors."""

    card_id: str
    name: str
    memory_bytes: int
    bandwidth_share: float
    compute_share: float


@dataclass(frozen=True, slots=True)
class Place:
    """What a probe ran on, in the catalogue's words, so that others can foresee the same run again.

    `device_id`: the catalogue's accelerator; empty where it has none, or the processors computed. `host`: its rates
    are those of that day. `part`: the device is a slice, whose id is its own and no catalogue's.
    """

    host: Host
    device_id: str = ""
    on_accelerator: bool = False
    part: DevicePart | None = None


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """Why a sweep went no further than it did.

    `value`: the last that was measured (latency, throughput, done), or the first that was not (memory, threads);
    `format_id` in its place for formats. `figure` against `allowed`: bytes with margin, threads, milliseconds per
    token, or tokens per second against the best so far.
    """

    limit: SweepLimit
    value: int = 0
    figure: float = 0.0
    allowed: float = 0.0
    format_id: str = ""


@dataclass(frozen=True, slots=True)
class ForeseenPoint:
    """What a `Point` of the same name, position and label should measure."""

    name: str
    at: Mapping[str, float]
    values: Mapping[str, Quantity]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lessons:
    """The earlier runs behind a prediction, and what was around those that were disturbed (medians; 0 if none was).

    `memory_moved`: share of its best reading by which memory fell within a run. `slowed_by`: how many times as long as
    on a quiet machine a step may have taken.
    """

    runs: int
    disturbed: int
    foreign_cores: float = 0.0
    memory_moved: float = 0.0
    slowed_by: float = 1.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What sizing foresaw before the run; None where it has no answer. `points`: of a sweep, one for each that it
    reports; the headline figures are those of the first. Stored before these were kept: none. `lessons`: None where
    nothing alike had run, or stored before.
    """

    load_s: Quantity | None = None
    peak_bytes: Quantity | None = None
    prefill_tok_s: Quantity | None = None
    ttft_ms: Quantity | None = None
    decode_tok_s: Quantity | None = None
    mbu: Quantity | None = None
    bandwidth_bytes_per_s: Quantity | None = None
    duration_s: Quantity | None = None
    points: tuple[ForeseenPoint, ...] = ()
    lessons: Lessons | None = None
    by_pace: PaceCurves = field(default_factory=PaceCurves)

    def items(self) -> dict[str, Quantity]:
        """The figures that have an answer, by key."""
        names = (
            "load_s",
            "peak_bytes",
            "prefill_tok_s",
            "ttft_ms",
            "decode_tok_s",
            "mbu",
            "bandwidth_bytes_per_s",
            "duration_s",
        )
        pairs = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One finished probe. Figures are None where the probe did not get that far, or that kind has none.

    `prefill_tok_s` and `ttft_ms` are those of the longest prompt; every prompt is in `points`. `peak_bytes`: the
    child's own high-water mark (device memory for a GPU). `mbu`: bytes read per second while decoding / what memory
    was read at between the rounds. `bandwidth_bytes_per_s`: the best reading.
    `figures`: summary of sweeps, slices and sustained runs (p95_ttft_ms, goodput_requests_per_s, full_decode_tok_s,
    ...).
    """

    id: str
    spec: ProbeSpec
    state: State
    fingerprint: str
    started_at: str  # ISO 8601, UTC
    duration_s: float
    machine_name: str = ""
    load_s: Measured | None = None
    peak_bytes: int | None = None
    tensor_bytes: int | None = None
    read_bytes_per_token: int | None = None
    prefill_tok_s: Measured | None = None
    ttft_ms: Measured | None = None
    decode_tok_s: Measured | None = None
    mbu: Measured | None = None
    bandwidth_bytes_per_s: Measured | None = None
    figures: Mapping[str, Measured] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    conditions: Conditions = Conditions()
    versions: Mapping[str, str] = field(default_factory=dict)
    predicted: Prediction = Prediction()
    flags: tuple[str, ...] = ()  # keys of texts: why the figures must not be believed, or what is unusual
    error: str = ""  # one line in English: why it is not done, or what failed on the way
    place: Place | None = None  # None: an endpoint, or stored before this was kept
    sweep_end: SweepEnd | None = None  # None: no sweep, one that was cut short, or stored before this was kept
    failure: Failure | None = None  # `error` by key, where it has one

    @property
    def is_valid(self) -> bool:
        return self.state is State.DONE

    def measured(self) -> dict[str, Measured]:
        """The headline figures that were measured, by the key that `predicted` uses."""
        found = {
            "load_s": self.load_s,
            "peak_bytes": None
            if self.peak_bytes is None
            else Measured(self.peak_bytes, self.peak_bytes, self.peak_bytes),
            "prefill_tok_s": self.prefill_tok_s,
            "ttft_ms": self.ttft_ms,
            "decode_tok_s": self.decode_tok_s,
            "mbu": self.mbu,
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Event:
    """One line from a running probe. `done` of `total` steps; `result` only with the last one."""

    kind: EventKind
    phase: str = ""
    done: int = 0
    total: int = 0
    point: Point | None = None
    result: ProbeResult | None = None
    state: State | None = None  # with ERROR: what the run ends as
    message: str = ""
    failure: Failure | None = None  # the message by key; then there is no message

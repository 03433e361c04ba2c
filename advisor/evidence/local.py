"""What this machine has taught: stored measurements against the public prediction, as factors for later predictions.

Each run is compared with the prediction for the memory bandwidth of that same run, so a busy minute moves neither the
factor nor the prediction for the next model; how much the bandwidth itself varies widens the interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.sizing.efficiency import EfficiencyTable, LocalCalibration, efficiency_table
from advisor.sizing.size import size
from probes.foresee import accelerator_of, load_of, plan_of
from probes.machine_records import Machine
from probes.result import Measured, ProbeResult
from probes.spec import EngineName, Kind

__all__ = ["Miss", "local_calibrations", "local_table", "miss_of"]

NORMAL_90 = 1.645
LEAST_WIDTH = math.log(1.05)  # no machine repeats itself better than this from day to day
FEW_SAMPLES = 5
KEPT_RUNS = 20  # of each format, the newest
USED_KINDS = (Kind.FULL, Kind.SLICE)


@dataclass(frozen=True, slots=True)
class Miss:
    """How far the public prediction was off: log(measured seconds / predicted seconds), and the spread of the run."""

    decode: float
    decode_spread: float
    prefill: float | None
    prefill_spread: float


def local_table(history: Sequence[ProbeResult], machine: Machine, catalog: Catalog) -> EfficiencyTable:
    """The public calibration with what was measured here in front of it."""
    return efficiency_table().with_local(local_calibrations(history, machine, catalog))


def local_calibrations(
    history: Sequence[ProbeResult], machine: Machine, catalog: Catalog
) -> tuple[LocalCalibration, ...]:
    """One factor per engine, device and format that was measured validly on this machine."""
    groups: dict[tuple[str, str, str], list[tuple[ProbeResult, Miss]]] = defaultdict(list)
    for result in history:
        if result.fingerprint != machine.fingerprint:
            continue
        miss = miss_of(result, machine, catalog)
        if miss is not None:
            plan = plan_of(result.spec, machine, catalog, None)
            where = plan.device.id if plan.device else plan.host.id if plan.host else ""
            groups[where, plan.engine.id, plan.format.id].append((result, miss))
    return tuple(_summary(key, rows[:KEPT_RUNS], catalog) for key, rows in sorted(groups.items()))


def miss_of(result: ProbeResult, machine: Machine, catalog: Catalog) -> Miss | None:
    """Measured against the public prediction; None where the run teaches nothing (invalid, no speed, not a plan)."""
    spec, decode, bandwidth = result.spec, result.decode_tok_s, result.bandwidth_bytes_per_s
    if not result.is_valid or spec.kind not in USED_KINDS or spec.engine is EngineName.ENDPOINT or decode is None:
        return None
    if "fits_in_cache" in result.flags or bandwidth is None:
        return None
    on_accelerator = accelerator_of(spec, machine) is not None
    try:
        plan = plan_of(spec, machine, catalog, None if on_accelerator else bandwidth.value)
        public = size(plan, load_of(spec), catalog, table=efficiency_table())
    except FathomError:
        return None
    prefill = result.prefill_tok_s
    return Miss(
        decode=math.log(public.decode_tok_s.value / decode.value),
        decode_spread=_spread(decode),
        prefill=math.log(public.prefill_tok_s.value / prefill.value) if prefill else None,
        prefill_spread=_spread(prefill, fallback=decode) if prefill else 0.0,
    )


def _summary(key: tuple[str, str, str], rows: Sequence[tuple[ProbeResult, Miss]], catalog: Catalog) -> LocalCalibration:
    device_id, engine_id, format_id = key
    bandwidths = [r.bandwidth_bytes_per_s.value for r, _ in rows if r.bandwidth_bytes_per_s]
    decode = [m.decode for _, m in rows]
    prefill = [m.prefill for _, m in rows if m.prefill is not None]
    between = stdev([math.log(b) for b in bandwidths]) if len(bandwidths) > 1 else 0.0
    return LocalCalibration(
        device_id=device_id,
        engine_id=engine_id,
        format_family=catalog.format(format_id).family,
        format_id=format_id,
        decode_factor=math.exp(median(decode)),
        decode_factor_90=math.exp(_width(decode, [m.decode_spread for _, m in rows], between)),
        prefill_factor=math.exp(median(prefill)) if prefill else 1.0,
        prefill_factor_90=math.exp(_width(prefill or [0.0], [m.prefill_spread for _, m in rows], 0.0)),
        runs=len(rows),
    )


def _width(misses: Sequence[float], spreads: Sequence[float], between: float) -> float:
    """Half-width of the 90 % interval in log units: scatter of runs, spread inside them, changes of bandwidth."""
    scatter = stdev(misses) if len(misses) > 1 else 0.0
    return max(LEAST_WIDTH, math.hypot(NORMAL_90 * scatter, mean(spreads), NORMAL_90 * between))


def _spread(figure: Measured, fallback: Measured | None = None) -> float:
    """Half of the log of the range that the samples spanned. Too few samples: at least that of `fallback`."""
    if fallback is not None and figure.n < FEW_SAMPLES:
        return max(_spread(figure), _spread(fallback))
    return math.log(figure.high / figure.low) / 2 if figure.low > 0 else 1.0

"""How far off what the smallest model teaches is for larger ones, other formats, batches and depths, by
`cpu_overlap`.

    python benchmarks/foresight.py [FILE …]

Each file is one series of one machine's processors (`advisor probe --export`); by default those in `data/probes/cpu`.
Full runs of the smallest model teach, fp32 apart. What they did not teach is foreseen for the pace, of memory and of
products, that each run had. `cpu_overlap` in `data/engines/probe.yaml` is the exponent that this table favours.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from series import kept_series

from advisor.catalog import Catalog, load_catalog
from advisor.evidence.in_force import with_measurements
from advisor.sizing.tensors import active_params
from probes.machine import detect
from probes.moments import ForeseenMoment, foreseen_moments
from probes.place import as_measured, this_host, usual_products
from probes.result import Point, ProbeResult
from probes.spec import Kind, SweepAxis

SWEEPS = {SweepAxis.BATCH: "batches", SweepAxis.CONTEXT: "depths"}
EXPONENTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def main(paths: Sequence[str]) -> None:
    catalog = load_catalog()
    series = kept_series(paths)
    print(f"{'exponent':>8}  {'all':>7}  by what was foreseen: rms error (bias) of {len(series)} series")
    for exponent in EXPONENTS:
        engine = replace(catalog.engine("torch"), cpu_overlap=exponent)
        own = replace(catalog, engines={**catalog.engines, engine.id: engine})
        errors: dict[str, list[float]] = defaultdict(list)
        for runs in series:
            for name, error in _errors(runs, own):
                errors[name].append(error)
        each = [_rms(found) for found in errors.values()]
        print(f"{exponent:8g}  {_rms(each):7.1%}  " + "; ".join(_summary(n, e) for n, e in sorted(errors.items())))


def _errors(runs: Sequence[ProbeResult], catalog: Catalog) -> Iterator[tuple[str, float]]:
    """(what was foreseen, log of foreseen over measured); fp32 is taught by the other formats."""
    full = [r for r in runs if r.spec.kind is Kind.FULL and r.decode_tok_s and r.spec.architecture]
    smallest = min((active_params(r.spec.architecture) for r in full if r.spec.architecture), default=0)
    small = [r for r in full if r.spec.architecture and active_params(r.spec.architecture) == smallest]
    taught = [r for r in small if r.spec.format_id != "fp32"]
    machine = replace(detect(), fingerprint=runs[0].fingerprint)
    known, products = with_measurements(catalog, taught, machine), usual_products(machine.fingerprint, taught)

    def foreseen(run: ProbeResult) -> list[ForeseenMoment]:
        assert run.place is not None
        host = as_measured(this_host(machine, known, taught), run, products)
        return foreseen_moments(run.spec, replace(run.place, host=host), known, None)

    for run in full:
        if run in taught:
            continue
        name = "other format" if run in small else "larger model"
        (moment,) = foreseen(run)
        yield name, math.log(moment.speed.decode_tok_s.value / run.decode_tok_s.value)
        if run.prefill_tok_s and name == "larger model":
            yield f"{name}, prompt", math.log(moment.speed.prefill_tok_s.value / run.prefill_tok_s.value)
    for run in (r for r in runs if r.spec.kind is Kind.SWEEP and r.spec.sweep_axis in SWEEPS):
        assert run.spec.sweep_axis is not None
        seen = {_position(p): p.values["decode_tok_s"].value for p in run.points if p.name == "decode"}
        for moment in foreseen(run):
            at = moment.context_tokens, moment.sequences
            if at in seen:
                yield SWEEPS[run.spec.sweep_axis], math.log(moment.speed.decode_tok_s.value / seen[at])


def _position(point: Point) -> tuple[int, int]:
    """(tokens of context, sequences)."""
    return int(point.at["context_tokens"]), int(point.at["batch"])


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


def _summary(name: str, errors: Sequence[float]) -> str:
    within = sum(abs(math.expm1(e)) <= 0.1 for e in errors)
    bias = math.expm1(sum(errors) / len(errors))
    return f"{name} {_rms(errors):.1%} ({bias:+.1%}; {within} of {len(errors)} within 10 %)"


if __name__ == "__main__":
    main(sys.argv[1:])

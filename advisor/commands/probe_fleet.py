"""`advisor probe --fleet ADDRESS`: one row per device of a Ray cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from advisor.commands.probe_output import keep
from advisor.evidence.in_force import with_measurements
from probes.codec import encode
from probes.fleet import NodeOutcome, probe_fleet
from probes.result import Measured, ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store

__all__ = ["run_fleet"]


def run_fleet(
    spec: ProbeSpec, address: str, results: Sequence[ProbeResult] = (), *, as_json: bool, store: Store | None
) -> int:
    """Exit code 0 when at least one device was measured, else 1. Valid results are stored when there is a store.

    `results`: earlier measurements of any machine, with which the nodes foresee.
    """
    rows = []
    for outcome in probe_fleet(spec, address, results, with_measurements):
        rows.append(outcome)
        if store is not None and outcome.result is not None and outcome.result.state is not State.REFUSED:
            keep(store, outcome.result)
        if not as_json:
            sys.stdout.write(_line(outcome) + "\n")
            sys.stdout.flush()
    if as_json:
        sys.stdout.write(json.dumps({"nodes": [encode(row) for row in rows]}, indent=1) + "\n")
    return 0 if any(row.result is not None and row.result.is_valid for row in rows) else 1


def _line(outcome: NodeOutcome) -> str:
    result = outcome.result
    if result is None or not result.is_valid:
        return f"{outcome.node} {outcome.device}: {outcome.error or (result.state if result else '')}"
    figures = {"decode_tok_s": result.decode_tok_s, "prefill_tok_s": result.prefill_tok_s, "mbu": result.mbu}
    shown = (f"{name} {m.value:.3g}" for name, m in figures.items() if isinstance(m, Measured))
    return f"{outcome.node} {outcome.device} [{result.fingerprint}]: {', '.join(shown)}"

"""How far the rate of a load is from the usual one of the loads before it on the same machine.

    python benchmarks/loads.py [FILE …]

Each file is one series of one machine's processors (`advisor probe --export`); by default those in `data/probes/cpu`.
With n loads before it, a rate is taken to be spread by sqrt(1 + 1/n) standard deviations, in log units.
`VIRTUAL_SPREAD` in `probes/load_time.py` is 90 % of one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from statistics import median

from series import kept_series

from advisor.evidence.local_fit import NORMAL_90
from probes.engines.block import POOL_ELEMENTS
from probes.load_time import load_rates
from probes.quick import quick_load


def main(paths: Sequence[str]) -> None:
    fixed_s = POOL_ELEMENTS / quick_load().normals_per_s
    distances: list[float] = []
    for runs in kept_series(paths):
        rates = load_rates(runs[::-1], fixed_s)
        own = [math.log(rates[n] / median(rates[:n])) / math.sqrt(1 + 1 / n) for n in range(1, len(rates))]
        print(f"{runs[0].started_at:28} {len(rates):3} loads, {median(rates) / 1e9:.2f} GB/s", end="  ")
        print(" ".join(f"{distance:+.2f}" for distance in own))
        distances += own
    if distances:
        deviation = math.sqrt(sum(d * d for d in distances) / len(distances))
        within = sum(abs(d) <= NORMAL_90 * deviation for d in distances)
        print(f"standard deviation {deviation:.2f}: 90 % within {NORMAL_90 * deviation:.2f}, log units", end="; ")
        print(f"{within} of {len(distances)} are")


if __name__ == "__main__":
    main(sys.argv[1:])

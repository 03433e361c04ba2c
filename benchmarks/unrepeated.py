"""How far a prompt that was measured once is from what the same prompt takes on other occasions.

    python benchmarks/unrepeated.py [FILE …]

Each file is one series of one machine's processors (`advisor probe --export`); by default those in `data/probes/cpu`.
Prompts of one model, format and length on one machine, each set against the products that its run read, differ by what
one reading cannot show. Runs that others disturbed are left out: what they teach is widened by their own disturbance.
The longer a prompt, the more of that averages out: the standard deviation is taken as
c / sqrt(seconds). `UNREPEATED` in `advisor/evidence/observations.py` is 90 % of that.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import mean

from series import kept_series

from advisor.evidence.local_fit import NORMAL_90
from probes.disturbance import is_disturbed
from probes.result import ProbeResult
from probes.spec import Kind

Group = tuple[str, str, str, float]


def main(paths: Sequence[str]) -> None:
    groups: dict[Group, list[tuple[float, float]]] = defaultdict(list)
    for runs in kept_series(paths):
        for group, seconds, log_rate in _prompts(runs):
            groups[group].append((seconds, log_rate))
    several = {group: found for group, found in groups.items() if len(found) > 1}
    squares, free = 0.0, 0
    for group, found in sorted(several.items()):
        centre = mean(log_rate for _, log_rate in found)
        own = [(seconds, (log_rate - centre) ** 2) for seconds, log_rate in found]
        deviation = math.sqrt(sum(square for _, square in own) / (len(own) - 1))
        print(f"{' '.join(map(str, group[1:])):64} {len(own):3}  {mean(s for s, _ in own):6.1f} s  {deviation:6.1%}")
        squares, free = squares + sum(seconds * square for seconds, square in own), free + len(own) - 1
    if free:
        c = math.sqrt(squares / free)
        print(f"c = {c:.3f} from {free} degrees of freedom: 90 % within {NORMAL_90 * c:.2f} / sqrt(seconds), log units")


def _prompts(runs: Sequence[ProbeResult]) -> Iterator[tuple[Group, float, float]]:
    """(group, seconds, log of tokens per product) of prompts that were measured once."""
    for run in runs:
        products = run.conditions.product_ops_per_s
        if run.spec.kind is not Kind.FULL or products is None or is_disturbed(run):
            continue
        for point in run.points:
            rate, tokens = point.values.get("prefill_tok_s"), point.at.get("prompt_tokens", 0.0)
            if point.name == "prefill" and rate is not None and rate.n == 1 and tokens:
                group = (run.fingerprint, run.spec.variant_id, run.spec.format_id, tokens)
                yield group, tokens / rate.value, math.log(rate.value / products.value)


if __name__ == "__main__":
    main(sys.argv[1:])

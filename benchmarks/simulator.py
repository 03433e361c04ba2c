"""Speed and memory of the load simulator: `python benchmarks/simulator.py [--requests N]`.

Prints CPU seconds, simulated requests per CPU second and memory for one replica and for fleets, with numba where it is
installed and, in a second process, as plain Python; then the four limits. Exit code 1 if one is missed. Compilation is
not counted (it is printed).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

import numpy as np

from advisor.serving._jit import COMPILED
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate_fleet, warm_up
from advisor.serving.step_costs import StepCosts

COSTS_8B = StepCosts(
    ntok=tuple(range(0, 2049, 64)),
    step_s=tuple(0.012 + 1e-5 * min(n, 64) + 3e-5 * max(0, n - 64) for n in range(0, 2049, 64)),
    cdec=7e-8,
    cmix=1.2e-7,
    cpre=1.5e-9,
    cmin=256,
    kvcap_tokens=450_000,
    max_num_seqs=256,
    max_num_batched_tokens=2048,
)
# name, requests (share of N), replicas, router, requests per second, median input, median output
CASES = [
    ("1 replica, saturated chat", 1, 1, Router.ROUND_ROBIN, 1e6, 300, 150),
    ("1 replica, saturated reasoning", 1, 1, Router.ROUND_ROBIN, 1e6, 200, 900),
    ("16 replicas, round robin", 1, 16, Router.ROUND_ROBIN, 140, 300, 150),
    ("64 replicas, two choices", 1, 64, Router.TWO_CHOICES, 560, 300, 150),
    ("16 replicas, least outstanding", 1, 16, Router.LEAST_OUTSTANDING, 140, 300, 150),
    ("2,500 replicas, two choices, 10,000 req/s", 3, 2500, Router.TWO_CHOICES, 10_000, 300, 150),
]


def table(n, rate, median_input, median_output):
    rng = np.random.default_rng(0)
    inputs = np.clip(np.rint(rng.lognormal(np.log(median_input), 1.0, n)), 1, 30_000).astype(int)
    outputs = np.clip(np.rint(rng.lognormal(np.log(median_output), 0.8, n)), 1, 8_000).astype(int)
    return request_table(np.cumsum(rng.exponential(1 / rate, n)), inputs, outputs)


def run(cases, requests):
    """Prints a line per case; returns (CPU seconds by name, most bytes by which the process grew in a case)."""
    started = time.process_time()
    warm_up()
    print(f"numba: {'yes' if COMPILED else 'no'}; compile or load: {time.process_time() - started:.1f} CPU s")
    print(f"{'case':<44}{'requests':>10}{'CPU s':>8}{'req/CPU s':>12}{'steps':>12}{'peak grew, GB':>15}")
    before, spent = peak_bytes(), {}
    for name, share, replicas, router, rate, median_input, median_output in cases:
        n = int(requests * share)
        result = simulate_fleet(
            Fleet((Pool("main", COSTS_8B, replicas),), router), table(n, rate, median_input, median_output)
        )
        spent[name] = result.cpu_s
        grown, speed = (peak_bytes() - before) / 1e9, result.requests_per_cpu_s
        print(f"{name:<44}{n:>10,}{result.cpu_s:>8.2f}{speed:>12,.0f}{result.steps:>12,}{grown:>15.2f}", flush=True)
        del result
    return spent, peak_bytes() - before


def peak_bytes():
    """Most memory this process ever held: requests, simulator and result of a case are in it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def plain_s(requests):
    """CPU seconds of the first case without numba, in a process of its own."""
    command = [sys.executable, __file__, "--only-one", "--requests", str(requests)]
    spent = os.times()
    subprocess.run(command, check=True, env=os.environ | {"NUMBA_DISABLE_JIT": "1"})
    return os.times().children_user + os.times().children_system - spent.children_user - spent.children_system


def verdict(name, value, limit, unit):
    print(f"{'met   ' if value < limit else 'MISSED'} {name}: {value:.2f} {unit} (limit {limit:g})")
    return value < limit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--only-one", action="store_true", help="the first case only")
    parser.add_argument("--no-plain", action="store_true", help="skip the run without numba")
    options = parser.parse_args()
    spent, grown = run(CASES[:1] if options.only_one else CASES, options.requests)
    if options.only_one or not COMPILED:
        return 0
    scale = 1_000_000 / options.requests
    largest = max(share for _, share, *_ in CASES)
    met = [
        verdict("a million requests, the slowest case", max(list(spent.values())[:-1]) * scale, 1.5, "CPU s"),
        verdict(CASES[-1][0] + ", 3 million requests", spent[CASES[-1][0]] * scale, 10, "CPU s"),
        verdict("memory for a million requests", grown / largest * scale / 1e9, 0.5, "GB"),
    ]
    if not options.no_plain:
        met.append(verdict("a million requests without numba", plain_s(options.requests) * scale, 60, "CPU s"))
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())

"""Seconds to import the catalogue, to load it the first time and again. Target: 0.3 s for the first load."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import time
start = time.process_time(); wall = time.perf_counter()
from advisor.catalog import load_catalog
imported = time.process_time()
begin = time.perf_counter()
load_catalog()
first, first_wall = time.process_time(), time.perf_counter()
load_catalog()
again = time.process_time()
print(imported - start, first - imported, first_wall - begin, again - first)
"""


def main(runs: int = 5) -> None:
    """Fresh processes, since the first load is the one that a user waits for; the best run counts."""
    rows = [
        [
            float(x)
            for x in subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout.split()
        ]
        for _ in range(runs)
    ]
    labels = ("import, CPU s", "first load, CPU s", "first load, wall s", "second load, CPU s")
    for label, values in zip(labels, zip(*rows, strict=True), strict=True):
        print(f"{label:20s} best {min(values):.4f}  worst {max(values):.4f}")


if __name__ == "__main__":
    main()

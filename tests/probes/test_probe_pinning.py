"""A probe keeps to one hardware thread of each core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.pinning import one_thread_per_core


def topology(folder: Path, siblings: dict[int, str]) -> Path:
    for number, text in siblings.items():
        place = folder / f"cpu{number}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(text + "\n")
    return folder


def test_one_of_each_pair_and_only_allowed_ones(tmp_path):
    """Four cores of two threads; the container may use 1, 2, 3, 6 and 7."""
    known = topology(tmp_path, {n: f"{n % 4},{n % 4 + 4}" for n in range(8)})
    assert one_thread_per_core(set(range(8)), known) == {0, 1, 2, 3}
    assert one_thread_per_core({1, 2, 3, 6, 7}, known) == {1, 2, 3}


def test_an_unknown_topology_keeps_everything(tmp_path):
    assert one_thread_per_core({0, 5}, tmp_path) == {0, 5}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no processes")
def test_the_process_is_bound_for_real():
    program = "import os; from probes.pinning import pin_to_cores; print(pin_to_cores(), len(os.sched_getaffinity(0)))"
    words = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert words[0] == words[1]
    assert int(words[0]) == len(one_thread_per_core(os.sched_getaffinity(0)))

"""The same choice of kernels on a GPU, timed by the GPU's own clock. For probe processes only."""

from __future__ import annotations

from collections.abc import Callable

import torch

from probes.engines.tuner import Tuner

__all__ = ["CudaTuner", "cuda_tuner"]

SWEEPS = 4  # they take longer than the launch of a candidate, whose time then holds no waiting for the processor
CACHE_FACTOR = 2


class CudaTuner(Tuner):
    """Times of 5 microseconds, which a clock of the host cannot see behind a launch of 10."""

    def _time(self, call: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._empty_caches()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def cuda_tuner(device: torch.device) -> CudaTuner:
    """Before each trial more is written than the last cache holds."""
    size = CACHE_FACTOR * max(2**25, torch.cuda.get_device_properties(device).L2_cache_size)

    def empty_caches() -> None:
        sweep = torch.empty(size, dtype=torch.uint8, device=device)
        for _ in range(SWEEPS):
            sweep.fill_(1)

    return CudaTuner(lambda: torch.cuda.synchronize(device), empty_caches)

"""The embedded engine: a torch decoder with random weights, on CPU, CUDA or MPS. For probe processes only."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import torch

from advisor.catalog.errors import InputError
from probes.cuda_visible import by_uuid
from probes.engines.base import InvalidOutputError
from probes.engines.cuda_card import card_of
from probes.engines.cuda_graphs import Captured, StepGraphs
from probes.engines.cuda_tuner import cuda_tuner
from probes.engines.decoder import Decoder
from probes.engines.linear import fused_kernels
from probes.engines.norm import compiled_norm
from probes.engines.precision import precision_of
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket
from probes.layers import LayerCount, layer_count
from probes.nvidia import own_gpu_bytes
from probes.spec import ProbeSpec

__all__ = ["TorchEngine", "forget_device_peak", "select_device", "synchroniser"]

CACHE_SWEEP_BYTES = 64 * 2**20
PLAIN_BYTES = 2**20  # of a matrix that is read plainly: scales are too short to time


class TorchEngine:
    """Implements `probes.engines.base.Engine`."""

    def __init__(self, spec: ProbeSpec, *, slots: int = 1, tokens: int, layers: LayerCount | None = None) -> None:
        if spec.architecture is None:
            raise InputError("architecture", "dimensions of the variant", None)
        self._a, self._formats, self._spec = spec.architecture, precision_of(spec.format_id), spec
        self._layers = layers or layer_count(self._a)
        self._slots, self._tokens = slots, tokens
        self._device = select_device(spec.device)
        self._synchronise = synchroniser(self._device)
        self._ids = torch.Generator().manual_seed(spec.seed)
        is_cuda = self._device.type == "cuda"
        self.tuner = cuda_tuner(self._device) if is_cuda else Tuner(self._synchronise, self._empty_caches)
        if self._device.type == "cpu":
            compiled_norm()  # imports numba now: it is no part of loading the weights
        self._decoder: Decoder | None = None
        self._sweep: torch.Tensor | None = None
        self._warmed: set[tuple[str | int, ...]] = set()
        self._graphs: StepGraphs | None = None
        self._graphs_of: dict[LayerCount, StepGraphs] = {}

    def _empty_caches(self) -> None:
        """Push the weights out of the caches, by writing more than they hold; the same memory each time, because first
        writes to new pages take ten times as long.
        """
        if self._sweep is None:
            self._sweep = torch.empty(CACHE_SWEEP_BYTES, dtype=torch.uint8, device=self._device)
        self._sweep.fill_(1)

    @property
    def decoder(self) -> Decoder:
        if self._decoder is None:
            raise InvalidOutputError("the model is not loaded")
        return self._decoder

    @property
    def tensor_bytes(self) -> int:
        return self.decoder.tensor_bytes()

    @property
    def between_s(self) -> float | None:
        """Seconds of the last decode step that went between its products: attention, norms, gates. None where the
        layers are not one call.
        """
        return self.decoder.between_s

    @property
    def cache_bytes(self) -> int:
        return self.decoder.cache_bytes()

    def load(self) -> None:
        pool = RandomPool(self._device, self._formats.activation, self._spec.seed)
        self._decoder = Decoder(
            self._a, self._formats, self._layers, self._spec.resident_experts, pool, self.tuner,
            slots=self._slots, tokens=self._tokens,
        )  # fmt: skip
        pool.drop()
        self._take_graphs(self._layers)
        self._synchronise()

    def use(self, layers: LayerCount) -> None:
        """Run only so many of the loaded layers (slices)."""
        self.decoder.use(layers)
        self._take_graphs(layers)

    def _take_graphs(self, layers: LayerCount) -> None:
        if self._device.type != "cuda":
            return
        if layers not in self._graphs_of:
            self._graphs_of[layers] = StepGraphs(self.decoder, self._slots, self._tokens, self._random_ids)
        self._graphs = self._graphs_of[layers]

    def prefill(self, tokens: int, slot: int | None = None) -> float:
        """None: slot 0, and on a GPU captured as a graph, for lengths that are measured again and again."""
        if slot is None and self._graphs is not None and self.decoder.is_capturable(tokens):
            captured = self._graphs.prompt(tokens)
            seconds = self._replayed(captured)
            _check_finite(captured.logits)
            return seconds
        slot = slot or 0
        if self._graphs is not None and self.decoder.is_movable:
            return self._moved_prompt(self._graphs, tokens, slot)
        ids = self._random_ids(tokens)
        self._warm(("prefill", row_bucket(tokens)), lambda: self.decoder.prefill(ids, slot))
        start = time.perf_counter()
        with torch.inference_mode():
            logits = self.decoder.prefill(ids, slot)
            self._synchronise()
        seconds = time.perf_counter() - start
        _check_finite(logits)
        return seconds

    def capture(self, shortest: int, longest: int, slots: int) -> None:
        """On a GPU, prompts and steps of all these lengths and batches beforehand: no request shall wait for it."""
        if self._graphs is None or not self.decoder.is_movable:
            return
        tokens = max(1, shortest)
        while tokens <= longest:
            tokens = int(self._graphs.moving_prompt(tokens, 0).ids.numel()) + 1
        for batch in {min(slots, 1 << i) for i in range(slots.bit_length() + 1)}:
            length = max(1, shortest)
            while length <= longest:
                captured = self._graphs.moving(dict.fromkeys(range(batch), length))
                assert captured.at is not None
                length = captured.at.longest + 1

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        if self._graphs is not None:
            captured = self._graphs.fixed(context_tokens, slots)
            seconds = [self._replayed(captured) for _ in range(steps)]
            _check_finite(captured.logits)
            return seconds
        return [self.step(dict.fromkeys(range(slots), context_tokens + i)) for i in range(steps)]

    def step(self, lengths: Mapping[int, int]) -> float:
        if self._graphs is not None and self.decoder.is_movable:
            return self._moved(self._graphs, lengths)
        ids = self._random_ids(len(lengths))
        at = self.decoder.positions(lengths)
        key = ("decode", row_bucket(len(lengths)), row_bucket(at.longest + 1))
        self._warm(key, lambda: self.decoder.decode(ids, at))
        start = time.perf_counter()
        with torch.inference_mode():
            logits = self.decoder.decode(ids, self.decoder.positions(lengths))
            logits.argmax(dim=-1)
            self._synchronise()
        seconds = time.perf_counter() - start
        _check_finite(logits)
        return seconds

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        return self.decoder.read_bytes(context_tokens, slots)

    def memory(self) -> list[torch.Tensor]:
        """The matrices that are read in every step, as they lie in host memory: no product of them can be faster than
        reading them. Empty on a GPU.
        """
        if self._device.type != "cpu":
            return []
        return [t for t in self.decoder.matrices() if t.numel() * t.element_size() >= PLAIN_BYTES]

    def peak_device_bytes(self) -> int | None:
        if self._device.type == "cuda":
            reserved = int(torch.cuda.max_memory_reserved(self._device))
            return max(reserved, own_gpu_bytes(card_of(self._device) or "") or 0)
        if self._device.type == "mps":
            return int(torch.mps.driver_allocated_memory())
        return None

    def versions(self) -> Mapping[str, str]:
        found = {"torch": torch.__version__, "python": platform.python_version()}
        if self._device.type == "cuda":
            refused = {graphs.refused for graphs in self._graphs_of.values()} - {""}
            found |= {"graphs": f"not captured: {refused.pop()}"} if refused else {}
            found |= {
                "cuda": torch.version.cuda or torch.version.hip or "",
                "gpu": torch.cuda.get_device_name(self._device),
                "kernels": "torch" if fused_kernels(self._device) is None else f"triton {version('triton')}",
            }
        else:
            found["capability"] = torch.backends.cpu.get_cpu_capability()
        return found

    def close(self) -> None:
        self._decoder = self._graphs = None
        self._graphs_of.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _replayed(self, captured: Captured) -> float:
        start = time.perf_counter()
        captured.replay()
        self._synchronise()
        return time.perf_counter() - start

    def _moved_prompt(self, graphs: StepGraphs, tokens: int, slot: int) -> float:
        graphs.moving_prompt(tokens, slot)
        ids = self._random_ids(tokens)
        start = time.perf_counter()
        captured = graphs.moving_prompt(tokens, slot)
        captured.ids[:tokens] = ids
        captured.replay()
        self._synchronise()
        seconds = time.perf_counter() - start
        _check_finite(captured.logits)
        return seconds

    def _moved(self, graphs: StepGraphs, lengths: Mapping[int, int]) -> float:
        """What a captured step is given anew belongs to the step."""
        graphs.moving(lengths)  # captures, where it must, before the clock runs
        ids = self._random_ids(len(lengths))
        start = time.perf_counter()
        captured = graphs.moving(lengths)
        captured.ids[: len(ids)] = ids
        captured.replay()
        self._synchronise()
        seconds = time.perf_counter() - start
        _check_finite(captured.logits)
        return seconds

    def _warm(self, key: tuple[str | int, ...], call: Callable[[], torch.Tensor]) -> None:
        """Choose kernels, which may compile them, on one layer of each sort, outside what is timed."""
        if key in self._warmed:
            return
        self._warmed.add(key)
        with torch.inference_mode(), self.decoder.only_first():
            call()
            self._synchronise()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # what the trials of kernels took

    def _random_ids(self, count: int) -> torch.Tensor:
        ids = torch.randint(self._a.vocab_size, (count,), generator=self._ids)
        return ids.to(self._device)


def select_device(name: str) -> torch.device:
    """Raises InputError for a device that torch cannot use here."""
    kind = name.partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        usable = ", ".join(k for k, there in present.items() if there)
        raise InputError("device", f"a device that this torch can use ({usable})", name)
    return torch.device("cuda", 0) if by_uuid(name) else torch.device(name)  # by UUID: the only one that it can see


def synchroniser(device: torch.device) -> Callable[[], None]:
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device.type == "mps" else lambda: None


def forget_device_peak(device: torch.device) -> None:
    """Give back what earlier measurements took, and start the high-water mark afresh."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def set_threads(threads: int) -> None:
    """Threads of all products of this process, torch's and (once imported, see `compiled`) numba's."""
    torch.set_num_threads(threads)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def _check_finite(logits: torch.Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise InvalidOutputError("logits are not finite")

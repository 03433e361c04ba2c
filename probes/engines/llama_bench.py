"""llama.cpp through a `llama-bench` found on PATH, with a GGUF file from disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.engines.child import Memory, start_child
from probes.spec import ProbeSpec

__all__ = ["BenchRow", "bench", "find_llama_bench"]


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One test: prompt processing (`output_tokens` 0) or generation (`prompt_tokens` 0)."""

    prompt_tokens: int
    output_tokens: int
    tok_s: tuple[float, ...]
    model_bytes: int
    model_params: int
    version: str


def find_llama_bench() -> str:
    """Raises EngineUnavailableError."""
    found = shutil.which("llama-bench")
    if found is None:
        raise EngineUnavailableError("llama.cpp's llama-bench is not on PATH")
    return found


def bench(spec: ProbeSpec, model: Path, threads: int) -> tuple[list[BenchRow], Memory]:
    """One run of the tool for all prompt lengths and the generation, of one sequence. Raises InvalidOutputError for
    what it cannot read.
    """
    words = [find_llama_bench(), "-m", str(model), "-o", "json", "-r", str(spec.repeats), "-t", str(threads)]
    words += ["-p", ",".join(map(str, spec.prompt_tokens)), "-n", str(spec.output_tokens)]
    words += ["-ngl", "0" if spec.device == "cpu" else "99"]
    child, memory = start_child(words)
    output, errors = child.communicate()
    memory.settle()
    if child.returncode:
        last = errors.strip().splitlines()
        raise InvalidOutputError(f"llama-bench ended with code {child.returncode}: {last[-1][:200] if last else ''}")
    return _rows(output), memory


def _rows(output: str) -> list[BenchRow]:
    try:
        rows = [_row(item) for item in json.loads(output)]
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise InvalidOutputError(f"llama-bench printed no result table: {output[:80]!r}") from problem
    if not rows:
        raise InvalidOutputError("llama-bench printed an empty result table")
    return rows


def _row(item: Mapping[str, object]) -> BenchRow:
    samples: Sequence[object] = item.get("samples_ts") or [item["avg_ts"]]  # type: ignore[assignment]
    return BenchRow(
        prompt_tokens=int(str(item["n_prompt"])),
        output_tokens=int(str(item["n_gen"])),
        tok_s=tuple(float(str(s)) for s in samples),
        model_bytes=int(str(item.get("model_size", 0))),
        model_params=int(str(item.get("model_n_params", 0))),
        version=f"{item.get('build_commit', '')} {item.get('build_number', '')}".strip(),
    )

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from advisor.catalog.records import Architecture, AttentionKind
from probes.process import Identity, ProbeProcess
from probes.result import Measured, ProbeResult, State
from probes.spec import ProbeSpec

TINY = Architecture(
    attention=AttentionKind.GQA,
    hidden_size=256,
    num_layers=4,
    n_heads=4,
    n_kv_heads=2,
    head_dim=64,
    vocab_size=2048,
    intermediate_size=512,
    qkv_bias=True,
)


@pytest.fixture
def tiny() -> Architecture:
    return TINY


@pytest.fixture
def spec(tiny: Architecture) -> ProbeSpec:
    return ProbeSpec("tiny", "bf16", tiny, prompt_tokens=(16,), output_tokens=8, repeats=1, timeout_s=100.0)


@pytest.fixture
def child(spec: ProbeSpec) -> Callable[..., ProbeProcess]:
    """A probe whose process runs a few lines of Python in place of the worker."""

    def start(program: str, **changes: object) -> ProbeProcess:
        from dataclasses import replace

        return ProbeProcess(replace(spec, **changes), Identity("p1", "f1", "box"), [sys.executable, "-c", program])

    return start


@pytest.fixture
def result(spec: ProbeSpec) -> Callable[..., ProbeResult]:
    def make(probe_id: str = "p1", tok_s: float = 7.0, **changes: object) -> ProbeResult:
        values: dict[str, object] = {
            "id": probe_id,
            "spec": spec,
            "state": State.DONE,
            "fingerprint": "f1",
            "started_at": "2026-11-22T06:00:00+00:00",
            "duration_s": 12.0,
            "decode_tok_s": Measured(tok_s, tok_s * 0.9, tok_s * 1.1, 24),
        }
        return ProbeResult(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "probes.sqlite"

from __future__ import annotations

import pytest

from advisor.catalog.errors import InputError, UnsupportedError
from probes.engines.precision import Precision, precision_of
from probes.result import Measured
from probes.spec import Kind, ProbeSpec, SweepAxis


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tokens": ()},
        {"prompt_tokens": (0,)},
        {"output_tokens": 0},
        {"repeats": 0},
        {"batch": -1},
        {"threads": 0},
        {"timeout_s": 0.0},
    ],
)
def test_impossible_specs_are_refused(changes):
    with pytest.raises(InputError):
        ProbeSpec("x", "bf16", **changes)


def test_context_covers_prompt_output_and_sweep():
    assert ProbeSpec("x", "bf16", prompt_tokens=(128, 512), output_tokens=32).context_tokens == 544
    sweep = ProbeSpec("x", "bf16", kind=Kind.SWEEP, sweep_axis=SweepAxis.CONTEXT, sweep_values=(1024, 8192))
    assert sweep.context_tokens == 8192 + 32


def test_mixed_format_keeps_attention_at_sixteen_bit():
    mixed = precision_of("mixed")
    assert (mixed.attention, mixed.feed_forward) == (Precision.BF16, Precision.INT8_A8)


def test_formats_without_kernels_are_named():
    with pytest.raises(UnsupportedError, match="gguf-q4_k_m"):
        precision_of("gguf-q4_k_m")


def test_median_and_range_by_hand():
    figure = Measured.of([5.0, 1.0, 3.0])
    assert (figure.value, figure.low, figure.high, figure.n) == (3.0, 1.0, 5.0, 3)
    assert figure.spread == pytest.approx(4 / 3)

"""Seconds and bytes foreseen of a probe: each from terms that are measured or counted, none typed for a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis, Quantity
from probes import duration, foresee
from probes.engines.block import BLOCK_ELEMENTS
from probes.need import need_of
from probes.result import Prediction
from probes.spec import Kind, LoadTarget, ProbeSpec

SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def spec_of(catalog, variant_id: str, format_id: str = "bf16", **changes) -> ProbeSpec:
    return ProbeSpec(variant_id, format_id, catalog.variant(variant_id).architecture, **changes)


def test_expanded_weights_are_a_term_of_the_need(catalog):
    """7B, bf16, 512 tokens; the widest: 18944 -> 3584 by blocks of 110 rows, and the rows as float32."""
    need = need_of(spec_of(catalog, LARGE, prompt_tokens=(512,)))
    outputs = BLOCK_ELEMENTS // 18944
    assert need.scratch_bytes == 4 * (outputs * 18944 + 512 * (18944 + outputs))
    assert need.total_bytes == (
        need.tensor_bytes + need.cache_bytes + need.activation_bytes + need.scratch_bytes + need.runtime_bytes
    )
    assert need_of(spec_of(catalog, LARGE, "fp32")).scratch_bytes == 0
    assert need_of(spec_of(catalog, LARGE, device="cuda:0")).scratch_bytes == 0


def test_packed_copies_of_8_bit_products_are_counted(catalog):
    """oneDNN's 8-bit product packs the matrix anew: 18944 x 3584 bytes, its rows and its 32-bit sums."""
    need = need_of(spec_of(catalog, LARGE, "int8-w8a8", prompt_tokens=(128,)))
    assert need.scratch_bytes == 18944 * 3584 + 128 * (3584 + 4 * 18944)


def test_kernels_that_are_on_disk_need_no_compiling(catalog, monkeypatch, tmp_path):
    spec = spec_of(catalog, SMALL, prompt_tokens=(128,))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    cold = duration.duration_s(spec, 100.0, 10.0, 1.0, 1.0)
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "numba_float.product-30.py311.nbi").write_bytes(b"")
    warm = duration.duration_s(spec, 100.0, 10.0, 1.0, 1.0)
    assert cold - warm == pytest.approx(2 * duration.COMPILE_S)  # one number of rows for the prompt, one for decoding


@pytest.mark.parametrize(("device", "repeats", "times"), [("cpu", 3, 4), ("cpu", 1, 1), ("cuda:0", 3, 1)])
def test_more_rounds_of_a_virtual_machine_are_foreseen(catalog, device, repeats, times):
    """Steps of a second, 32 of them three times: 8 rounds of 3 steps and the dropped one; 0.2 s of readings and two
    passes of a second beside each.
    """
    spec = spec_of(catalog, SMALL, device=device, prompt_tokens=(128,), output_tokens=32, repeats=repeats)
    least, most = (duration.duration_s(spec, 100.0, 1.0, 1.0, 1.0, virtual=virtual) for virtual in (False, True))
    assert most - least == pytest.approx((times - 1) * 8 * (4 + 0.2 + 2))


@pytest.mark.parametrize(("rate", "serving_s"), [(0.05, 300.0), (0.2, 384.0), (1.0, 600.0)])
def test_requests_that_come_too_fast_take_longer_to_serve(catalog, rate, serving_s):
    """128 tokens at 20 per second are 6.4 s each, one after the other: 60 requests take 384 s, and a run of 300 s ends
    after twice its length at the latest.
    """
    spec = spec_of(catalog, SMALL, prompt_tokens=(128,), kind=Kind.SUSTAINED, output_tokens=1)
    idle = duration.duration_s(replace(spec, load=LoadTarget(1e-9, 300.0)), 20.0, 1e9, 1.0, 1.0)
    run = duration.duration_s(replace(spec, load=LoadTarget(rate, 300.0)), 20.0, 1e9, 1.0, 1.0)
    assert run - idle == pytest.approx(serving_s - 300.0)


def test_a_slow_probe_gets_the_time_it_was_foreseen_to_take_and_no_more_than_a_week(spec):
    def lasting(seconds: float) -> float:
        duration = Quantity.within(seconds, 2.0, Basis.ESTIMATED, "by hand")
        return replace(foresee.NOTHING_FORESEEN, prediction=Prediction(duration_s=duration)).patient(spec).timeout_s

    assert foresee.NOTHING_FORESEEN.patient(spec) == spec
    assert [lasting(s) for s in (10.0, 1000.0, 1e7)] == [spec.timeout_s, 4000.0, 7 * 86_400.0]

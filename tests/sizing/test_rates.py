"""Which peak a format's products run at."""

from __future__ import annotations

import numpy as np

from advisor.catalog import load_catalog
from advisor.sizing.columns import Hardware, ModelKey, Runtime
from advisor.sizing.rates import machine_rates, paths

CATALOG = load_catalog()


def test_fp4_weights_run_at_the_16_bit_rate_where_no_fp4_units_are() -> None:
    """Hopper multiplies by FP4 weights after expanding them; Blackwell has units for them."""
    rates = machine_rates([Hardware(CATALOG.device(name)) for name in ("h100-sxm", "b200-sxm")], "cuda", on_cpu=False)
    model = ModelKey(CATALOG.variant("deepseek-r1"), CATALOG.format("nvfp4"))
    ((path,),) = paths([model], [Runtime(CATALOG.engine("vllm"), "cuda")], on_cpu=False)
    hopper, blackwell = (CATALOG.device(name).peak_ops_per_s for name in ("h100-sxm", "b200-sxm"))
    assert np.array_equal(rates.peaks[:, path], [hopper["bf16"], blackwell["fp4"]])

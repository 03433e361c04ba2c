"""Which peak a format's products run at."""

from __future__ import annotations

import numpy as np

from advisor.catalog import load_catalog
from advisor.catalog.engines import rule_formats, support
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine
from advisor.sizing.columns import Hardware, ModelKey, Runtime
from advisor.sizing.factors import Factor
from advisor.sizing.pairings import Pairings
from advisor.sizing.rates import machine_rates, paths

CATALOG = load_catalog()


def test_fp4_weights_run_at_the_16_bit_rate_where_no_fp4_units_are() -> None:
    """Hopper multiplies by FP4 weights after expanding them; Blackwell has units for them."""
    rates = machine_rates([Hardware(CATALOG.device(name)) for name in ("h100-sxm", "b200-sxm")], "cuda", on_cpu=False)
    model = ModelKey(CATALOG.variant("deepseek-r1"), CATALOG.format("nvfp4"))
    ((path,),) = paths([model], [Runtime(CATALOG.engine("vllm"), "cuda")], on_cpu=False)
    hopper, blackwell = (CATALOG.device(name).peak_ops_per_s for name in ("h100-sxm", "b200-sxm"))
    assert np.array_equal(rates.peaks[:, path], [hopper["bf16"], blackwell["fp4"]])


def test_an_engine_without_fp4_products_does_not_use_the_units() -> None:
    """vLLM on GeForce Blackwell: Marlin for MXFP4, so prompts run as in bf16; NVFP4 uses the FP4 units."""
    runs = [(CATALOG.format(name), CATALOG.device("rtx-5090")) for name in ("bf16", "mxfp4", "nvfp4")]
    arrays, _ = _pairings(CATALOG.engine("vllm"), "cuda", runs).machine_arrays()
    given = CATALOG.device("rtx-5090").peak_ops_per_s
    assert list(arrays.peak) == [given["bf16"], given["bf16"], given["fp4"]]


def test_no_weight_only_path_multiplies_faster_than_16_bits() -> None:
    """Every rule of every engine on every device, those of processors too."""
    faster, seen = [], 0
    for engine, backend in [(e, b) for e in _ENGINES for b in {b for rule in e.supports for b in rule.backends}]:
        runs = [(fmt, device) for fmt in CATALOG.formats.values() for device in _expanding(engine, fmt, backend)]
        if runs:
            arrays, _ = _pairings(engine, backend, runs).machine_arrays()
            above = np.flatnonzero(arrays.peak > arrays.attention_peak * 1.000001)
            faster += [(engine.id, backend, runs[at][0].id, runs[at][1].id) for at in above]
            seen += len(runs)
    assert seen > 5000
    assert faster == []


_ENGINES = tuple(CATALOG.engines.values())


def _expanding(engine: Engine, fmt: Format, backend: str) -> list[Device]:
    rules = [rule for rule in engine.supports if rule.compute != "native" and fmt.id in rule_formats(rule, [fmt])]
    if not any(backend in rule.backends for rule in rules):
        return []
    return [d for d in CATALOG.devices.values() if (s := support(engine, fmt, d, backend)) and s.compute != "native"]


def _pairings(engine: Engine, backend: str, runs: list[tuple[Format, Device]]) -> Pairings:
    variant, n = CATALOG.variant("deepseek-r1-distill-qwen-7b"), len(runs)
    same = Factor(("",), np.zeros(n, dtype=np.intp))
    return Pairings(
        models=tuple(ModelKey(variant, fmt) for fmt, _ in runs),
        runtimes=(Runtime(engine, backend),),
        hardware=tuple(Hardware(device) for _, device in runs),
        model=np.arange(n),
        runtime=np.zeros(n, dtype=np.intp),
        machine=np.arange(n),
        on_cpu=np.full(n, backend == "cpu"),
        hybrid=np.zeros(n, dtype=bool),
        expanded=np.zeros(n, dtype=bool),
        year=np.full(n, 2026.0),
        flash=same,
        host_path=same,
        load_mode=same,
        dataset=same,
        phase=same,
    )

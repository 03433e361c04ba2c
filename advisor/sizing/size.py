"""The answer for one plan under one load."""

from __future__ import annotations

from advisor.catalog import Catalog
from advisor.catalog.quantity import Basis, Quantity
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import EfficiencyTable, table_for
from advisor.sizing.footprint import Footprint, footprint, footprint_of
from advisor.sizing.grid import BINDINGS, GridResult, Range, evaluate_speed
from advisor.sizing.plan import Binding, Load, Plan, Sizing
from advisor.sizing.suggestions import suggestions

__all__ = ["SOURCE", "basis_of", "size", "sizing_of"]

SOURCE = "step model, data/calibration.yaml"


def size(
    plan: Plan,
    load: Load,
    catalog: Catalog,
    tuning: Tuning | None = None,
    table: EfficiencyTable | None = None,
) -> Sizing:
    """Bytes, seconds, limits and suggestions of a plan. The catalogue gives suggestions and own measurements.

    `table`: other than the calibration in force.
    """
    table = table or table_for(catalog)
    tuning = tuning or Tuning()
    columns, loads = PlanColumns.of(plan), LoadColumns.of(load, 1)
    result = evaluate_speed(columns, loads, tuning, table)
    return _sizing(plan, load, result, 0, footprint_of(plan, columns, loads, tuning), catalog)


def sizing_of(
    plan: Plan, load: Load, result: GridResult, row: int, tuning: Tuning | None = None, catalog: Catalog | None = None
) -> Sizing:
    """Row `row` of a grid as the answer for its plan; with suggestions if a catalogue is given."""
    return _sizing(plan, load, result, row, footprint(plan, load, tuning), catalog)


def _sizing(
    plan: Plan, load: Load, result: GridResult, row: int, held: Footprint, catalog: Catalog | None
) -> Sizing:
    basis = basis_of(result, row)
    shares = {b: float(result.shares[row, n]) for n, b in enumerate(BINDINGS)}

    def quantity(values: Range, factor: float = 1.0) -> Quantity:
        value, low, high = values.at(row)
        return Quantity(value * factor, low * factor, high * factor, basis, SOURCE)

    return Sizing(
        plan=plan,
        load=load,
        fits=held.fits,
        binding=BINDINGS[int(result.binding[row])] if held.fits else Binding.CAPACITY,
        shortfall_bytes=held.shortfall_bytes,
        per_device=held.device,
        host=held.host,
        kv_bytes_per_token=held.kv_bytes_per_token,
        max_concurrency=held.max_concurrency,
        max_context_tokens=held.max_context_tokens,
        prefill_tok_s=quantity(result.prefill_tok_s),
        decode_tok_s=quantity(result.decode_tok_s),
        output_tok_s=quantity(result.output_tok_s),
        ttft_ms=quantity(result.ttft_s, 1e3),
        tpot_ms=quantity(result.tpot_s, 1e3),
        shares=shares,
        suggestions=suggestions(plan, load, catalog) if catalog is not None and not held.fits else (),
    )


def basis_of(result: GridResult, row: int) -> Basis:
    """How the figures of one row are known."""
    local = int(result.local[row])
    if local:
        return Basis.MEASURED if local == 2 else Basis.CALIBRATED
    return Basis.EXTRAPOLATED if result.extrapolated[row] else Basis.ESTIMATED

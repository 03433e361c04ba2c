"""What own measurements teach about one device, engine and format: corrections of the public calibration."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LocalCalibration"]


@dataclass(frozen=True, slots=True)
class LocalCalibration:
    """Measurements of a device, summarised as corrections of the public calibration. Hashable.

    Applies to plans on the same device (a processor: the host's id, or its processor's), engine and format family.
    `effects`: factors on the fitted effects (`bandwidth`, `compute`, `layer_s`, …), so that the step model carries what
    was measured over to other models and loads. `*_factor` multiply the seconds that come out;
    `*_factor_90` >= 1 is the half-width of the 90 % interval of one sequence on one device, as a factor; `loaded_*` of
    several sequences at once (None: not measured). They hold where something was measured, and widen with the distance
    from there: `contexts` (tokens cached while decoding;
    `loaded_contexts`: several sequences), `prompts` (tokens), `sequences` (at once), `products`
    (elements of a typical matrix of the models that were run; empty: this model itself), in ascending order.
    `format_family`: "" for all. `format_id`: only this format of the family ("": all of them); kernels of one family
    may differ by factors.
    `kinds`: of the models that were run (`Architecture.kind`): for others the factors hold, but neither the interval
    narrows nor the basis changes. None: every kind.
    `variant_id`: only this model ("": all of them). `measured`: this model itself was run (basis MEASURED where it
    was), else a relative was (CALIBRATED).
    `first_*_off`: rate measured / rate foreseen before the first run (time to first token: seconds); 1: exact.
    """

    device_id: str
    engine_id: str
    format_family: str
    decode_factor: float
    decode_factor_90: float
    prefill_factor: float
    prefill_factor_90: float
    runs: int
    measured: bool = False
    format_id: str = ""
    variant_id: str = ""
    kinds: tuple[str, ...] | None = None
    effects: tuple[tuple[str, float], ...] = ()
    loaded_factor: float = 1.0
    loaded_factor_90: float | None = None
    contexts: tuple[float, ...] = ()
    loaded_contexts: tuple[float, ...] = ()
    prompts: tuple[float, ...] = ()
    sequences: tuple[float, ...] = ()
    products: tuple[float, ...] = ()
    first_decode_off: float | None = None
    first_ttft_off: float | None = None
    newest: str = ""  # day of the newest run, ISO 8601
    machines: int = 1  # distinct machines that were measured

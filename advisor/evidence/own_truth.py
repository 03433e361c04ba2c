"""This program's own measurements on accelerators as rows of truth: `data/probes/*.json` to
`data/truth/own_probes.csv`.

    python -m advisor.evidence.own_truth

No fit ever sees them: they say how far the published calibration is off on an engine and a card that it has no rows of
together. Extrapolated runs (slices) and loads (whose speeds are those of a queue) are left out.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.records import AttentionKind, Variant
from advisor.evidence.truth import OWN_PROBES_FILE, THROUGHPUT_FILE
from advisor.sizing.profile import profile
from probes.codec import decode
from probes.engines.precision import canonical_format
from probes.result import Point, ProbeResult
from probes.spec import Kind

__all__ = ["PROBES_FOLDER", "kept_results", "own_rows", "write_rows"]

PROBES_FOLDER = DATA_DIR / "probes"
SMALL_PARAMS, MIDDLE_PARAMS, LARGE_PARAMS = 4.5e9, 16e9, 100e9
_KINDS = (Kind.FULL, Kind.SWEEP)

Row = dict[str, str]


def own_rows(folder: Path = PROBES_FOLDER, catalog: Catalog | None = None) -> list[Row]:
    """By the columns of throughput.csv, oldest first."""
    catalog = catalog or load_catalog()
    results = [one for path in sorted(folder.glob("*.json")) for one in kept_results(path)]
    known = [r for r in results if r.is_valid and r.spec.kind in _KINDS and r.place is not None and r.place.device_id]
    rows = [row for r in sorted(known, key=lambda r: r.started_at) for row in _rows(r, catalog)]
    return [{"id": f"t-own-{number:04d}", **row} for number, row in enumerate(rows, start=1)]


def write_rows(rows: list[Row], path: Path) -> None:
    with THROUGHPUT_FILE.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def kept_results(path: Path) -> list[ProbeResult]:
    """Of one file, as `advisor probe --export` writes it."""
    listed = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [decode(ProbeResult, item, where=path.name) for item in listed]


def _rows(result: ProbeResult, catalog: Catalog) -> Iterator[Row]:
    assert result.place is not None
    spec, device = result.spec, catalog.device(result.place.device_id)
    variant, format_id = catalog.variant(spec.variant_id), canonical_format(spec.format_id)
    versions = [f"torch {result.versions.get('torch', '')}", result.versions.get("kernels", "")]
    shared = {
        "tier": "A",
        "device_class": str(device.device_class),
        "model_class": _model_class(variant, catalog),
        "group": f"{device.id}|{variant.model_id}|{format_id}",
        "model_id": variant.id,
        "format_id": format_id,
        "engine_id": str(spec.engine),
        "engine_backend": "cuda",
        "engine_version": ", ".join(v for v in versions if v.strip() not in ("", "torch")),
        "device_id": device.id,
        "device_assumed": "0",
        "n_devices": "1",
        "offload": "none",
        "date": result.started_at[:10],
        "source": "own probe",
        "source_ref": f"{result.id} in data/probes",
        "notes": ", ".join(result.flags),
    }
    for point in result.points:
        found = _measured(point, spec.output_tokens)
        if found is not None:
            yield shared | found


def _measured(point: Point, output_tokens: int) -> Row | None:
    """A prompt, or decode of all sequences together."""
    if point.name == "prefill" and "prompt_tokens" in point.at:
        tokens, rate = point.at["prompt_tokens"], point.values["prefill_tok_s"].value
        where = {"input_tokens": f"{tokens:g}", "depth": "0", "load_mode": "single", "concurrency": "1"}
        return where | {"metric": "prefill_tok_s", "value": f"{rate:.6g}"}
    if point.name == "decode" and "output_tok_s" in point.values:
        sequences, rate = point.at["batch"], point.values["output_tok_s"].value
        mode = "single" if sequences == 1 else "batch"
        where = {"output_tokens": f"{output_tokens}", "depth": f"{point.at['context_tokens']:g}", "load_mode": mode}
        return where | {"concurrency": f"{sequences:g}", "metric": "decode_tok_s", "value": f"{rate:.6g}"}
    return None


def _model_class(variant: Variant, catalog: Catalog) -> str:
    a = variant.architecture
    size = profile(a, catalog.format("bf16")).total_params
    if a.attention is not AttentionKind.GQA:
        return "deepseek_mla_large" if size > LARGE_PARAMS else "deepseek_mla_small"
    if a.is_moe:
        return "moe_large" if size > LARGE_PARAMS else "moe_small"
    if size <= SMALL_PARAMS:
        return "dense_le4b"
    if size <= MIDDLE_PARAMS:
        return "dense_7_15b"
    return "dense_20_80b" if size <= LARGE_PARAMS else "dense_405b"


if __name__ == "__main__":
    rows = own_rows()
    write_rows(rows, OWN_PROBES_FILE)
    sys.stdout.write(f"{len(rows)} rows in {OWN_PROBES_FILE.name}\n")

"""Scores as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advisor.evidence.memory_scores import memory_scores
from advisor.evidence.memory_truth import MemoryPrediction
from advisor.evidence.scores import Cell, Summary
from advisor.evidence.validate import Validation
from advisor.evidence.weight_scores import TARGET_MEDIAN, TARGET_P95, missed_rows, weight_scores

__all__ = ["ablation_text", "memory_text", "speed_text", "summary_text"]

_WORST = 10


def speed_text(found: Validation, scheme: str, stored: Mapping[str, Any]) -> str:
    """Summary, worst cells and rows that were not predicted."""
    title = (
        "published calibration" if scheme == "none" else f"cross-validated by {scheme}, fit repeated without each fold"
    )
    lines = [summary_text(title, found.summary), "\nworst cells (median |log2|, bias, rows):\n"]
    worst = sorted(found.cells, key=lambda cell: -cell.median_abs_log2)[:_WORST]
    lines += [_cell_line(cell) for cell in worst]
    lines += [f"not predicted: {row.id}: {row.unpredicted_reason}\n" for row in found.rows if row.predicted is None]
    lines += [f"\nstored with the calibration, cross-validated {name}: {_stored(s)}\n" for name, s in stored.items()]
    return "".join(lines)


def summary_text(title: str, s: Summary) -> str:
    """The figures of one validation."""
    single = "-" if s.single_stream_gpu_decode is None else f"{s.single_stream_gpu_decode:.3f}"
    worst = "-" if s.worst_cell_of_ten_rows is None else f"{s.worst_cell_of_ten_rows:.2f}"
    classes = ", ".join(f"{name} {share:.0%}" for name, share in s.coverage_by_class.items())
    return (
        f"{title}: {s.rows} rows, {s.unpredicted} not predicted, {s.cells} cells\n"
        f"  mean over cells of median |log2(predicted/measured)|: {s.mean_cell_median:.3f}"
        f" (all rows {s.median_abs_log2:.3f})\n"
        f"  within 20 %: {s.within_20_percent:.1%}   within 2x: {s.within_2x:.1%}\n"
        f"  single-stream decode on GPUs: {single}   worst cell of ten rows or more: {worst}\n"
        f"  90 % intervals cover {s.coverage_90:.1%} ({classes})\n"
    )


def ablation_text(left_out: str, scheme: str, s: Summary) -> str:
    """One line of the table of what each term is worth."""
    name = f"without {left_out}" if left_out else "all terms"
    worst = s.worst_cell_of_ten_rows or 0.0
    shares = f"20 % {s.within_20_percent:.1%}  2x {s.within_2x:.1%}"
    return f"{name:34s} by {scheme:7s} cells {s.mean_cell_median:.3f}  {shares}  worst {worst:.2f}\n"


def memory_text(rows: Sequence[MemoryPrediction], stored: Mapping[str, Any]) -> str:
    """Errors of each kind of bytes, the rows that were not predicted, and what held-out fits scored."""
    lines = ["\nmemory (rows, not predicted, median error, 90th and 95th percentile, inside the interval):\n"]
    lines += [
        f"  {s.what:22s} {s.rows:4d} {s.unpredicted:3d}  {s.median_error:7.2%}  {s.p90_error:7.2%}  {s.p95_error:7.2%}"
        f"  {s.coverage_90:6.1%}\n"
        for s in memory_scores(rows)
    ]
    lines += _weight_lines(rows)
    lines += [f"  not predicted: {r.id}: {r.unpredicted_reason}\n" for r in rows if r.predicted_bytes is None]
    lines += [
        f"  buffers and peaks, cross-validated {name}: {s['all']['rows']} rows, "
        f"median {s['all']['median_error']:.2%}, within 20 % {s['all']['within_20_percent']:.1%}\n"
        for name, s in stored.items()
    ]
    return "".join(lines)


def _weight_lines(rows: Sequence[MemoryPrediction]) -> list[str]:
    """Weights by how they are known, and the rows beyond the target."""
    lines = [
        f"  weights and files, {s.basis}: {s.rows} rows, median {s.median_error:.3%}, "
        f"95th percentile {s.p95_error:.2%}, inside the interval {s.coverage_90:.1%}\n"
        for s in weight_scores(rows)
    ]
    if lines:
        target = f"median {TARGET_MEDIAN:.1%}, 95th percentile {TARGET_P95:.0%}"
        lines.append(f"  target where the source is exact: {target}\n")
    lines += [
        f"  beyond {TARGET_P95:.0%}: {row.id} ({row.basis}) {row.error:+.1%}: "
        f"{row.reasons.get('en', 'reason unknown')}\n"
        for row in missed_rows(rows)
    ]
    return lines


def _cell_line(cell: Cell) -> str:
    name = f"{cell.device_class} / {cell.model_class} / {cell.metric}"
    return f"  {name:60s} {cell.median_abs_log2:5.2f}  {cell.bias_log2:+5.2f}  {cell.rows:4d}\n"


def _stored(s: Mapping[str, Any]) -> str:
    return (
        f"cells {s['mean_cell_median']:.3f}, within 20 % {s['within_20_percent']:.1%}, "
        f"within 2x {s['within_2x']:.1%}, coverage {s['coverage_90']:.1%}"
    )

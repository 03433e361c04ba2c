"""Figures of load, fleets and money: what is drawn, without a page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog.quantity import Basis, Quantity
from advisor.jobs.answers import CapacityReport, CurveRow
from advisor.serving.economics import Economics
from advisor.serving.limits import Limit
from advisor.ui.charts.fleet import MOST_ROWS, Placed, fleet_grid, place
from advisor.ui.charts.load import knee, latency_lines, time_unit
from advisor.ui.charts.money import year_lines

NAN = float("nan")
TEXTS = dict.fromkeys(
    ("title", "hint", "alt", "x", "curve", "knee", "here", "limit", "own", "rent", "api", "value", "lost"), "text"
) | {"y": "latency ({unit})"}


def _row(load: float, ttft: float) -> CurveRow:
    return CurveRow(load, 10 * load, ttft, 5.0, ttft, 0.5)


CURVE = (_row(0.1, 50), _row(0.5, 55), _row(0.8, 70), _row(0.9, 200), _row(0.95, NAN), _row(1.0, NAN))
REPORT = CapacityReport(
    True, 3, 4, Limit.CACHE, None, (1, 1, 1), "", 0.5, 5.0, 3.0, True, (), 0.75, (), True, 1.0, 0, 1.0, 0.5, 3, 100, 5,
    CURVE, None,
)  # fmt: skip


def test_the_knee_is_the_bend_of_the_curve() -> None:
    assert knee(CURVE, "ttft") == (0.8, 70)
    assert knee((_row(0.1, 5), _row(0.5, 5), _row(0.9, 5)), "ttft") is None


def test_nothing_is_drawn_where_a_waiting_time_means_nothing() -> None:
    lines = latency_lines(REPORT, "ttft", 100.0, TEXTS)
    assert max(lines.lines[0].x) == pytest.approx(90)
    here = lines.lines[-1]
    assert here.x == (75.0,)
    assert 55 < here.y[0] < 70
    assert [limit.value for limit in lines.limits] == [100.0]
    assert latency_lines(replace(REPORT, feasible=False), "ttft", None, TEXTS).limits == ()
    assert lines.y_label == "latency (ms)"


def test_latencies_of_seconds_are_drawn_in_seconds() -> None:
    slow = replace(REPORT, curve=tuple(replace(row, ttft_ms=100 * row.ttft_ms) for row in CURVE))
    lines = latency_lines(slow, "ttft", 10_000.0, TEXTS)
    fast = latency_lines(REPORT, "ttft", 100.0, TEXTS)
    assert lines.y_label == "latency (s)"
    assert lines.limits[0].value == 10.0
    for a, b in zip(lines.lines, fast.lines, strict=True):
        assert a.y == pytest.approx([value / 10 for value in b.y])


@given(st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 4, 8]))
def test_every_replica_gets_its_devices_and_small_ones_stay_in_one_server(replicas: int, each: int, per: int) -> None:
    rows = place(Placed("p", replicas, each, per, 0.5))
    cells = [replica for row in rows for replica in row if replica is not None]
    assert {r: cells.count(r) for r in set(cells)} == dict.fromkeys(range(replicas), each)
    if each <= per:
        assert all(sum(replica in row for row in rows) == 1 for replica in range(replicas))


def test_the_map_marks_what_is_lost_and_stays_small() -> None:
    texts = {**TEXTS, "row": "{pool} {number}", "column": "{number}", "lost": "gone"}
    pools = [Placed("a", 900, 1, 8, 0.9), Placed("b", 3, 2, 4, 0.5, lost=1)]
    grid = fleet_grid(pools, texts)
    assert len(grid.rows) <= MOST_ROWS
    assert len(grid.rows) * len(grid.columns) <= 300
    assert grid.rows[-2:] == ("b 1", "b 2")
    assert grid.texts[-1][:2] == ("#3 gone", "#3 gone")
    assert grid.values[0][0] == 0.9


def test_spending_over_years_starts_with_the_capital() -> None:
    def between(value: float) -> Quantity:
        return Quantity(value, value / 2, value * 2, Basis.ESTIMATED)

    empty = dict.fromkeys(Economics.__slots__)
    years = {
        "tco_usd": tuple(between(100.0 + y) for y in range(1, 6)),
        "rent_years_usd": (),
        "prices_from": "",
        "prices_to": "",
    }
    answer = Economics(**{**empty, **years, "capital_usd": between(100.0)})  # type: ignore[arg-type]
    lines = year_lines(answer, 2.0, TEXTS).lines
    assert lines[0].x == (0, 1, 2, 3, 4, 5)
    assert lines[0].y[0] == 100
    assert lines[0].low[0] == 50
    assert lines[1].y == (0, 24, 48, 72, 96, 120)


@pytest.mark.parametrize(("longest", "unit"), [(20.0, "s"), (900.0, "min"), (90_000.0, "h")])
def test_times_are_shown_in_a_readable_unit(longest: float, unit: str) -> None:
    assert time_unit((0.0, longest))[1] == unit

"""The fleet map: which replica sits on which device of which server, and how full each memory is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advisor.report.figures import Grid

__all__ = ["MOST_ROWS", "Placed", "fleet_grid", "place"]

MOST_ROWS = 24  # servers that are drawn; 24 of 8 devices are 192 cells


@dataclass(frozen=True, slots=True)
class Placed:
    """A pool on its servers. `used`: share of each device's usable memory. `lost`: its last replicas are down."""

    name: str
    replicas: int
    devices_per_replica: int
    devices_per_server: int
    used: float
    lost: int = 0


def place(pool: Placed) -> tuple[tuple[int | None, ...], ...]:
    """Replica number on each device of each server, None where it is free.

    Replicas that fit into one server are never split over two; larger ones take whole servers.
    """
    per_server, each = pool.devices_per_server, max(1, pool.devices_per_replica)
    rows: list[tuple[int | None, ...]] = []
    if each <= per_server:
        together = per_server // each
        for first in range(0, pool.replicas, together):
            numbers = range(first, min(first + together, pool.replicas))
            cells: list[int | None] = [number for number in numbers for _ in range(each)]
            rows.append(tuple(cells + [None] * (per_server - len(cells))))
        return tuple(rows)
    for number in range(pool.replicas):
        for start in range(0, each, per_server):
            count = min(per_server, each - start)
            rows.append((number,) * count + (None,) * (per_server - count))
    return tuple(rows)


def fleet_grid(pools: Sequence[Placed], texts: Mapping[str, str]) -> Grid:
    """At most MOST_ROWS servers, an equal share of them for each pool; colours by memory used."""
    columns = max(pool.devices_per_server for pool in pools)
    share = max(1, MOST_ROWS // len(pools))
    rows, values, cells = [], [], []
    for pool in pools:
        for number, server in enumerate(place(pool)[:share], start=1):
            rows.append(texts["row"].format(pool=pool.name, number=number))
            values.append(tuple(_value(replica, pool) for replica in server) + (None,) * (columns - len(server)))
            cells.append(
                tuple(_cell(replica, pool, texts["lost"]) for replica in server) + ("",) * (columns - len(server))
            )
    return Grid(
        title=texts["title"],
        hint=texts["hint"],
        alt=texts["alt"],
        rows=tuple(rows),
        columns=tuple(texts["column"].format(number=n) for n in range(1, columns + 1)),
        values=tuple(values),
        texts=tuple(cells),
        value_label=texts["value"],
        log=False,
    )


def _is_lost(replica: int, pool: Placed) -> bool:
    return replica >= pool.replicas - pool.lost


def _value(replica: int | None, pool: Placed) -> float | None:
    return None if replica is None else 0.0 if _is_lost(replica, pool) else pool.used


def _cell(replica: int | None, pool: Placed, lost: str) -> str:
    if replica is None:
        return ""
    return f"#{replica + 1} {lost}" if _is_lost(replica, pool) else f"#{replica + 1} {100 * pool.used:.0f} %"

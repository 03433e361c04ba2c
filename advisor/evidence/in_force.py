"""The one place where what is known comes together: public facts and calibration, and own measurements before them.

Every page and command sizes with the catalogue made here, so a stored measurement reaches all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import FathomError
from advisor.evidence.local import local_calibrations
from probes.machine import detect
from probes.machine_records import Machine
from probes.place import this_host
from probes.result import ProbeResult
from probes.spec import Kind
from probes.store_place import default_path

__all__ = ["Known", "known", "known_catalog", "store_revision", "with_measurements"]

TAUGHT_BY = (Kind.FULL, Kind.SLICE, Kind.SWEEP, Kind.MACHINE)
MOST_RESULTS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """`problem`: why the measurements could not be read; the public calibration is in force then."""

    catalog: Catalog
    problem: FathomError | None = None


def store_revision() -> str:
    """Changes whenever a measurement was added to the default store; empty without one."""
    place = default_path()
    if isinstance(place, Path) and not place.is_file():
        return ""
    from probes.store import Store

    try:
        return Store(place).revision()
    except FathomError as problem:
        return str(problem)


def known_catalog() -> Catalog:
    """The catalogue with the measurements of the default store; without them where it cannot be read."""
    return known(load_catalog()).catalog


def known(catalog: Catalog) -> Known:
    """A store that does not exist yet costs nothing; a damaged one must not stop an answer."""
    place = default_path()
    if isinstance(place, Path) and not place.is_file():
        return Known(catalog)
    from probes.store import Store  # the database library takes half a second to load

    try:
        results = Store(place).history(valid_only=True, kinds=TAUGHT_BY, limit=MOST_RESULTS)
    except FathomError as problem:
        return Known(catalog, problem)
    return Known(with_measurements(catalog, results, detect()) if results else catalog)


def with_measurements(catalog: Catalog, results: Sequence[ProbeResult], machine: Machine) -> Catalog:
    """The catalogue, corrected by measurements of any machine; this one is its host `this-machine` if it was measured.

    `results`: newest first.
    """
    mine = [result for result in results if result.fingerprint == machine.fingerprint]
    hosts = catalog.hosts
    if mine:
        host = replace(this_host(machine, catalog, mine), reference=True)  # by name only, never an offer
        hosts = {**hosts, host.id: host}
    return replace(catalog, hosts=hosts, calibrations=local_calibrations(results, machine, catalog))

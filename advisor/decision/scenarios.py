"""The built-in scenarios and those of the user's overlay."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import UnknownIdError
from advisor.catalog.files import records
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import resolve_ids, scenario_from_file, scenario_from_mapping

__all__ = ["find_scenario", "load_scenarios"]


def load_scenarios(catalog: Catalog) -> Mapping[str, Scenario]:
    """Scenarios by id, built-in ones first; an overlay's scenario with the same id replaces a built-in one.

    Raises DataError for a broken record or an id that the catalogue lacks.
    """
    return {
        key: resolve_ids(scenario, catalog, source=file) for key, (file, scenario) in _load(catalog.overlay_dir).items()
    }


def find_scenario(wanted: str, catalog: Catalog) -> Scenario:
    """By id, or from a YAML or JSON file; `FILE#ID` names one of several in a file.

    Raises UnknownIdError, InputError or DataError.
    """
    known = load_scenarios(catalog)
    if wanted in known:
        return known[wanted]
    whole, (name, _, record) = Path(wanted), wanted.rpartition("#") if "#" in wanted else (wanted, "", "")
    path, record = (whole, "") if whole.is_file() else (Path(name), record)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file():
        return resolve_ids(scenario_from_file(path, record), catalog, source=path.name)
    raise UnknownIdError("scenario", wanted, known)


@lru_cache(maxsize=8)
def _load(overlay: Path | None) -> Mapping[str, tuple[str, Scenario]]:
    """File and scenario, by id."""
    found = records("scenarios", overlay)
    return {item.id: (item.file, scenario_from_mapping(item.content, source=item.file)) for item in found}

"""Why a probe ended without its figures, by key and values, so that each reader gets it in their own language.

Texts of libraries stay as they are, as a value of such a text or alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.catalog.errors import DataError
from advisor.catalog.text import translate
from probes.engines.base import EngineUnavailableError, InvalidOutputError

__all__ = ["DATA", "Failure", "failure_of"]

_PARTS = ("file", "record", "field", "expected")
DATA = "data"  # a broken file; its values are the fields of a DataError
_LOST = ("CUDA error", "HIP error", "device-side assert")  # how torch begins them


@dataclass(frozen=True, slots=True)
class Failure:
    """`probes.failure.<key>` is the text, `values` what it names."""

    key: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """In English, one line: what is stored beside it."""
        if self.key == DATA:
            return str(self.data_error())
        return translate("en", f"probes.failure.{self.key}", **self.values)

    def data_error(self) -> DataError:
        """The same as raised; for the key `DATA`."""
        parts = {name: self.values.get(name, "") for name in _PARTS}
        return DataError(**parts, got=self.values.get("got"))


def failure_of(problem: BaseException, device: str) -> Failure | None:
    """What the problem says by key and values; None where it has only a text. `device`: that of the probe."""
    found = getattr(problem, "failure", None)
    if isinstance(found, Failure):
        return found
    if isinstance(problem, DataError):
        parts = {name: str(getattr(problem, name)) for name in _PARTS}
        return Failure(DATA, parts if problem.got is None else {**parts, "got": str(problem.got)})
    line = next(iter(str(problem).strip().splitlines()), "")[:300]
    if isinstance(problem, EngineUnavailableError):
        return Failure("unavailable", {"detail": line})
    if isinstance(problem, InvalidOutputError) and "not finite" in line:
        return Failure("not_finite")
    if isinstance(problem, ModuleNotFoundError) and problem.name:
        return Failure("not_installed", {"package": problem.name})
    if isinstance(problem, RuntimeError) and any(mark in line for mark in _LOST):
        return Failure("device_lost", {"device": device, "detail": line})
    return None

"""A folder with `config.json` and safetensors, whole or in shards: tensors by name, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from advisor.catalog.errors import DataError
from probes.engines.base import EngineUnavailableError

__all__ = ["Checkpoint"]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Checkpoint:
    """Raises DataError naming the file for what is missing or damaged, EngineUnavailableError without safetensors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config = _read_json(folder / "config.json", "the model's configuration")
        self._files = self._where()
        self._open: tuple[Path, Any] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """In the type it is stored in. A wrong shape is another model, and said so."""
        path = self._files.get(name)
        if path is None:
            raise DataError(str(self._folder), name, "", "a tensor of this name", "none")
        found: Tensor = self._handle(path).get_tensor(name)
        if tuple(found.shape) != shape:
            raise DataError(path.name, name, "shape", str(shape), tuple(found.shape))
        return found

    def close(self) -> None:
        self._open = None

    def _where(self) -> Mapping[str, Path]:
        index = self._folder / INDEX
        if index.is_file():
            listed = _read_json(index, "the index of the shards").get("weight_map")
            if not isinstance(listed, dict):
                raise DataError(index.name, "", "weight_map", "a mapping from tensors to files", listed)
            return {str(name): self._shard(str(file)) for name, file in listed.items()}
        files = sorted(self._folder.glob("*.safetensors"))
        if not files:
            raise DataError(str(self._folder), "", "", f"{SINGLE}, or shards with {INDEX}", "no safetensors")
        return {name: path for path in files for name in _opened(path).keys()}  # noqa: SIM118 (not a dict)

    def _shard(self, file: str) -> Path:
        """Only files beside the index: a path that leads elsewhere is refused."""
        path = self._folder / file
        if Path(file).name != file or not path.is_file():
            raise DataError(INDEX, "", "weight_map", "files of this folder", file)
        return path

    def _handle(self, path: Path) -> Any:
        """One shard is open at a time."""
        if self._open is None or self._open[0] != path:
            self._open = (path, _opened(path))
        return self._open[1]


def _opened(path: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as problem:
        raise EngineUnavailableError("reading a checkpoint needs safetensors: pip install safetensors") from problem
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as problem:
        raise DataError(path.name, "", "", "a complete safetensors file", str(problem)) from problem


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise DataError(str(path), "", "", what, str(problem)) from problem
    if not isinstance(found, dict):
        raise DataError(str(path), "", "", what, type(found).__name__)
    return found

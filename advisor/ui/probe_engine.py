"""Which engine measures: those that are installed can be chosen, the others are shown with what they lack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from advisor.catalog.records import Architecture
from advisor.catalog.units import format_bytes
from advisor.commands.probe_file import identify
from advisor.commands.probe_model import of_folder
from advisor.ui import backend
from advisor.ui.text import t
from probes.engines.installed import KINDS, missing_engines
from probes.gguf.synthetic import cached_files, clear_cache
from probes.spec import EngineName, Kind

__all__ = ["ChosenModel", "choose_engine", "model_of"]

_KEY = "probe.engine"


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """`path`: a file from disk that holds it; None: weights are made up."""

    variant_id: str
    format_id: str
    architecture: Architecture
    path: str | None = None


def choose_engine(kind: Kind) -> EngineName:
    """A choice among the engines that are here and can measure this kind."""
    missing = missing_engines()
    able = [name for name in EngineName if name is not EngineName.ENDPOINT and kind in KINDS[name]]
    here = [str(name) for name in able if name not in missing] or [str(EngineName.TORCH)]
    if st.session_state.get(_KEY) not in here:
        st.session_state[_KEY] = here[0]
    chosen = st.selectbox(t("probe.engine"), here, format_func=_name, key=_KEY, persist_state="session", width=170)
    absent = [name for name in able if name in missing]
    if absent:
        help_text = "  \n".join(t("probe.engine_missing", engine=_name(name), what=missing[name]) for name in absent)
        names = [_name(name) for name in absent]
        st.pills(t("probe.engine_absent"), names, disabled=True, key="probe.absent", help=help_text)
    return EngineName(chosen or here[0])


def model_of(engine: EngineName, kind: Kind, variant_id: str, format_id: str) -> ChosenModel:
    """The variant with made-up weights, or a file or folder from disk. Raises DataError for one that is none."""
    made_up = ChosenModel(variant_id, format_id, backend.catalog().variant(variant_id).architecture)
    if engine is EngineName.LLAMACPP:
        return _of_file(variant_id) or made_up
    if engine is EngineName.TORCH and kind is not Kind.SLICE:  # the weights of a slice are always made up
        return _of_folder(format_id) or made_up
    return made_up


def _of_folder(format_id: str) -> ChosenModel | None:
    path = st.text_input(
        t("probe.checkpoint"),
        key="probe.checkpoint",
        placeholder=t("probe.gguf_none"),
        help=t("probe.checkpoint_help"),
        persist_state="session",
    ).strip()
    if not path:
        return None
    folder = Path(path).expanduser()
    found = of_folder(folder, None, backend.catalog())
    st.caption(t("probe.checkpoint_found", variant=found.id))
    return ChosenModel(found.id, format_id, found.architecture, str(folder))


def _of_file(variant_id: str) -> ChosenModel | None:
    path = st.text_input(
        t("probe.gguf"), key="probe.gguf", placeholder=t("probe.gguf_none"), persist_state="session"
    ).strip()
    _cache_note()
    if not path:
        return None
    found = identify(Path(path).expanduser(), backend.catalog(), variant_id)
    st.caption(t("probe.gguf_found", variant=found.variant_id, format=found.format_id))
    return ChosenModel(found.variant_id, found.format_id, found.architecture, str(Path(path).expanduser()))


def _cache_note() -> None:
    """Files written by earlier probes, with a button that removes them."""
    files = cached_files()
    if not files:
        return
    size = format_bytes(sum(path.stat().st_size for path in files))
    st.button(
        t("probe.gguf_clear", count=len(files), size=size),
        key="probe.gguf_clear",
        icon=":material/delete:",
        on_click=_clear,
    )


def _clear() -> None:
    clear_cache()


def _name(engine: str) -> str:
    return t(f"probe.engine_of.{str(engine).replace('.', '_')}")

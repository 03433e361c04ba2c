"""Expected failures as one sentence in either language."""

from __future__ import annotations

import re

from advisor.catalog.errors import DataError, FathomError, InputError, UnknownIdError, UnsupportedError
from advisor.catalog.text import name_in, texts, translate

__all__ = ["problem_text"]

# What the checks of records say, and the key of the same in either language.
_PHRASES = (
    (re.compile(r"greater than or equal to ([\d.e+-]+)"), "at_least"),
    (re.compile(r"less than or equal to ([\d.e+-]+)"), "at_most"),
    (re.compile(r"greater than ([\d.e+-]+)"), "above"),
    (re.compile(r"at least input \+ output \+ reasoning tokens = (\d+)"), "context_room"),
    (re.compile(r"fewer than input_tokens = (\d+)"), "fewer_than_input"),
    (re.compile(r"exactly one of (.+)"), "exactly_one"),
    (re.compile(r"an unbroken link made by Fathom()"), "link"),
    (re.compile(r"a known field such as (.+)"), "known_field_like"),
    (re.compile(r"a known field()"), "known_field"),
    (re.compile(r"valid YAML \((.+)\)"), "yaml"),
    (re.compile(r"valid JSON(.*)"), "json"),
    (re.compile(r"a value()"), "value"),
    (re.compile(r"free space on the disk .*()"), "disk_space"),
    (re.compile(r"a disk that takes writes .*()"), "disk_writes"),
    (re.compile(r"an intact SQLite file .*()"), "sqlite"),
    (re.compile(r"a file that can be written()"), "writable_file"),
    (re.compile(r"a folder that can be written()"), "writable_folder"),
    (re.compile(r"a database that answers()"), "database"),
    (re.compile(r"a working database()"), "working_database"),
    (re.compile(r"a complete safetensors file()"), "safetensors"),
    (re.compile(r"the model's configuration()"), "model_config"),
    (re.compile(r"the index of the shards()"), "shards"),
    (re.compile(r"a tensor of this name()"), "tensor"),
    (re.compile(r"files of this folder()"), "folder_files"),
    (re.compile(r"(model\.safetensors), or shards with model\.safetensors\.index\.json"), "no_safetensors"),
    (re.compile(r"(?:a|an) (?:device|model|variant|format|engine) of the catalogue such as (.+)"), "catalogue_like"),
    (re.compile(r"(?:a|an) (?:device|model|variant|format|engine) of the catalogue()"), "catalogue"),
    (re.compile(r"at least one device()"), "one_device"),
    (re.compile(r"no cycle()"), "no_cycle"),
    (re.compile(r"a whole number above 0()"), "whole"),
    (re.compile(r"text in UTF-8()"), "utf8"),
    (re.compile(r"a valid (?:integer|number).*()"), "number"),
)


def problem_text(problem: FathomError, language: str) -> str:
    """The message of the error in English; in Chinese built from its parts, with unknown phrases left as they are."""
    if language == "en":
        return str(problem)
    if isinstance(problem, DataError):
        where = " · ".join(part for part in (problem.file, problem.record, _field(problem.field, language)) if part)
        return _sentence(where, problem.expected, problem.got, language)
    if isinstance(problem, InputError):
        return _sentence(_field(problem.field, language), problem.expected, problem.got, language)
    if isinstance(problem, UnknownIdError):
        return translate(language, "report.problem.unknown_id", kind=problem.kind, wanted=problem.wanted, text=problem)
    if isinstance(problem, UnsupportedError) and problem.key:
        names = {name: name_in(language, value) for name, value in problem.values.items()}
        return translate(language, problem.key, **names)
    return str(problem)


def _sentence(where: str, expected: str, got: object, language: str) -> str:
    key = "report.problem.expected" if got is None else "report.problem.expected_got"
    found = str(got)
    shown = found if len(found) <= 80 else f"{found[:79]}…"
    return translate(language, key, where=where, expected=_expected(expected, language), got=shown)


def _expected(text: str, language: str) -> str:
    for pattern, key in _PHRASES:
        match = pattern.fullmatch(text)
        if match:
            return translate(language, f"report.problem.phrase.{key}", value=match.group(1))
    return text


def _field(name: str, language: str) -> str:
    """The label that the form shows for this field, where it has one."""
    return texts(language).get(f"ui.field.{name}", name)

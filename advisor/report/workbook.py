"""Recommendation → XLSX: inputs, plans, rejected plans, how to read the numbers."""

from __future__ import annotations

import io

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from advisor.catalog.text import texts, translate
from advisor.decision.result import Recommendation
from advisor.report.document import Document, document
from advisor.report.rows import plan_rows

__all__ = ["workbook"]


def workbook(answer: Recommendation, language: str) -> bytes:
    """Four sheets with filters and frozen headers. Texts are written as texts, never as formulas."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        head = book.add_format({"bold": True, "bg_color": "#E7ECFD", "bottom": 1, "text_wrap": True, "valign": "top"})
        doc = document(answer, language)
        _pairs(_sheet(book, "inputs", language), (*doc.facts, (doc.leaf, doc.leaf_reason)))
        _plans(_sheet(book, "plans", language), answer, language, head)
        _rejected(_sheet(book, "rejected", language), doc, head)
        _pairs(_sheet(book, "reading", language), (*doc.basis, ("Fathom", doc.footer)))
    return out.getvalue()


def _sheet(book: Workbook, name: str, language: str) -> Worksheet:
    return book.add_worksheet(translate(language, f"report.sheet.{name}"))


def _pairs(sheet: Worksheet, pairs: tuple[tuple[str, str], ...]) -> None:
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, 100)
    for row, (name, value) in enumerate(pairs):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, value)


def _plans(sheet: Worksheet, answer: Recommendation, language: str, head: Format) -> None:
    rows = plan_rows(answer)
    names = list(rows[0]) if rows else ["rank"]
    for column, name in enumerate(names):
        sheet.write_string(0, column, _heading(name, language), head)
    for index, row in enumerate(rows, start=1):
        for column, name in enumerate(names):
            _write(sheet, index, column, row[name])
    sheet.freeze_panes(1, 3)
    sheet.set_column(0, len(names) - 1, 14)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(names) - 1)


def _write(sheet: Worksheet, row: int, column: int, value: object) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float):
        sheet.write_number(row, column, value)
    elif value is not None:
        sheet.write_string(row, column, str(value))


def _heading(name: str, language: str) -> str:
    """The label of a column; parts of an interval add their word."""
    base, _, part = name.rpartition("_")
    known = texts(language)
    if part in ("low", "high", "basis") and f"ui.column.{base}" in known:
        return f"{known[f'ui.column.{base}']} ({known[f'report.part.{part}']})"
    return known.get(f"ui.column.{name}", name)


def _rejected(sheet: Worksheet, doc: Document, head: Format) -> None:
    for column, name in enumerate(("plan", "constraint", "reason", "remedies")):
        sheet.write_string(0, column, doc.labels[name], head)
    for row, cells in enumerate(doc.rejected, start=1):
        for column, cell in enumerate(cells):
            sheet.write_string(row, column, cell)
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, 3, 50)

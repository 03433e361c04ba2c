"""Recommendation → HTML, Markdown, JSON, CSV, XLSX, PDF."""

from __future__ import annotations

import csv
import io
import json
import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from advisor.catalog.errors import UnsupportedError
from advisor.decision.result import Recommendation
from advisor.report.as_json import recommendation_json
from advisor.report.document import document
from advisor.report.rows import plan_rows
from advisor.report.workbook import workbook

__all__ = ["MIME", "Kind", "render"]


class Kind(StrEnum):
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    XLSX = "xlsx"
    PDF = "pdf"


MIME = {
    Kind.HTML: "text/html",
    Kind.JSON: "application/json",
    Kind.CSV: "text/csv",
    Kind.MD: "text/markdown",
    Kind.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Kind.PDF: "application/pdf",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


def render(answer: Recommendation, kind: Kind, language: str) -> bytes:
    """The report as the content of a file. Raises UnsupportedError for PDF where WeasyPrint is not installed."""
    if kind is Kind.JSON:
        return json.dumps(recommendation_json(answer), ensure_ascii=False, indent=2, allow_nan=False).encode()
    if kind is Kind.CSV:
        return _csv(answer)
    if kind is Kind.XLSX:
        return workbook(answer, language)
    if kind is Kind.PDF:
        return _pdf(_template("report.html.j2", answer, language))
    return _template(f"report.{kind}.j2", answer, language).encode()


def _template(name: str, answer: Recommendation, language: str) -> str:
    return _environment().get_template(name).render(doc=document(answer, language))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = lambda text: _MARKDOWN.sub(r"\\\1", str(text))
    return environment


def _csv(answer: Recommendation) -> bytes:
    """UTF-8 with a byte-order mark, which spreadsheet programs need to show Chinese."""
    rows = plan_rows(answer)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["rank", "plan_id"])
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _cell(value: object) -> object:
    """No text of a user can become a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _pdf(html: str) -> bytes:
    try:
        from weasyprint import HTML
    except (ImportError, OSError):  # OSError: the package is there, its system libraries are not
        raise UnsupportedError(
            "PDF needs WeasyPrint: pip install 'fathom-advisor[pdf]' and Pango; or print the HTML"
        ) from None
    content: bytes = HTML(string=html).write_pdf()
    return content

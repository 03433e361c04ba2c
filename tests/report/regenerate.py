"""Write the kept reports anew. Look at them before you commit them."""

from __future__ import annotations

from pathlib import Path

from advisor.report.render import Kind, render
from tests.report.report_example import example_answer

if __name__ == "__main__":
    folder = Path(__file__).parent / "golden"
    folder.mkdir(exist_ok=True)
    for language in ("en", "zh"):
        for kind in (Kind.HTML, Kind.MD):
            (folder / f"report-{language}.{kind}").write_bytes(render(example_answer(), kind, language))

"""How right are we?: weights by how they are known, with the rows beyond the target and why, in each language."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _script(language: str) -> None:
    from pathlib import Path

    import streamlit as st

    import advisor.ui.accuracy_weights as view
    from advisor.catalog import load_catalog
    from advisor.evidence.memory_truth import predict_memory_rows

    st.session_state["language"] = language
    root = Path(view.__file__).parents[2]
    view.weights(predict_memory_rows(root / "data" / "truth" / "memory.csv", load_catalog()))


@pytest.mark.parametrize(
    ("language", "basis", "reason"),
    [("en", ["Exact bytes", "Other"], "8-bit weights"), ("zh", ["精确字节", "其他"], "8 位而非 4 位")],
)
def test_bases_and_missed_rows(language: str, basis: list[str], reason: str) -> None:
    app = AppTest.from_function(_script, kwargs={"language": language}, default_timeout=60).run()
    assert not app.exception
    assert list(app.dataframe[0].value["basis"]) == basis
    assert sum(app.dataframe[0].value["rows"]) == 106
    said = [item.value for item in app.caption]
    assert any("m-mnn-0007" in line and reason in line for line in said)
    assert any("m-ik-0057" in line for line in said)

"""What the history offers for one chosen run."""

from __future__ import annotations

import json

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from advisor.catalog import load_catalog
from probes.machine import detect
from probes.result import Measured, Point, ProbeResult, State
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.store import Store


def _chosen() -> None:
    from advisor.ui import history_view, probing
    from probes.store import Store

    history_view._chosen(Store().get("cut"), probing.machine())


def test_a_run_that_was_cut_short_can_be_continued(tmp_path, monkeypatch) -> None:
    """100 of 300 seconds were served before memory ran out."""
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    variant = load_catalog().variant("deepseek-r1-distill-qwen-1.5b")
    spec = ProbeSpec(
        variant.id, "bf16", variant.architecture, kind=Kind.SUSTAINED, load=LoadTarget(1.0, 300.0, 8)
    )
    tally = Point("tally", {"seconds": 100.0, "finished": 90.0, "good": 80.0, "output_tokens": 900.0})
    Store().add(
        ProbeResult(
            "cut", spec, State.OUT_OF_MEMORY, detect().fingerprint, "2026-11-22T00:00:00+00:00", 130.0,
            points=(tally,), figures={"first_out_of_memory_s": Measured.of([104.0])}, error="took 9 GiB, limit 8 GiB",
        )
    )
    st.cache_resource.clear()
    app = AppTest.from_function(_chosen, default_timeout=60).run()
    st.cache_resource.clear()  # other tests have another store
    assert not app.exception
    assert [button.label for button in app.button] == ["Continue this run (3.33 min left)"]
    shown = str([table.value.to_dict() for table in app.table])
    assert "First out of memory after" in shown
    assert "104 s" in shown or "1.73 min" in shown


def _drift() -> None:
    import streamlit as st

    from advisor.ui import history_view, probing

    figure = history_view._drift(list(probing.registry().store.history()), probing.machine())
    st.json([[list(line.x), list(line.y)] for line in figure.lines])


def test_drift_is_drawn_in_order_though_the_clock_went_back(tmp_path, monkeypatch) -> None:
    """The second run was stored later and is stamped an hour before the first."""
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    variant = load_catalog().variant("deepseek-r1-distill-qwen-1.5b")
    spec, here = ProbeSpec(variant.id, "bf16", variant.architecture), detect().fingerprint
    for probe_id, hour, rate in (("a", 5, 10.0), ("b", 4, 8.0), ("c", 6, 9.0)):
        stamp, rates = f"2026-11-22T0{hour}:00:00+00:00", Measured.of([rate])
        Store().add(ProbeResult(probe_id, spec, State.DONE, here, stamp, 1.0, decode_tok_s=rates))
    st.cache_resource.clear()
    app = AppTest.from_function(_drift, default_timeout=60).run()
    st.cache_resource.clear()
    assert not app.exception
    ((days, shares),) = json.loads(app.json[0].value)
    assert days == pytest.approx([0.0, 1 / 24, 2 / 24], abs=1e-6)
    assert shares == pytest.approx([1.0, 10 / 8, 9 / 8])

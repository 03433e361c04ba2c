"""A stored measurement reaches the command line and the pages; a damaged store does not stop an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.quantity import Basis
from advisor.cli import main
from advisor.decision.recommend import recommend
from advisor.decision.scenarios import load_scenarios
from advisor.evidence.in_force import known, known_catalog, store_revision
from advisor.sizing.plan import Layout, Load, Plan
from advisor.sizing.size import size
from probes.machine import detect
from probes.place import this_host
from probes.result import Measured, Place, Prediction, ProbeResult, State
from probes.spec import EngineName, ProbeSpec
from probes.store import Store

SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"
CARD, FORMAT = "rtx-4090", "gguf-q4_k_m"


def plan_of(catalog, variant_id: str) -> Plan:
    variant, engine = catalog.variant(variant_id), catalog.engine("llama.cpp")
    return Plan(variant, catalog.format(FORMAT), engine, "cuda", catalog.device(CARD), Layout(), kv_format="bf16")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Holds one run of the small model by llama.cpp on a card, at half the predicted speed."""
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    catalog, machine = load_catalog(), detect()
    spec = ProbeSpec(
        SMALL, FORMAT, catalog.variant(SMALL).architecture, EngineName.LLAMACPP, device="cuda:0", prompt_tokens=(512,)
    )
    foreseen = size(plan_of(catalog, SMALL), Load(512, 32, 544, 1), catalog)
    decode, prefill = foreseen.decode_tok_s.value / 2, foreseen.prefill_tok_s.value / 2
    run = ProbeResult(
        "one", spec, State.DONE, "a colleague's machine", "2026-11-20T08:00:00+00:00", 60.0,
        decode_tok_s=Measured(decode, decode * 0.98, decode * 1.02, 20),
        prefill_tok_s=Measured(prefill, prefill * 0.98, prefill * 1.02, 5),
        bandwidth_bytes_per_s=Measured(9.2e11, 9e11, 9.3e11, 5),
        predicted=Prediction(decode_tok_s=foreseen.decode_tok_s, prefill_tok_s=foreseen.prefill_tok_s),
        place=Place(this_host(machine, catalog), CARD, on_accelerator=True),
    )  # fmt: skip
    store = Store(tmp_path / "probes.sqlite")
    store.add(run)
    return store


def test_without_a_store_the_facts_are_as_published(tmp_path, monkeypatch):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "nothing.sqlite"))
    assert known_catalog() is load_catalog()
    assert store_revision() == ""
    assert not (tmp_path / "nothing.sqlite").exists()


def test_a_damaged_store_is_named_and_the_public_calibration_answers(tmp_path, monkeypatch):
    path = tmp_path / "probes.sqlite"
    path.write_text("this is no database, " * 100)
    monkeypatch.setenv("FATHOM_STORE", str(path))
    found = known(load_catalog())
    assert found.catalog is load_catalog()
    assert str(path) in str(found.problem)


def test_a_new_measurement_changes_the_revision(store):
    before = store_revision()
    run = store.history()[0]
    store.add(replace(run, id="two", started_at="2026-11-21T08:00:00+00:00"))
    assert store_revision() != before


def test_size_shows_measured_for_the_model_and_calibrated_for_its_relative(store, capsys):
    words = ["--format", FORMAT, "--device", CARD, "--engine", "llama.cpp", "--context", "640", "--input", "512",
             "--output", "32", "--json"]  # fmt: skip
    public = {m: size(plan_of(load_catalog(), m), Load(512, 32, 640, 1), load_catalog()) for m in (SMALL, LARGE)}
    for model, basis in ((SMALL, "measured"), (LARGE, "calibrated")):
        assert main(["size", model, *words]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["decode_tok_s"]["basis"] == basis
        assert found["own_measurements"]["runs"] == 1
        assert found["own_measurements"]["first_decode_off"] == pytest.approx(0.5)
        before = public[model].decode_tok_s
        assert found["decode_tok_s"]["value"] == pytest.approx(before.value / 2, rel=0.1)
        width = found["decode_tok_s"]["high"] / found["decode_tok_s"]["low"]
        public_width = before.high / before.low  # models differ by as much on public machines as public intervals say
        assert width < public_width if basis == "measured" else width <= public_width * (1 + 1e-9)


def test_recommend_and_its_reasons_carry_it(store):
    """The same card in the search: the plan's latency is calibrated, and a sentence says so."""
    catalog = known_catalog()
    scenario = load_scenarios(catalog)["private-assistant"]
    asked = replace(
        scenario, devices=(CARD,), engines=("llama.cpp",), variants=(SMALL, LARGE), formats=(FORMAT, "gguf-q8_0"),
        quality_floor=0, ttft_ms=None, tpot_ms=None, e2e_ms=None, input_tokens=400, output_tokens=200,
        context_tokens=1024, device_classes=(),
    )  # fmt: skip
    answer = recommend(asked, catalog)
    own = [c for c in answer.candidates if c.plan.format.id == FORMAT and c.plan.variant.id in (SMALL, LARGE)]
    assert own
    assert all(c.tpot_ms.basis in (Basis.CALIBRATED, Basis.MEASURED) for c in own)
    assert all(any(r.key.startswith("own_") for r in c.reasons) for c in own)
    others = [c for c in answer.candidates if c.plan.format.id != FORMAT]
    assert all(c.tpot_ms.basis in (Basis.ESTIMATED, Basis.EXTRAPOLATED) for c in others)

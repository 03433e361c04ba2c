from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.cli import main


@pytest.mark.parametrize("kind", ["models", "devices", "formats", "engines", "hosts", "servers", "prices"])
def test_every_kind_as_table_and_as_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", kind]) == 0
    table = capsys.readouterr().out.splitlines()
    assert main(["catalog", kind, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert len(records) == len(table) - 2  # header and rule
    assert all(record for record in records)


def test_reference_records_are_shown_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    main(["catalog", "models", "--json"])
    offered = {record["id"] for record in json.loads(capsys.readouterr().out)}
    main(["catalog", "models", "--json", "--reference"])
    everything = {record["id"] for record in json.loads(capsys.readouterr().out)}
    assert "llama-3.1-8b" in everything - offered
    assert "deepseek-r1" in offered


def test_the_summary_counts_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["devices"] == 294
    assert counts["as_of"] == "2026-11-22"
    assert main(["catalog"]) == 0
    assert "as of 2026-11-22" in capsys.readouterr().out


def test_an_overlay_is_read_from_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_DATA", "")  # restored afterwards, whatever the command sets
    (tmp_path / "hosts.yaml").write_text(
        "hosts:\n- {id: mine, name: Mine, sockets: 1, cores: 4, memory_bandwidth_bytes_per_s: 5.0e+10}\n"
    )
    assert main(["catalog", "hosts", "--data", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [("hosts: [", "valid YAML"), ("hosts:\n- {id: mine, cores: -4}\n", "record 'mine', field 'name'")],
)
def test_a_broken_overlay_is_one_line_and_code_2(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_DATA", "")
    (tmp_path / "hosts.yaml").write_text(text)
    assert main(["catalog", "--data", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1

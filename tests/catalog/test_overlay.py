"""A user's own folder: what it adds, what it overrides, and what it is told when it is broken."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError, FathomError
from advisor.catalog.files import MAX_DEPTH, parse_yaml
from advisor.catalog.records import Role
from advisor.catalog.schema_base import validate
from advisor.catalog.schema_hardware import DeviceSchema

DEVICE = """
devices:
- id: my-card
  name: My Card 64GB
  device_class: datacenter_gpu
  vendor: Mine
  memory_bytes: 68719476736
  bandwidth_bytes_per_s: 1.5e+12
  peak_ops_per_s: {bf16: 3.0e+14}
"""
MODEL = """
models:
- id: my-model
  family: Mine
  architecture: {attention: gqa, hidden_size: 64, num_layers: 2, n_heads: 4, n_kv_heads: 2, head_dim: 16,
                 vocab_size: 1000, intermediate_size: 256}
"""

HOST = """
hosts:
- id: h
  name: H
  sockets: 1
  cores: 4
  memory_bandwidth_bytes_per_s: 1.0e+10
"""


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return folder


def test_an_overlay_adds_devices_and_models(tmp_path: Path) -> None:
    _write(tmp_path, "devices.yaml", DEVICE)
    _write(tmp_path, "models/mine.yaml", MODEL)
    catalog = load_catalog(tmp_path)
    assert catalog.device("My Card 64GB").bandwidth_bytes_per_s == 1.5e12
    assert catalog.device("my-card").source == ("devices.yaml",)
    assert catalog.variant("my-model").role is Role.USER
    assert catalog.overlay_dir == tmp_path
    assert "my-card" not in load_catalog().devices


def test_an_overlay_replaces_a_built_in_record(tmp_path: Path) -> None:
    _write(tmp_path, "devices.yaml", DEVICE.replace("my-card", "h100-sxm"))
    catalog = load_catalog(tmp_path)
    assert catalog.device("h100-sxm").name == "My Card 64GB"
    assert len(catalog.devices) == len(load_catalog().devices)


def test_own_prices_replace_those_of_the_same_device_and_kind(tmp_path: Path) -> None:
    header = "device_id,kind,usd,provider,date,source\n"
    _write(tmp_path, "prices.csv", header + "h100-sxm,cloud_hourly,1.23,my contract,2026-11-01,invoice\n")
    catalog = load_catalog(tmp_path)
    found = catalog.price_range("h100-sxm", "cloud_hourly")
    assert found is not None
    assert (found.low, found.high, found.n) == (1.23, 1.23, 1)
    assert catalog.price_range("h100-sxm", "purchase") == load_catalog().price_range("h100-sxm", "purchase")


def test_an_edit_is_seen_without_a_restart(tmp_path: Path) -> None:
    _write(tmp_path, "devices.yaml", DEVICE)
    first = load_catalog(tmp_path)
    assert load_catalog(tmp_path) is first
    _write(tmp_path, "devices.yaml", DEVICE.replace("My Card", "My Better Card"))
    os.utime(tmp_path / "devices.yaml", ns=(1, 1))
    assert load_catalog(tmp_path).device("my-card").name == "My Better Card 64GB"


def test_the_environment_names_the_default_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "devices.yaml", DEVICE)
    monkeypatch.setenv("FATHOM_DATA", str(tmp_path))
    assert "my-card" in load_catalog().devices
    monkeypatch.setenv("FATHOM_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="FATHOM_DATA: expected the path of an existing folder"):
        load_catalog()


_PRICE = "device_id,kind,usd,provider,date,source\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("devices.yaml", "devices:\n- id: x\n  name: [unclosed\n", r"devices.yaml, field 'line \d+, column \d+'.*YAML"),
        ("devices.yaml", "devices:\n- id: x\n\tname: tab\n", "line 3.*valid YAML"),
        ("devices.yaml", "devices:\n- {id: x, id: y}\n", "line 2.*the key 'id' is repeated"),
        ("devices.yaml", "gadgets: []\n", "one key 'devices' that holds a list"),
        ("devices.yaml", "just text", "one key 'devices'"),
        ("devices.yaml", "", "one key 'devices'"),
        ("devices.yaml", "devices:\n- just text\n", "record 'number 1'.*a mapping"),
        ("devices.yaml", "devices:\n- name: no id\n", "record 'number 1', field 'id'.*a text"),
        ("devices.yaml", DEVICE + DEVICE.replace("devices:\n", ""), "my-card.*an id used once"),
        ("devices.yaml", DEVICE + "  colour: red\n", "record 'my-card', field 'colour': expected a known field name"),
        ("devices.yaml", DEVICE.replace("68719476736", "-1"), "field 'memory_bytes': .*greater than 0, got -1"),
        ("devices.yaml", DEVICE.replace("68719476736", "0"), "memory_bytes.*greater than 0"),
        ("devices.yaml", DEVICE.replace("68719476736", "64 GB"), "memory_bytes.*valid integer, got 64 GB"),
        ("devices.yaml", DEVICE.replace("1.5e+12", ".inf"), "bandwidth_bytes_per_s.*less than or equal|finite"),
        ("devices.yaml", DEVICE.replace("bf16: 3.0e+14", "bf17: 3.0e+14"), "peak_ops_per_s.*bf17|'fp32', 'tf32'"),
        ("devices.yaml", DEVICE.replace("datacenter_gpu", "toaster"), "device_class.*'datacenter_gpu'.*got toaster"),
        ("devices.yaml", DEVICE + "  usable_memory_bytes: 99999999999\n", "usable_memory_bytes up to memory_bytes"),
        ("models.yaml", MODEL.replace("hidden_size: 64, ", ""), "'my-model', field 'hidden_size': expected a value"),
        ("models.yaml", MODEL.replace("n_kv_heads: 2", "n_kv_heads: 3"), "n_kv_heads that divides"),
        ("models.yaml", MODEL.replace("attention: gqa", "attention: mla"), "kv_lora_rank.*for this architecture"),
        ("models.yaml", MODEL + "  native_format: fp9\n", "native_format.*the id of a format, got fp9"),
        ("models.yaml", MODEL + "  min_engine_version: {vlm: '1'}\n", "min_engine_version.*id of an engine, got vlm"),
        ("models.yaml", "models:\n- id: x\n  family: y\n  architecture: 7\n", "architecture.*a mapping of dimensions"),
        ("models.yaml", MODEL + "  variants: 3\n", "variants.*a list of mappings"),
        ("models.yaml", MODEL + "  variants: [{id: a}, {id: a}]\n", "variants.*each id once"),
        ("hosts.yaml", HOST + "  cpu_device_id: nope\n", "'h', field 'cpu_device_id': expected the id of a device"),
        ("servers.yaml", "servers:\n- {id: s, name: S, device_id: nope, n_devices: 8}\n", "device_id.*of a device"),
        ("engines.yaml", "engines:\n- {id: e, name: E}\n", "record 'e', field 'version': expected a value"),
        ("prices.csv", "device,usd\n", "field 'header': expected device_id,kind,usd"),
        ("prices.csv", _PRICE + "nope,purchase,1,p,2026,s\n", "line 2', field 'device_id': .*id of a device"),
        ("prices.csv", _PRICE + "h100-sxm,rent,1,p,2026,s\n", "one of cloud_hourly, purchase"),
        ("prices.csv", _PRICE + "h100-sxm,purchase,-1,p,2026,s\n", "field 'usd': expected a number above 0, got -1"),
        ("prices.csv", _PRICE + "h100-sxm,purchase,nan,p,2026,s\n", "a number above 0, got nan"),
        ("prices.csv", _PRICE + "h100-sxm,purchase,1,p,2026-13-01,s\n", "a date such as"),
        ("prices.csv", _PRICE + "h100-sxm,purchase,1\n", "expected 6 values, got 3"),
        ("power_usage.csv", "scope,low,high,date,source\nx,0.5,1.2,2026,s\n", "from 1 to high"),
        ("sources.yaml", "sources:\n- {id: x}\n", "record 'x', field 'title': expected a text"),
    ],
)  # fmt: skip
def test_a_broken_overlay_gets_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    _write(tmp_path, name, text)
    with pytest.raises(DataError, match=message) as problem:
        load_catalog(tmp_path)
    assert name in str(problem.value)
    assert "\n" not in str(problem.value)
    assert str(tmp_path) not in str(problem.value)


def test_hostile_yaml_is_refused_before_it_is_built() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{n}: &{n} [*{m}, *{m}, *{m}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(DataError, match=r"line 2.*no YAML aliases"):
        parse_yaml(bomb, "bomb.yaml")
    with pytest.raises(DataError, match=f"at most {MAX_DEPTH} levels"):
        parse_yaml("[" * 100 + "]" * 100, "deep.yaml")
    with pytest.raises(DataError, match=f"at most {MAX_DEPTH} levels|nesting depth"):  # PyYAML 6.0.4 has a limit, too
        parse_yaml("[" * 100_000, "deep.yaml")
    with pytest.raises(DataError, match="at most 2000000 bytes"):
        parse_yaml("x" * 2_000_001, "long.yaml")
    for code in ("x: !!python/object/apply:os.system [ls]", "x: !!python/name:os.system ''", "x: !!set {a}"):
        with pytest.raises(DataError, match="valid YAML"):
            parse_yaml(code, "code.yaml")


def test_a_date_stays_as_written() -> None:
    assert parse_yaml("day: 2026-11-22", "date.yaml") == {"day": "2026-11-22"}


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"devices\.yaml: expected text in UTF-8"):
        load_catalog(tmp_path)


def test_a_file_of_50_mb_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "devices.yaml").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(DataError, match="at most 2000000 bytes, got 50000000"):
        load_catalog(tmp_path)


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    try:
        parse_yaml(text, "any.yaml")
    except FathomError as problem:
        line = str(problem)
        if "\n" in line:
            pytest.fail(line)


@given(
    field=st.sampled_from(
        ["id", "name", "device_class", "vendor", "memory_bytes", "peak_ops_per_s", "link", "dies", "source"]
    ),
    value=st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text("abc", max_size=3)
    | st.just([])
    | st.just({}),
)
def test_no_value_of_a_device_field_crashes_the_schema(field: str, value: object) -> None:
    good: dict[str, object] = dict.fromkeys(("id", "name", "vendor"), "x")
    good |= {"device_class": "cpu", "memory_bytes": 1, "bandwidth_bytes_per_s": 1.0, "source": ["x"]}
    try:
        validate(DeviceSchema, {**good, field: value}, "f.yaml", "x")
    except DataError as problem:
        if "\n" in str(problem):
            pytest.fail(str(problem))

"""The examples in data/README.md work as written."""

from __future__ import annotations

import re
from pathlib import Path

from advisor.catalog import load_catalog
from advisor.catalog.paths import DATA_DIR


def test_the_overlay_example_loads(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(yaml|csv)\n(.*?)```", (DATA_DIR / "README.md").read_text("utf-8"), re.DOTALL))
    (tmp_path / "devices.yaml").write_text(blocks["yaml"])
    (tmp_path / "prices.csv").write_text(blocks["csv"])
    catalog = load_catalog(tmp_path)
    found = catalog.price_range("my-card", "purchase")
    assert found is not None
    assert found.median == 9000


def test_every_folder_of_facts_is_described() -> None:
    text = (DATA_DIR / "README.md").read_text("utf-8")
    described = set(re.findall(r"`(\w+)/`", text))
    assert {
        "models",
        "devices",
        "hosts",
        "servers",
        "engines",
        "formats",
        "prices",
        "reference",
        "sources",
    } <= described
    assert all((DATA_DIR / name).is_dir() for name in described)

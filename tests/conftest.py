from __future__ import annotations

import pytest

from advisor.catalog import Catalog, load_catalog
from probes.machine import detect
from probes.machine_records import Machine


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def machine() -> Machine:
    """This one."""
    return detect()

from __future__ import annotations

import pytest
from hypothesis import settings

from advisor.catalog import Catalog, load_catalog
from probes.machine import detect
from probes.machine_records import Machine

settings.register_profile("fathom", deadline=None)  # machines that run tests are busy
settings.load_profile("fathom")


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def machine() -> Machine:
    """This one."""
    return detect()

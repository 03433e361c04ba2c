"""What exists: models, devices, hosts, formats, engines, prices. `load_catalog()` gives it all."""

from __future__ import annotations

from advisor.catalog.catalog import Catalog, PriceRange
from advisor.catalog.load import load_catalog

__all__ = ["Catalog", "PriceRange", "load_catalog"]

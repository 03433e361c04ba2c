"""How large the matrix products of a model are: small ones reach less of a machine's rates than large ones."""

from __future__ import annotations

from advisor.catalog.records import Architecture

__all__ = ["product_elements"]


def product_elements(a: Architecture) -> float:
    """Elements of one matrix of the feed-forward part, that most bytes of a token are in: of a routed expert where
    there are any.
    """
    return float(a.hidden_size * ((a.moe_intermediate_size if a.is_moe else 0) or a.intermediate_size or a.hidden_size))

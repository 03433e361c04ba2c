"""Parameter counts equal the published totals to the unit, for every model of the catalogue."""

from __future__ import annotations

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import TensorRole
from advisor.catalog.records import Architecture, AttentionKind, Variant
from advisor.sizing.tensors import active_params, kept_outside_total, main_tensors, mtp_copies, mtp_tensors
from advisor.sizing.weights import total_params

VARIANTS = tuple(load_catalog().variants.values())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_totals_equal_the_published_count(variant: Variant) -> None:
    a, published = variant.architecture, variant.published
    with_drafter = "drafter_params" in published and a.engram is not None
    assert total_params(a, include_mtp=with_drafter) == published["total_params"]
    assert active_params(a, with_embedding=True) == published["active_params_with_embedding"]
    if "active_params_without_embedding" in published:
        assert active_params(a) == published["active_params_without_embedding"]


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "mtp_params" in v.published], ids=lambda v: v.id)
def test_drafting_module_equals_the_published_count(variant: Variant) -> None:
    a, published = variant.architecture, variant.published
    if not a.mtp_layers:
        pytest.skip("a later release that replaced the module by a drafter")
    assert sum(t.params for t in mtp_tensors(a)) == published["mtp_params"]
    if "stored_params" in published and not any(kept_outside_total(t) for t in main_tensors(a)):
        stored = total_params(a, include_mtp=True) + sum(t.params for t in mtp_copies(a))
        assert stored == published["stored_params"]


@pytest.mark.parametrize(
    ("variant_id", "part", "count"),
    [
        ("deepseek-r1", None, 671_026_419_200),
        ("deepseek-r1-distill-qwen-7b", None, 7_615_616_512),
        ("deepseek-v4.1-flash", TensorRole.ENGRAM_TABLE, 196_613_849_600),
        ("deepseek-v4.1-flash", TensorRole.VISION, 485_268_480),
    ],
)
def test_parts(variant_id: str, part: TensorRole | None, count: int) -> None:
    tensors = main_tensors(load_catalog().variant(variant_id).architecture)
    assert sum(t.params for t in tensors if part is None or t.role is part) == count


def test_v4_stores_hash_tables_that_nobody_counts() -> None:
    a = load_catalog().variant("deepseek-v4-flash").architecture
    tables = [t for t in main_tensors(a) if kept_outside_total(t)]
    assert sum(t.params for t in tables) == 129_280 * 6 * 3


def test_a_missing_dimension_is_named() -> None:
    bare = Architecture(AttentionKind.MLA, 64, 2, 4, 4, 16, 100, intermediate_size=128)
    with pytest.raises(UnsupportedError, match="qk_nope_head_dim"):
        main_tensors(bare)

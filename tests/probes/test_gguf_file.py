"""Synthetic files: their bytes against sizing, their header against the reference reader, and what is refused."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

from advisor.catalog.errors import DataError, UnsupportedError
from advisor.catalog.load import load_catalog
from advisor.catalog.records import Architecture, AttentionKind, Role
from advisor.commands.probe_file import identify
from advisor.sizing.weights import total_params, weights
from probes.gguf import synthetic
from probes.gguf.header import architecture_of, read_header
from probes.gguf.naming import can_write
from probes.gguf.need import gguf_need
from probes.gguf.synthetic import as_header, synthetic_gguf, synthetic_path, write_gguf
from probes.gguf.vocabulary import make_vocabulary
from probes.spec import EngineName
from tests.probes.conftest import TINY

CATALOG = load_catalog()
LATENT = Architecture(
    attention=AttentionKind.MLA, hidden_size=256, num_layers=3, n_heads=4, n_kv_heads=4, head_dim=64, vocab_size=2048,
    intermediate_size=512, moe_intermediate_size=256, n_routed_experts=8, n_shared_experts=1, experts_per_tok=2,
    first_k_dense_replace=1, q_lora_rank=256, kv_lora_rank=256, qk_nope_head_dim=64, qk_rope_head_dim=32,
    v_head_dim=64, router_bias=True,
)  # fmt: skip
SHAPES = {
    "qwen2": TINY,
    "llama": replace(TINY, qkv_bias=False),
    "qwen3 tied": replace(TINY, qkv_bias=False, qk_norm=True, tie_word_embeddings=True),
    "deepseek2": LATENT,
}
MIXES = ("gguf-f16", "gguf-q8_0", "gguf-q4_0", "gguf-q4_k_m", "gguf-q2_k", "gguf-iq3_xxs", "gguf-mxfp4")
EVERY = [(v.id, f.id) for v in CATALOG.variants.values() if v.role is not Role.REFERENCE and can_write(v.architecture)
         for f in CATALOG.formats.values() if f.offered and synthetic.can_store(f)]  # fmt: skip


def test_headers_of_all_variants_have_the_predicted_bytes():
    """Without writing them: every offered mix of every variant that llama.cpp runs, to the byte."""
    assert {"deepseek-r1", "deepseek-r1-distill-llama-70b", "deepseek-v2-lite"} <= {v for v, _ in EVERY}
    assert len(EVERY) > 500
    wrong = []
    for variant_id, format_id in EVERY:
        a, f = CATALOG.variant(variant_id).architecture, CATALOG.format(format_id)
        header = as_header(a, f)
        elements = 0
        for tensor in header.tensors:
            count = 1
            for extent in tensor.shape:
                count *= extent
            elements += count
        if header.tensor_bytes != weights(a, f).total_bytes or elements != total_params(a):
            wrong.append((variant_id, format_id))
    assert wrong == []


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_written_file_is_read_by_the_reference_reader(tmp_path, shape, mix):
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
    a, f = SHAPES[shape], CATALOG.format(mix)
    path = tmp_path / "model.gguf"
    write_gguf(path, a, f)
    mine, theirs = read_header(path), gguf.GGUFReader(path)
    assert [(t.name, t.shape, t.type.upper(), t.bytes) for t in mine.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), t.tensor_type.name, t.n_bytes) for t in theirs.tensors
    ]
    assert mine.tensor_bytes == weights(a, f).total_bytes == as_header(a, f).tensor_bytes
    metadata = path.stat().st_size - mine.tensor_bytes
    assert 0 < metadata < 40 * a.vocab_size + 100 * len(mine.tensors) + 4096
    assert architecture_of(mine) == replace(a, head_dim=architecture_of(mine).head_dim)
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_written_once_and_found_again(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setenv("FATHOM_CACHE", str(tmp_path))
    f, steps = CATALOG.format("gguf-q4_0"), []
    path = synthetic_gguf("tiny", TINY, f, lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] == weights(TINY, f).total_bytes
    before = path.stat().st_mtime_ns
    assert synthetic_gguf("tiny", TINY, f) == path
    assert path.stat().st_mtime_ns == before
    assert synthetic_path("tiny", replace(TINY, num_layers=5), f) != path
    assert synthetic.clear_cache() > 0
    assert synthetic.cached_files() == []


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("FATHOM_CACHE", str(tmp_path / "none" / "yet"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, 10**9))
    with pytest.raises(DataError, match=r"free space.*expected 3\.\d.*got 1\.0 GB"):
        synthetic_gguf("x", CATALOG.variant("deepseek-r1-distill-qwen-1.5b").architecture, CATALOG.format("gguf-q4_0"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="the package gguf is not installed")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic, "_fill", fail)
    with pytest.raises(DataError, match="No space left on device"):
        write_gguf(tmp_path / "model.gguf", TINY, CATALOG.format("gguf-q4_0"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variant", "format_id", "reason"),
    [
        ("deepseek-v4-flash", "gguf-q4_0", "sliding windows"),
        ("deepseek-v3.2", "gguf-q4_0", "sparse attention of V3.2"),
        ("deepseek-r1", "gguf-ud-iq1_s", "size only"),
        ("deepseek-r1", "bf16", "GGUF formats"),
    ],
)
def test_what_cannot_be_written_is_named(variant, format_id, reason):
    with pytest.raises(UnsupportedError, match=reason):
        synthetic_gguf(variant, CATALOG.variant(variant).architecture, CATALOG.format(format_id))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "GGUF"), (b"PK\x03\x04", "another kind"), (b"GGUF\x01\0\0\0", "2 or 3"), (b"GGUF\x03\0\0\0\x01", "header"),
     (b"GGUF\x03\0\0\0" + b"\xff" * 16, "items")],
)  # fmt: skip
def test_a_damaged_file_is_explained(tmp_path, content, problem):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_header(path)


def test_a_cut_file_is_explained(tmp_path):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    path = tmp_path / "model.gguf"
    write_gguf(path, TINY, CATALOG.format("gguf-q4_0"))
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(DataError, match="bytes of weights"):
        read_header(path)


def test_a_file_is_recognised(tmp_path):
    """By its header: the variant of those dimensions and the mix of those bytes; others keep their own name."""
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    path = tmp_path / "some.gguf"
    write_gguf(path, TINY, CATALOG.format("gguf-q4_k_m"))
    found = identify(path, CATALOG)
    assert (found.variant_id, found.format_id) == ("synthetic gguf-q4_k_m", "gguf-q4_k_m")
    assert found.architecture == TINY
    known = replace(CATALOG.variant("deepseek-r1-distill-qwen-1.5b"), architecture=TINY)
    catalog = replace(CATALOG, variants={known.id: known})
    assert identify(path, catalog).variant_id == known.id


def test_memory_is_foreseen_from_the_file_or_the_shapes(tmp_path, spec, monkeypatch):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setenv("FATHOM_CACHE", str(tmp_path))
    asked = replace(spec, engine=EngineName.LLAMACPP, format_id="gguf-q4_0")
    ahead = gguf_need(asked)
    path = synthetic_gguf("tiny", TINY, CATALOG.format("gguf-q4_0"))
    assert gguf_need(replace(asked, checkpoint=str(path), architecture=None)) == ahead
    assert ahead.cache_bytes == 256 * (2 * 2 * 64 * 4 * 2)  # one step of cells x keys and values of two heads, 4 layers
    output, embedding = 2048 * 256 // 256 * 210, 2048 * 256 // 32 * 18
    assert ahead.read_bytes == ahead.tensor_bytes - embedding + 16 * 2048
    assert ahead.tensor_bytes > output + embedding


def test_the_vocabulary_has_any_size():
    for size in (100, 2048, 151_936):
        vocabulary = make_vocabulary(size)
        assert len(vocabulary.tokens) == len(vocabulary.types) == len(set(vocabulary.tokens)) == size
        assert 0 <= vocabulary.end < size

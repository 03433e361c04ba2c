"""Slices as deep as memory allows, and what they cost in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from probes import duration
from probes.need import DEFAULT_DEPTHS, MARGIN, need_of
from probes.slice_depths import DEPTHS, SHARE_OF_MEMORY, with_depths
from probes.spec import Kind, ProbeSpec


@pytest.fixture
def large() -> ProbeSpec:
    a = load_catalog().variant("deepseek-r1-distill-llama-70b").architecture
    return ProbeSpec("deepseek-r1-distill-llama-70b", "bf16", a, kind=Kind.SLICE)


@pytest.mark.parametrize("depths", DEPTHS)
def test_the_deepest_that_fit_with_a_quarter_to_spare(large, depths):
    needed = need_of(replace(large, slice_layers=depths)).total_bytes * MARGIN
    found = with_depths(large, need_of, int(needed / SHARE_OF_MEMORY) + 1)
    assert found.slice_layers == depths
    less = with_depths(large, need_of, int(needed / SHARE_OF_MEMORY) - 1)
    assert max(less.slice_layers) < max(depths) or depths == DEPTHS[-1]


def test_depths_that_were_asked_for_and_whole_models_stay(large):
    asked = replace(large, slice_layers=(1, 3))
    assert with_depths(asked, need_of, 10**9) is asked
    whole = replace(large, kind=Kind.FULL)
    assert with_depths(whole, need_of, 10**12) is whole


def test_seventy_billion_in_four_layers_on_24_gb(large):
    """A layer of 8192 x (8192 + 2 x 1024 + 8192) + 3 x 8192 x 28672 weights is 1.71 GB at 16 bit, embedding and head
    are 2.1 GB each: eight layers are 17.9 GB, four 11.0 GB; three quarters of 22 GB hold 16.5.
    """
    found = with_depths(large, need_of, 22 * 10**9)
    assert found.slice_layers == (1, 2, 4)
    assert need_of(found).tensor_bytes == pytest.approx(11.05e9, rel=0.01)
    assert need_of(replace(large, slice_layers=DEFAULT_DEPTHS)).tensor_bytes == pytest.approx(17.9e9, rel=0.01)


def test_a_slice_takes_its_rounds(monkeypatch, large):
    """By hand, 9 units with all eight layers and the head: 45 s of prompt and 0.9 s of step. One and eight layers make
    a pass of 2 + 9 units, 55 s: three passes, for the first ends before a minute is over and three are the fewest. A
    round there and back is 2 x 2 steps of 0.2, 0.5 and 0.9 s, 6.4 s: ten of them are in a minute.
    """
    monkeypatch.setattr(duration, "kernels_on_disk", lambda: True)
    spec = replace(large, slice_layers=DEFAULT_DEPTHS, prompt_tokens=(90,))
    seconds = duration.duration_s(spec, 1.0, 1 / 1.8, 10.0, 0.5)
    fixed = duration.BENCHMARK_S + duration.CHOOSE_S + 10.0
    assert seconds - fixed == pytest.approx(3 * 55.0 + 10 * 6.4)

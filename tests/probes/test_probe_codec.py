from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog.errors import DataError
from advisor.catalog.records import AttentionKind
from probes.codec import decode, encode
from probes.result import Measured, Point, ProbeResult, State
from probes.spec import EngineName, Kind, LoadTarget, ProbeSpec, SweepAxis


def test_a_result_survives_json(result):
    point = Point("decode", {"batch": 2.0}, {"decode_tok_s": Measured.of([1.0, 2.0, 4.0])}, at_s=1.5)
    whole = result(points=(point,), state=State.INVALID, flags=("noisy",))
    assert decode(ProbeResult, json.loads(json.dumps(encode(whole)))) == whole


def test_nested_enums_come_back_as_enums(tiny):
    spec = ProbeSpec("x", "bf16", tiny, sweep_axis=SweepAxis.BATCH, kind=Kind.SWEEP, load=LoadTarget(2.0))
    again = decode(ProbeSpec, json.loads(json.dumps(encode(spec))))
    assert again == spec
    assert again.architecture is not None
    assert (again.architecture.attention, again.engine) == (AttentionKind.GQA, EngineName.TORCH)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e9), min_size=1, max_size=40))
def test_measured_survives_and_is_ordered(samples):
    figure = Measured.of(samples)
    assert figure.low <= figure.value <= figure.high
    assert decode(Measured, json.loads(json.dumps(encode(figure)))) == figure


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (["not a mapping"], "mapping"),
        ({"variant_id": "x"}, "format_id"),
        ({"variant_id": "x", "format_id": "b", "kind": "?"}, "kind"),
    ],
)
def test_broken_records_say_what_is_wrong(data, word):
    with pytest.raises(DataError, match=word):
        decode(ProbeSpec, data)


def test_unknown_keys_of_a_newer_writer_are_ignored():
    assert decode(Measured, {"value": 1, "low": 1, "high": 1, "later": 5}) == Measured(1.0, 1.0, 1.0)

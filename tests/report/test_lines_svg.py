"""Lines as a picture: where the points lie, by hand."""

from __future__ import annotations

from xml.etree import ElementTree

from advisor.report.figures import Line, Lines
from advisor.report.svg import lines_svg

RIGHT, NOUGHT = 1040, 173.6  # of a picture of 1060 x 220, 4 % of the field below nought


def _drawn(*lines: Line) -> ElementTree.Element:
    return ElementTree.fromstring(lines_svg(Lines("Decode", "", "two readings", "tokens", "tok/s", lines)))


def _points(root: ElementTree.Element, kind: str) -> list[list[tuple[float, float]]]:
    found = [node for node in root.iter() if node.tag.rpartition("}")[2] == kind]
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in node.get("points", "").split())] for node in found]


def test_points_go_from_left_to_right_and_up_with_their_values() -> None:
    ((first, last),) = _points(_drawn(Line("a", (512.0, 8192.0), (8.0, 4.0))), "polyline")
    assert 70 <= first[0] < last[0] <= RIGHT
    assert first[1] < last[1] < NOUGHT  # twice as much lies higher, and both above nought
    assert abs((NOUGHT - first[1]) / (NOUGHT - last[1]) - 2) < 0.02  # in proportion, from nought


def test_intervals_are_bands_around_the_line() -> None:
    root = _drawn(Line("a", (1.0, 2.0), (5.0, 6.0), low=(4.0, 5.0), high=(7.0, 8.0)))
    (band,), (line,) = _points(root, "polygon"), _points(root, "polyline")
    assert len(band) == 4
    lows, highs = band[:2], band[:1:-1]
    assert all(high[1] < at[1] < low[1] for low, high, at in zip(lows, highs, line, strict=True))


def test_nothing_measured_is_an_empty_picture_with_its_name() -> None:
    root = _drawn()
    assert not _points(root, "polyline")
    assert "two readings" in ElementTree.tostring(root, encoding="unicode")

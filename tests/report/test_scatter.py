"""Labels keep clear of each other and of every dot; axes have round numbers; the best are joined."""

from __future__ import annotations

import itertools
import math
import random
from xml.etree import ElementTree

import pytest

from stages.report import labels, plots, scatter
from stages.report.scatter import Dot

AXES = ("step, ms", "SQNR, dB")


def drawn(dots: list[Dot]) -> ElementTree.Element:
    return ElementTree.fromstring(scatter.scatter("t", ["one", "two"], AXES, "equal", dots))


def of(svg: ElementTree.Element, tag: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in svg if one.tag.endswith(tag) and one.get("class") == kind]


@pytest.mark.parametrize("crowd", ["one place", "a column", "a cloud", "the right edge"])
def test_labels_overlap_neither_each_other_nor_dots_nor_the_frame(crowd: str) -> None:
    chance, frame = random.Random(0), (50.0, 100.0, 800.0, 440.0)
    centres = {
        "one place": [(400.0, 250.0)] * 12,
        "a column": [(400.0, 200.0 + 4 * number) for number in range(12)],
        "a cloud": [(chance.uniform(60, 790), chance.uniform(110, 430)) for _ in range(12)],
        "the right edge": [(790.0, 200.0 + 9 * number) for number in range(12)],
    }[crowd]
    radii = [6.0 + number for number in range(12)]
    boxes = labels.place([170.0] * 12, centres, radii, frame)
    assert not any(labels.overlap(*pair) for pair in itertools.combinations(boxes, 2))
    dots = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    assert not any(labels.overlap(*pair) for pair in itertools.product(boxes, dots))
    assert all(labels.inside(box, frame) for box in boxes)


def test_a_lone_label_stands_right_of_its_dot() -> None:
    assert labels.place([100.0], [(200.0, 300.0)], [10.0], (0, 0, 800, 400)) == [(214.0, 292.5, 314.0, 307.5)]


def test_dots_stand_where_their_figures_are_and_are_as_large() -> None:
    svg = drawn([Dot("a", 1.0, 20.0, 4.0), Dot("b", 3.0, 40.0, 1.0), Dot("c", 2.0, 30.0, 1.0)])
    a, b, c = ([float(one.get(name)) for name in ("cx", "cy", "r")] for one in of(svg, "circle", "before"))
    assert a[0] < c[0] < b[0] and a[1] > c[1] > b[1]
    assert c[0] == pytest.approx((a[0] + b[0]) / 2, abs=0.1)
    assert a[2] == pytest.approx(2 * b[2], abs=0.1), "four times the area"


def test_the_best_are_joined_from_left_to_right_and_infinite_ones_stand_on_top() -> None:
    best = [
        Dot("a", 3.0, 40.0, 1.0, "after"),
        Dot("b", 1.0, 20.0, 1.0, "after"),
        Dot("c", 2.0, math.inf, 1.0, "part-2"),
    ]
    svg = drawn(best)
    (joined,) = of(svg, "line", "line")
    assert float(joined.get("x1")) < float(joined.get("x2"))
    top = float(of(svg, "circle", "part-2")[0].get("cy"))
    assert all(top < float(one.get("cy")) for one in of(svg, "circle", "after"))
    assert "equal" in "".join(svg.itertext())


@pytest.mark.parametrize("dots", [[Dot("a", 1.0, 20.0, 1.0)], [Dot("a", 1.0, math.inf, 1.0)] * 3])
def test_one_dot_and_equal_dots_are_drawn(dots: list[Dot]) -> None:
    assert len(of(drawn(dots), "circle", "before")) == len(dots)


def test_ticks_are_round_and_within() -> None:
    assert scatter.ticks(18, 42) == [20, 25, 30, 35, 40]
    assert scatter.ticks(3.1, 4.9) == pytest.approx([3.25, 3.5, 3.75, 4.0, 4.25, 4.5, 4.75])
    assert scatter.ticks(0, 2400) == [0, 500, 1000, 1500, 2000]


def test_names_are_escaped() -> None:
    assert "<b>" not in scatter.scatter("t", [], AXES, "", [Dot("a<b>", 1.0, 2.0, 1.0)])
    assert plots.WIDTH == 560, "bars keep their own width"

"""Places for the labels of dots, clear of each other, of all dots and of the frame.

Consumes widths of labels, centres and radii of dots; produces boxes. Everything is in pixels of one plot, y downwards.
"""

from __future__ import annotations

from collections.abc import Iterator

Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]
HEIGHT = 15  # of a label
GAP, RING = 4, 14  # between a label and its dot; how much further off each round of tries is
ROUNDS = 60
SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))


def place(widths: list[float], centres: list[Point], radii: list[float], frame: Box) -> list[Box]:
    """A box for each label, beside its dot or, where that is crowded, further off: none on another, on a dot, outside.

    A frame too full for that gets the last place that was tried.
    """
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    placed: dict[int, Box] = {}
    for number in sorted(range(len(widths)), key=lambda number: centres[number]):
        for box in tries(widths[number], centres[number], radii[number]):
            placed[number] = box
            if inside(box, frame) and not any(overlap(box, other) for other in taken):
                break
        taken.append(placed[number])
    return [placed[number] for number in range(len(widths))]


def tries(width: float, centre: Point, r: float) -> Iterator[Box]:
    """Right, left, above, below, then the corners; and all of it again further off."""
    (x, y), half = centre, HEIGHT / 2
    for ring in range(ROUNDS):
        off = r + GAP + ring * RING
        for across, down in SIDES:
            mid_x, mid_y = x + across * (off + width / 2), y + down * (off + half)
            yield mid_x - width / 2, mid_y - half, mid_x + width / 2, mid_y + half


def nearest(box: Box, point: Point) -> Point:
    """The point of a box that is nearest to another point: where a line to a label ends."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]

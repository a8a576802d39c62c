"""Places for the names of points, so that no name covers another one, a point or an interval.

Each name takes the cheapest of many places around its point, given where the others are; a few rounds of that settle.
All is in points (1/72 inch), y upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

ROUNDS = 3
ANGLES = np.deg2rad((0, 180, 45, 315, 135, 225, 90, 270, 22.5, 337.5, 157.5, 202.5, 67.5, 112.5, 247.5, 292.5))
NEAREST, FARTHER, RINGS = 7.0, 1.3, 16  # points from a name's edge to its point; how that grows from ring to ring
APART = 1.5  # points between things
COVERED, OUTSIDE, CROSSED = 1e4, 1e6, 15.0  # what it costs, beside the distance in points
AT_ONCE = 16  # places that are looked at together


@dataclass(frozen=True, slots=True)
class Names:
    """The names of points. at: their points, [n, 2]; sizes: width and height of each name, [n, 2]."""

    at: Floats
    sizes: Floats


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where names may be, and what is there. area: left, bottom, right, top. boxes: the same of what must stay free,
    [m, 4]; lines: x and y of the ends of lines that are better not covered, [k, 4].
    """

    area: Floats
    boxes: Floats
    lines: Floats


def place_names(names: Names, around: Surroundings) -> Floats:
    """The boxes of all names: left, bottom, right, top, [n, 4]."""
    n = len(names.at)
    places = [_Places.around(at, size, around) for at, size in zip(names.at, names.sizes, strict=True)]
    chosen: dict[int, int] = {}
    for _ in range(ROUNDS):
        for i in range(n):
            others = [(places[j].boxes[k], places[j].leaders[k]) for j, k in chosen.items() if j != i]
            chosen[i] = places[i].cheapest(others) if others else 0
    return np.array([places[i].boxes[chosen[i]] for i in range(n)]).reshape(n, 4)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a name may be: boxes and the lines from its point to them, [c, 4] each, with what each costs without regard
    to other names, [c]; the cheapest first.
    """

    boxes: Floats
    leaders: Floats
    costs: Floats

    @classmethod
    def around(cls, at: Floats, size: Floats, around: Surroundings) -> _Places:
        boxes = _candidates(at, size)
        leaders = _leaders(boxes, at)
        costs = _fixed_cost(boxes, leaders, around)
        order = np.argsort(costs, kind="stable")
        return cls(boxes[order], leaders[order], costs[order])

    def cheapest(self, others: list[tuple[Floats, Floats]]) -> int:
        """Which place costs least beside those of other names; others only add to a cost, so most need no look."""
        boxes, lines = map(np.array, zip(*others, strict=True))
        best, least = 0, np.inf
        for first in range(0, len(self.costs), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            if self.costs[first] >= least:
                break
            crossed = _crossings(self.boxes[some], lines).sum(axis=1)
            crossed += _crossings(boxes, self.leaders[some]).sum(axis=0)
            costs = self.costs[some] + COVERED * _overlaps(self.boxes[some], boxes) + CROSSED * crossed
            if (cost := float(costs.min())) < least:
                best, least = first + int(np.argmin(costs)), cost
        return best


def leader(at: Floats, box: Floats) -> list[Floats]:
    """The ends of the line from a point to its name's box; nothing where the name is close enough to do without."""
    start, end = _leaders(box[None], at).reshape(2, 2)
    return [] if np.hypot(*(end - start)) < 1.5 * NEAREST else [start, end]


def crowds(sizes: Floats, area: tuple[float, float]) -> float:
    """The share of an area that names of such sizes, [n, 2], and the room around them take."""
    return float(np.prod(sizes + 2 * NEAREST, axis=1).sum()) / (area[0] * area[1])


def _candidates(at: Floats, size: Floats) -> Floats:
    """Boxes around a point, ring by ring, [c, 4]: with the point in line with a side, or at a corner."""
    radii = NEAREST * FARTHER ** np.arange(RINGS)
    angle, radius = (grid.ravel() for grid in np.meshgrid(ANGLES, radii))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = at + direction * radius[:, None] + np.round(direction, 1) * size / 2
    return np.hstack([middle - size / 2, middle + size / 2])


def _leaders(boxes: Floats, at: Floats) -> Floats:
    """The lines from a point to the nearest one of each box, [c, 4]."""
    return np.hstack([np.tile(at, (len(boxes), 1)), np.clip(at, boxes[:, :2], boxes[:, 2:])])


def _fixed_cost(boxes: Floats, leaders: Floats, around: Surroundings) -> Floats:
    """Of each box without regard to other names: what it covers, and its distance; a little more of what is not beside
    its point.
    """
    left, bottom, right, top = around.area
    outside = (boxes[:, 0] < left) | (boxes[:, 1] < bottom) | (boxes[:, 2] > right) | (boxes[:, 3] > top)
    distance = np.hypot(*(leaders[:, 2:] - leaders[:, :2]).T) + np.tile(np.arange(len(ANGLES)), RINGS) * 0.2
    crossed = _crossings(boxes, around.lines).sum(axis=1) + _crossings(around.boxes, leaders).sum(axis=0)
    cost: Floats = OUTSIDE * outside + COVERED * _overlaps(boxes, around.boxes) + CROSSED * crossed + distance
    return cost


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """With how many of the others each box overlaps, [c]."""
    left, bottom, right, top = boxes.T[:, :, None]
    aside = (left >= others[:, 2] + APART) | (right <= others[:, 0] - APART)
    above = (bottom >= others[:, 3] + APART) | (top <= others[:, 1] - APART)
    overlaps: Floats = (~(aside | above)).sum(axis=1)
    return overlaps


def _crossings(boxes: Floats, lines: Floats) -> NDArray[np.bool_]:
    """Whether a line goes through a box, [boxes, lines]: it is within both of its bands at once."""
    first, last = np.zeros(1), np.ones(1)
    for axis in (0, 1):
        start, way = lines[:, axis], lines[:, axis + 2] - lines[:, axis]
        ends = [(boxes[:, side, None] - start) / np.where(way == 0, 1e-9, way) for side in (axis, axis + 2)]
        first, last = np.maximum(first, np.minimum(*ends)), np.minimum(last, np.maximum(*ends))
    through: NDArray[np.bool_] = np.less(first, last)
    return through

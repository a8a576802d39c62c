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
    candidates = [_candidates(at, size) for at, size in zip(names.at, names.sizes, strict=True)]
    leaders = [_leaders(boxes, at) for boxes, at in zip(candidates, names.at, strict=True)]
    fixed = [_fixed_cost(*of, around) for of in zip(candidates, leaders, strict=True)]
    chosen: dict[int, int] = {}
    for _ in range(ROUNDS):
        for i in range(n):
            cost = fixed[i]
            if others := [(candidates[j][k], leaders[j][k]) for j, k in chosen.items() if j != i]:
                boxes, lines = map(np.array, zip(*others, strict=True))
                crossed = _crossings(candidates[i], lines).sum(axis=1) + _crossings(boxes, leaders[i]).sum(axis=0)
                cost = cost + COVERED * _overlaps(candidates[i], boxes) + CROSSED * crossed
            chosen[i] = int(np.argmin(cost))
    return np.array([candidates[i][chosen[i]] for i in range(n)]).reshape(n, 4)


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
    a, b = boxes[:, None], others[None]
    apart = (a[..., :2] >= b[..., 2:] + APART) | (a[..., 2:] <= b[..., :2] - APART)
    overlaps: Floats = (~apart.any(axis=-1)).sum(axis=1)
    return overlaps


def _crossings(boxes: Floats, lines: Floats) -> NDArray[np.bool_]:
    """Whether a line goes through a box, [boxes, lines]: it is within both of its bands at once."""
    start, way = lines[None, :, :2], lines[None, :, 2:] - lines[None, :, :2]
    way = np.where(way == 0, 1e-9, way)
    ends = np.stack([(boxes[:, None, :2] - start) / way, (boxes[:, None, 2:] - start) / way])
    first, last = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
    through: NDArray[np.bool_] = np.maximum(first, 0) < np.minimum(last, 1)
    return through

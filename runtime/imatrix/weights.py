"""What each of several texts, or of several importance matrices, counts."""

from __future__ import annotations

from subbyte.runtime import arguments

LEAST, MOST = 1e-6, 1e6  # sums and counts are kept in float32, which must hold what is multiplied by a weight


def checked_weights(weights: object) -> tuple[float, ...]:
    """Weights of an argument of that name: numbers from LEAST to MOST."""
    found = arguments.items("weights", weights, "a list of numbers")
    for i, weight in enumerate(found):
        if not LEAST <= arguments.number(f"weights[{i}]", weight, 0) <= MOST:
            allowed = f"must be from {LEAST:g} to {MOST:g}; leave out what is not to count"
            raise ValueError(f"weights[{i}] is {weight:g}, but {allowed}")
    return tuple(map(float, found))

"""What each of several texts, or of several importance matrices, counts."""

from __future__ import annotations

from subbyte.runtime import arguments


def checked_weights(weights: object) -> tuple[float, ...]:
    """Weights of an argument of that name: finite numbers above 0."""
    found = arguments.items("weights", weights, "a list of numbers")
    for i, weight in enumerate(found):
        if arguments.number(f"weights[{i}]", weight, 0) == 0:
            raise ValueError(f"weights[{i}] is 0, but must be above: leave out what is not to count")
    return tuple(map(float, found))

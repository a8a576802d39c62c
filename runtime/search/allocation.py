"""One type for each group such that the least is lost within a number of bytes: a knapsack of multiple choice.

Dynamic programming over bytes finds the optimum for every size at once, so also the smallest size for a loss. It takes
a second; integer programming by HiGHS, through scipy, takes as long and writes to stdout what it can't be told not to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CELLS = 1 << 16  # that sizes are counted in: each group's is rounded up to one


class Allocation:
    """The least loss for each number of bytes up to `limit`, and the choices that reach it.

    losses, sizes: of each group's choices, at most 127 of them; sizes in bytes.
    """

    def __init__(self, losses: Sequence[Sequence[float]], sizes: Sequence[Sequence[int]], limit: int) -> None:
        least, most = sum(map(min, sizes)), sum(map(max, sizes))
        limit = min(limit, most)
        self._unit = max(limit - least, 0) / CELLS or 1.0  # what no choice can save is not counted
        self._cells = [[int(np.ceil((size - min(of)) / self._unit)) for size in of] for of in sizes]
        self._chosen: list[NDArray[np.int8]] = []
        n = int((limit - least) / self._unit) + 1 if limit >= least else 0
        if limit == most:
            n += len(sizes)  # all that is lost by rounding up: with no limit every choice fits
        self._loss = np.zeros(n)
        for loss, cells in zip(losses, self._cells, strict=True):
            self._add(loss, cells)

    def _add(self, loss: Sequence[float], cells: Sequence[int]) -> None:
        """One group more."""
        before, n = self._loss, len(self._loss)
        self._loss, chosen = np.full(n, np.inf), np.zeros(n, np.int8)
        for i, (own, size) in enumerate(zip(loss, cells, strict=True)):
            if size < n:
                with_it = before[: n - size] + own
                better = with_it < self._loss[size:]
                self._loss[size:][better] = with_it[better]
                chosen[size:][better] = i
        self._chosen.append(chosen)

    def within_limit(self) -> list[int] | None:
        """The choice of each group by which least is lost; None where nothing fits the limit."""
        return self._choices(len(self._loss) - 1) if len(self._loss) else None

    def for_loss(self, most: float) -> list[int] | None:
        """The choices of fewest bytes by which at most so much is lost; None where more is."""
        enough = np.flatnonzero(self._loss <= most)
        return self._choices(int(enough[0])) if len(enough) else None

    def _choices(self, cell: int) -> list[int]:
        found = []
        for chosen, cells in zip(reversed(self._chosen), reversed(self._cells), strict=True):
            i = int(chosen[cell])
            found.append(i)
            cell -= cells[i]
        return found[::-1]

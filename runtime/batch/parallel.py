"""Work of many threads over one scheduler, which makes their answers together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from subbyte.runtime.scheduler.scheduler import Scheduler

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T], scheduler: Scheduler, n_parallel: int) -> Iterator[R]:
    """What `work`, which answers by the scheduler, makes of each item, as soon as it is there.

    n_parallel: items that are worked on at once; few more are taken ahead. Ended early, and by an error of `work`, it
    closes the scheduler, so that no answer goes on.
    """
    with ThreadPoolExecutor(n_parallel, "subbyte-batch") as pool:
        ahead = iter(items)
        pending: set[Future[R]] = set()
        try:
            while True:
                for item in islice(ahead, 2 * n_parallel - len(pending)):
                    pending.add(pool.submit(work, item))
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()
            scheduler.close()

"""How fast the disk gives a file that is not in memory, read as experts are: pieces of a megabyte, several at once."""

import mmap
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

PIECE_BYTES = 1 << 20
AT_A_TIME = 8
SECONDS = 0.4
LEAST_BYTES = 16 << 20  # of a file, which else is too small to measure


def disk_rate(paths: Sequence[Path], seconds: float = SECONDS) -> float | None:
    """Bytes a second from the largest of these files, past the page cache.

    None where that can't be done: a file system in memory or without O_DIRECT, a small file, one that is gone.
    """
    try:
        path = max(paths, key=os.path.getsize)
        n_pieces = os.path.getsize(path) // PIECE_BYTES
        if n_pieces * PIECE_BYTES < LEAST_BYTES:
            return None
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    order = random.sample(range(n_pieces), n_pieces)
    start = time.perf_counter()
    try:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            parts = [pool.submit(_read, fd, order[i::AT_A_TIME], start + seconds) for i in range(AT_A_TIME)]
            n_bytes = sum(part.result() for part in parts)
    except OSError:
        return None
    finally:
        os.close(fd)
    return n_bytes / (time.perf_counter() - start)


def _read(fd: int, pieces: Sequence[int], end: float) -> int:
    """Reads pieces until the time is over, and one at least; bytes."""
    n_bytes = 0
    with closing(mmap.mmap(-1, PIECE_BYTES)) as memory:  # pages, which O_DIRECT needs
        for piece in pieces:
            n_bytes += os.preadv(fd, [memory], piece * PIECE_BYTES)
            if time.perf_counter() > end:
                break
    return n_bytes

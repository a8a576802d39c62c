"""The permissions of files for root, who else may read and write everything: as for anybody else, for a while."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION = 0x20080522  # of Linux's capset: two sets of 32 capabilities, each effective, permitted, inheritable
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def ordinary_permissions() -> Iterator[None]:
    """Within, this thread may read and write what the modes of files let their owner."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()

    def check(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), "capabilities")

    check(libc.capget(header, sets))
    before = sets[0]
    sets[0] &= ~_OVERRIDES
    check(libc.capset(header, sets))
    try:
        yield
    finally:
        sets[0] = before
        check(libc.capset(header, sets))

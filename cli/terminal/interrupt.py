"""Ctrl-C: when an interrupt counts, and what a measurement keeps when one comes."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from subbyte.cli.terminal.console import note

if TYPE_CHECKING:
    from subbyte.runtime.measurement import Measurement

P = TypeVar("P")


def run_measurement(measurement: "Measurement[P, Any]", show: Callable[[P], object], go_on: str = "") -> bool:
    """Goes through a measurement and shows its progress; False where Ctrl-C ended it and there is a partial result.

    What that result covers is then said on stderr, followed by go_on. Where there is none yet, KeyboardInterrupt
    goes on.
    """
    try:
        for progress in measurement:
            show(progress)
    except KeyboardInterrupt:
        if not measurement.n_done:
            raise
        note(f"interrupted: results of {measurement.coverage}{go_on}", verbose=True)
        return False
    return True


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Within, Ctrl-C does nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Within, the first Ctrl-C raises KeyboardInterrupt; what tidies up after it is not interrupted by a second."""

    def once(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""Ctrl-C: when an interrupt counts, and what a measurement keeps when one comes."""

import os
import signal
import threading
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


class Terminated(SystemExit):
    """SIGTERM or SIGHUP came: what is under way tidies up, temporary files above all.

    A SystemExit, since an event loop, as the prompt has one, lets no other exception out of a task.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def tidy_termination() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise Terminated, at whose end the process dies of the signal; a second one kills.

    A signal that whoever started the process has it ignore (nohup) stays ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    except Terminated as terminated:
        os.kill(os.getpid(), terminated.number)


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


@contextmanager
def later_interrupt() -> Iterator[None]:
    """Within, Ctrl-C waits for the end: what is written meanwhile is written whole, and known to be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])

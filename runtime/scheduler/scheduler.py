"""The scheduler: one engine that makes the answers of many, for any thread or event loop."""

from __future__ import annotations

import os
import threading
import weakref
from typing import NamedTuple

from subbyte.errors import ResourceError
from subbyte.kernels import Plan
from subbyte.runtime.generation.decoder import Decoder
from subbyte.runtime.generation.generation import Host, Run
from subbyte.runtime.handles import Handle
from subbyte.runtime.scheduler.loop import Loop
from subbyte.runtime.scheduler.memory import Sequences
from subbyte.runtime.scheduler.request import Request, Ticket
from subbyte.runtime.session.prefixes import Prefixes
from subbyte.runtime.session.runner import Runner
from subbyte.runtime.types import CheckpointUse, SessionOptions


class SchedulerUse(NamedTuple):
    """What a scheduler is doing.

    n_running, n_waiting: answers that are being made and that wait to be begun. n_idle: ended conversations that are
    kept for prompts which begin like them. n_bytes, max_bytes: memory of all of these, and how much it may be.
    n_steps: how many steps there were so far.
    """

    n_running: int
    n_waiting: int
    n_idle: int
    n_bytes: int
    max_bytes: int
    n_steps: int


class Scheduler(Handle):
    """Continuous batching: makes many answers at once, each of which costs the less the more there are.

    Made by `Model.scheduler`; `Model.generate` and `Model.chat` take it. A thread of its own steps for all of them:
    weights are read and unpacked once for the tokens of all in a step. An answer is the same as alone, bit for bit. It
    begins from the longest prefix that another conversation, or a pinned prefix, has computed. Closing it, or leaving
    its `with`, ends all answers.
    """

    instead = "share it between threads; in another process, make one there"

    def __init__(
        self,
        runner: Runner,
        prefixes: Prefixes,
        options: SessionOptions,
        *,
        max_bytes: int,
        n_parallel: int,
        n_waiting: int,
    ) -> None:
        self.options, self.times = options, runner.times
        self._plan, self._pid = runner.plan, os.getpid()
        checkpoint_bytes = options.checkpoint_bytes or 0
        self._sequences = Sequences(runner, prefixes, options.cache_type, checkpoint_bytes, max_bytes)
        self._loop = Loop(runner, self._sequences, n_parallel, n_waiting)
        self._thread = threading.Thread(target=self._loop.run, name="subbyte-scheduler", daemon=True)
        self._thread.start()
        self._end = weakref.finalize(self, _stop, self._loop, self._thread)  # also when the program ends

    @property
    def use(self) -> SchedulerUse:
        """What it is doing at this moment."""
        loop, memory = self._loop, self._sequences
        return SchedulerUse(
            loop.n_running, loop.n_waiting, len(memory.idle), memory.n_bytes, memory.max_bytes, loop.n_steps
        )

    def is_of(self, plan: Plan) -> bool:
        """Whether it runs this plan."""
        return self._plan is plan

    def host(self) -> Host:
        """What answers of one conversation are made by."""
        return _Conversation(self)

    def run(self, decoder: Decoder) -> Run:
        """Takes a decoder on. Raises QueueFull; ValueError once it is closed; ResourceError in a forked process."""
        if os.getpid() != self._pid:
            raise ResourceError("this process was forked from that of the scheduler; load the model and make one here")
        request = Request(decoder)
        self._loop.submit(request)
        return Ticket(request, self)

    def cancelled(self, request: Request) -> None:
        """Tells the loop that a request's decoder was cancelled."""
        self._loop.cancelled(request)

    def close(self) -> None:
        """Ends all answers, with stop_reason "cancelled", and gives the memory back. Closing twice is no error."""
        self._end()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stop(loop: Loop, thread: threading.Thread) -> None:
    loop.stop()
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join()


class _Conversation(Host):
    """The answers of one conversation, one after the other; what it has computed is the scheduler's to keep."""

    def __init__(self, scheduler: Scheduler) -> None:
        assert scheduler.options.n_ctx is not None
        self.n_ctx, self.options, self.times = scheduler.options.n_ctx, scheduler.options, scheduler.times
        self._scheduler = scheduler
        self._last: Decoder | None = None

    def run(self, decoder: Decoder) -> Run:
        """See `Host`."""
        run = self._scheduler.run(decoder)
        self._last = decoder
        return run

    def company(self) -> int:
        """See `Host`."""
        return max(self._scheduler._loop.n_running, 1)

    @property
    def n_past(self) -> int:
        """See `Host`."""
        return len(self._last.context) if self._last else 0

    @property
    def checkpoints(self) -> CheckpointUse:
        """See `Host`; what the scheduler keeps is not of one conversation."""
        return CheckpointUse((), 0, self.options.checkpoint_bytes or 0, 0)

    def fork(self) -> Host:
        """See `Host`; its first answer finds what this one's have computed."""
        return self._scheduler.host()

    def close(self) -> None:
        """See `Host`."""
        self._last = None

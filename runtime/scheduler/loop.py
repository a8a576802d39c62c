"""Continuous batching: the loop that joins the next tokens of all answers, and a piece of the prompts, in each step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from threading import Condition

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError, QueueFull, StepCancelled
from subbyte.runtime.generation.decoder import FEW
from subbyte.runtime.generation.events import Event
from subbyte.runtime.generation.prefill import SCORED_CHUNK, Wanted
from subbyte.runtime.generation.sampling import NOT_FINITE, Draw, draw_tokens
from subbyte.runtime.generation.waiter import Waiter, wake_all
from subbyte.runtime.scheduler.memory import Sequences
from subbyte.runtime.scheduler.piece import Piece, next_piece
from subbyte.runtime.scheduler.request import Request
from subbyte.runtime.session.runner import Runner

LONGEST_STEP = 0.25  # seconds that a piece of a prompt may take while other answers wait for their next tokens
LONGEST_STEP_ALONE = 1.0  # while none does
RESERVE = 64  # positions that each answer should find room for, so that it need not go back to wait
MIN_PIECE = 16  # tokens of a prompt in a step at least


class Loop:
    """Runs requests, at most n_parallel at once, and lets n_waiting wait. `run` is the thread's; the rest is for any.

    Answers are begun in the order in which they were asked for. Each step has the next tokens of all that are running,
    and a piece of the prompts that are not read yet, so long that the step takes LONGEST_STEP. Where memory is short,
    the answer that began last goes back to the queue, and is computed again up to where it was.
    """

    def __init__(self, runner: Runner, sequences: Sequences, n_parallel: int, n_waiting: int) -> None:
        self._runner, self._sequences = runner, sequences
        self._n_parallel, self._n_waiting = n_parallel, n_waiting
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []
        self._stopped = False
        self._changed = Condition()
        self._alone: Request | None = None  # whose step is running, if it is of this one only
        self._short = False  # of memory: an answer had to go back to wait, and none has ended since
        self._waiters: set[Waiter] = set()  # to wake, since there are events for them
        self._seconds_per_token = 0.0  # of a step with a piece of a prompt, lately
        self.n_steps = 0

    @property
    def n_running(self) -> int:
        """Answers that are being made."""
        return len(self._running)

    @property
    def n_waiting(self) -> int:
        """Answers that were asked for and are not begun."""
        return len(self._waiting)

    def submit(self, request: Request) -> None:
        """Takes a request on. Raises QueueFull, and ValueError once it is stopped."""
        with self._changed:
            if self._stopped:
                raise ValueError("this scheduler is closed; make another with Model.scheduler")
            if len(self._waiting) >= self._n_waiting:
                found = f"{len(self._waiting)} answers are waiting, which is as many as may"
                raise QueueFull(f"{found}; ask again later, or make a scheduler with a longer queue")
            self._waiting.append(request)
            self._changed.notify()

    def cancelled(self, request: Request) -> None:
        """After its decoder was cancelled: a step that is running for it alone is given up at once."""
        with self._changed:
            if self._alone is request:
                self._runner.engine.cancel()
            self._changed.notify()

    def stop(self) -> None:
        """Ends all answers, and then the loop."""
        with self._changed:
            self._stopped = True
            for request in (*self._waiting, *self._running):
                request.decoder.cancel()
            self._runner.engine.cancel()
            self._changed.notify()

    def run(self) -> None:
        """The loop; returns after `stop`."""
        while True:
            with self._changed:
                while not (self._waiting or self._running or self._stopped):
                    self._changed.wait()
                if self._stopped and not (self._waiting or self._running):
                    return
            try:
                self._admit()
                self._step()
            except Exception as error:  # of none of them alone: the model's file has changed, there are no threads
                for request in tuple(self._running):
                    self._end(request, error)
            wake_all(self._waiters)
            self._waiters.clear()

    def _admit(self) -> None:
        for request in tuple(self._waiting):
            if request.decoder.has_ended():
                self._waiting.remove(request)
                self._finish(request)
        while self._waiting and len(self._running) < self._n_parallel and not (self._short and self._running):
            request = self._waiting[0]
            growth = sum(min(r.decoder.n_left, RESERVE) for r in (request, *self._running)) if self._running else 1
            try:
                decoder = request.decoder
                request.sequence = self._sequences.begin(decoder.context, decoder.n_reusable, growth)
            except Exception as error:  # no memory for the sequence
                self._waiting.popleft()
                self._release(request, error)
                continue
            if request.sequence is None:
                return
            self._waiting.popleft()
            self._running.append(request)
            self._put(request, partial(request.decoder.resume, request.sequence.n_held))

    def _step(self) -> None:
        """Computes a piece of each answer that wants one, and draws what can be drawn."""
        self._make_room()
        pieces, ready = self._pieces()
        if pieces:
            with self._changed:
                self._alone = pieces[0].request if len(pieces) == 1 else None
            started = time.perf_counter()
            try:
                found = self._compute(pieces)
            except StepCancelled:
                return
            finally:
                with self._changed:
                    self._alone = None
            seconds = time.perf_counter() - started
            self.n_steps += 1
            self._note_time(pieces, seconds)
            for piece, logits in found:
                self._take(piece, logits, seconds)
                if piece.is_last:
                    ready.append(piece.request)
        self._draw([request for request in ready if not request.released.is_set()])
        for request in ready:
            self._settle(request)

    def _settle(self, request: Request) -> None:
        """After its tokens were drawn: drafts that were not are forgotten; an answer that has ended is let go."""
        if (sequence := request.sequence) is None:
            return
        if sequence.n_past > request.decoder.n_computed:
            sequence.truncate(request.decoder.n_computed)
        if request.decoder.ended is not None:
            self._finish(request)

    def _make_room(self) -> None:
        """For a token more of each answer; while there is no memory for that, the last one begun goes back to wait."""
        while len(self._running) > 1 and not self._sequences.has_room(
            sum(min(request.decoder.n_left, FEW) for request in self._running)
        ):
            request = self._running.pop()
            self._give_back(request, keep=False)
            self._short = True
            with self._changed:
                self._waiting.appendleft(request)

    def _pieces(self) -> tuple[list[Piece], list[Request]]:
        """What the next step computes, of those that want a few tokens and of prompts; and who wants nothing computed.

        Those that have ended are let go.
        """
        pieces: list[Piece] = []
        prompts: list[tuple[Request, Wanted]] = []
        ready: list[Request] = []
        room = self._runner.n_batch
        for request in sorted(self._running, key=lambda request: request.last_step):
            missing = self._missing(request)
            if missing is None:
                continue
            if not missing.tokens:
                ready.append(request)
            elif len(missing.tokens) > FEW or request.decoder.prefilling:
                prompts.append((request, missing))
            elif len(missing.tokens) <= room:
                pieces.append(next_piece(request, missing, room))
                room -= len(missing.tokens)
        room = min(room, self._piece_size(alone=not pieces))
        n_scored = 0  # tokens of prompts whose logits the step has
        for request, missing in sorted(prompts, key=lambda prompt: self._running.index(prompt[0])):
            most = room if missing.n_logits <= 1 else min(room, SCORED_CHUNK - n_scored)
            if most > 0:
                pieces.append(next_piece(request, missing, most))
                room -= len(pieces[-1].tokens)
                n_scored += pieces[-1].n_logits
        for piece in pieces:
            piece.request.last_step = self.n_steps
        return pieces, ready

    def _missing(self, request: Request) -> Wanted | None:
        """What is to be computed before a decoder has what it wants; None for an answer that ends here."""
        decoder, sequence = request.decoder, request.sequence
        try:
            wanted = decoder.wants()
        except BaseException as error:  # of a logits processor that forces tokens
            self._end(request, error)
            return None
        if wanted is None:
            self._finish(request)
            return None
        assert sequence is not None
        ahead = sequence.n_held - decoder.n_computed
        if ahead < 0 and wanted.tokens:  # it went back to a checkpoint
            return Wanted([*decoder.context[sequence.n_held : decoder.n_computed], *wanted.tokens], wanted.n_logits)
        return Wanted(wanted.tokens[max(ahead, 0) :], wanted.n_logits)

    def _piece_size(self, *, alone: bool) -> int:
        if not self._seconds_per_token:
            return 2 * MIN_PIECE
        seconds = LONGEST_STEP_ALONE if alone else LONGEST_STEP
        return max(MIN_PIECE, int(seconds / self._seconds_per_token) // MIN_PIECE * MIN_PIECE)

    def _note_time(self, pieces: list[Piece], seconds: float) -> None:
        n = sum(len(piece.tokens) for piece in pieces)
        if n >= MIN_PIECE:
            before = self._seconds_per_token or seconds / n
            self._seconds_per_token = 0.75 * before + 0.25 * seconds / n

    def _compute(self, pieces: list[Piece]) -> list[tuple[Piece, NDArray[np.float32] | None]]:
        """The logits of each piece, of one step; if that is not finite, of one step each: only one may be at fault."""
        try:
            rows = self._runner.step([piece.segment for piece in pieces])
        except NumericError as error:
            if len(pieces) == 1:
                self._end(pieces[0].request, error)
                return []
            return [found for piece in pieces for found in self._compute([piece])]
        found: list[tuple[Piece, NDArray[np.float32] | None]] = []
        first = 0
        for piece in pieces:
            last = first + piece.n_logits
            found.append((piece, rows[first:last] if rows is not None and piece.n_logits else None))
            first = last
        return found

    def _take(self, piece: Piece, logits: NDArray[np.float32] | None, seconds: float) -> None:
        request = piece.request
        decoder, meter = request.decoder, request.meter
        if decoder.prefilling:
            meter.prefill_seconds += seconds
        else:
            meter.seconds += seconds
            meter.n_evals += logits is not None
        if piece.is_last:
            self._put(request, partial(decoder.evaluated, logits))
        elif logits is not None:
            self._put(request, partial(decoder.evaluated_part, logits))

    def _draw(self, requests: Iterable[Request]) -> None:
        """Draws tokens of all answers together for as long as there are logits that decide one."""
        while requests:
            draws: list[tuple[Request, Draw]] = []
            forced: list[Request] = []
            for request in requests:
                try:
                    draw = request.decoder.draw()
                except BaseException as error:  # of a logits processor, whatever it raises
                    self._end(request, error)
                    continue
                if isinstance(draw, int):
                    self._put(request, partial(request.decoder.take, draw))
                    forced.append(request)
                elif draw is not None:
                    draws.append((request, draw))
            tokens = draw_tokens([draw for _, draw in draws], self._runner.engine.n_threads) if draws else []
            for (request, _), token in zip(draws, tokens, strict=True):
                if token is None:
                    self._end(request, NumericError(NOT_FINITE))
                else:
                    self._put(request, partial(request.decoder.take, token))
            requests = [request for request in (*forced, *(r for r, _ in draws)) if not request.released.is_set()]

    def _put(self, request: Request, make: Callable[[], Iterable[Event]]) -> None:
        """Puts events where they are waited for; an exception that comes of making them ends the answer."""
        try:
            for event in make():
                request.events.put(event)
        except BaseException as error:
            self._end(request, error)
        else:
            self._note_events(request)

    def _finish(self, request: Request) -> None:
        """An answer that has ended by itself, was cancelled, or is late."""
        self._put(request, request.decoder.finish)
        if not request.released.is_set():
            self._end(request, None)

    def _end(self, request: Request, error: BaseException | None) -> None:
        if request in self._running:
            self._running.remove(request)
            self._give_back(request, keep=error is None)
            self._short = False
        self._release(request, error)

    def _release(self, request: Request, error: BaseException | None) -> None:
        request.release(error)
        self._note_events(request)

    def _note_events(self, request: Request) -> None:
        """After there are some: who listens for them is woken when the step is over."""
        if request.waiter is not None:
            self._waiters.add(request.waiter)

    def _give_back(self, request: Request, *, keep: bool) -> None:
        assert request.sequence is not None
        self._sequences.end(request.sequence, keep=keep)
        request.sequence = None

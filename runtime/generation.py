"""Making an answer: the prompt through the model, then token after token, as events."""

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow, SessionBusy
from subbyte.runtime.events import Done, Event, PrefillProgress, Reply, StopReason, TextDelta, Timings, Usage
from subbyte.runtime.interfaces import Session, Tokenizer
from subbyte.runtime.sampling import Sampler, Sampling
from subbyte.runtime.stops import StopFinder

PREFILL_CHUNK = 256  # prompt tokens between two progress events; a cancelled prompt ends after so many at most


class Generation:
    """One answer while it is made: an iterator of events, `Done` last.

    `text`, `tokens` and `reply` hold what has come so far at any time, also after the iterator was left early, closed
    or interrupted by Ctrl-C. The session then holds the prompt and the tokens computed, and can be used further.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampler: Sampler,
        max_tokens: int | None = None,
        stop: Iterable[str] = (),
    ) -> None:
        self.prompt = list(prompt)
        self.tokens: list[int] = []
        self.stop_reason: StopReason | None = None  # None while it runs
        _check(self.prompt, session.n_ctx, max_tokens)
        self._session, self._tokenizer, self._sampler = session, tokenizer, sampler
        self._max_tokens, self._stops = max_tokens, StopFinder(stop)
        self._parts: list[str] = []
        self._reused = self._prefilled = self._evals = 0
        self._prefill_seconds = self._seconds = 0.0
        self._cancelled = threading.Event()
        self._events = self._run()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return next(self._events)
        except ValueError as error:
            if "already executing" in str(error):
                raise SessionBusy("this answer is being made in another thread") from None
            raise

    def cancel(self) -> None:
        """Ask for an early end, from any thread: the answer ends with stop_reason "cancelled" and keeps its text."""
        self._cancelled.set()

    def close(self) -> None:
        """End the answer here, without further events."""
        try:
            self._events.close()
        except ValueError:
            raise SessionBusy("this answer is being made in another thread: cancel() it") from None
        self.stop_reason = self.stop_reason or "cancelled"

    def run(self) -> Reply:
        """Take all remaining events; the whole reply."""
        for _ in self:
            pass
        return self.reply

    @property
    def text(self) -> str:
        """All text that was given out in `TextDelta` events."""
        return "".join(self._parts)

    @property
    def reply(self) -> Reply:
        """What has come so far; an answer that did not end by itself counts as cancelled."""
        usage = Usage(len(self.prompt), self._reused, len(self.tokens))
        timings = Timings(
            self._prefill_seconds,
            self._seconds,
            self._prefilled / self._prefill_seconds if self._prefill_seconds else 0.0,
            self._evals / self._seconds if self._evals else 0.0,
        )
        return Reply(self.text, tuple(self.tokens), usage, timings, self.stop_reason or "cancelled")

    def _run(self) -> Generator[Event, None, None]:
        logits = yield from self._prefill()
        if logits is not None:
            yield from self._decode(logits)
        self.stop_reason = self.stop_reason or "cancelled"
        yield Done(self.reply)

    def _prefill(self) -> Generator[Event, None, NDArray[np.float32] | None]:
        """The prompt's last logits [n_vocab]; None if cancelled before."""
        self._reused = done = self._session.reuse(self.prompt)
        total = len(self.prompt) - done
        yield PrefillProgress(0, total)
        chunks = -(-total // PREFILL_CHUNK)
        logits = None
        for i in range(1, chunks + 1):
            if self._cancelled.is_set():
                return None
            end = self._reused + total * i // chunks  # chunks of equal size: a last one of a few tokens would be slow
            started = perf_counter()
            self._expect(done)
            if i < chunks:
                self._session.eval(self.prompt[done:end], "none")
            else:
                logits = self._session.eval(self.prompt[done:end], "last")
            self._prefill_seconds += perf_counter() - started
            self._prefilled, done = end - self._reused, end
            yield PrefillProgress(self._prefilled, total)
        return logits

    def _decode(self, logits: NDArray[np.float32]) -> Iterator[Event]:
        decoder = self._tokenizer.stream()
        eog, context = self._tokenizer.eog, self.prompt.copy()
        # The last token is chosen, but not computed: one more than the context has room for.
        room = self._session.n_ctx - len(context) + 1
        limit = room if self._max_tokens is None else min(room, self._max_tokens)
        while (reason := self._ended(limit)) is None:
            started = perf_counter()
            if self.tokens:
                self._expect(len(context) - 1)
                logits = self._session.eval(context[-1:], "last")
                self._evals += 1
            token = self._sampler.pick(logits, context)
            if token in eog:
                self._seconds += perf_counter() - started
                reason = "eog"
                break
            self.tokens.append(token)
            context.append(token)
            text, stopped = self._stops.feed(decoder.feed(token))
            self._seconds += perf_counter() - started
            if text:
                yield self._delta(text)
            if stopped:
                reason = "stop"
                break
        if reason != "stop":
            text, stopped = self._stops.feed(decoder.finish())
            reason = "stop" if stopped else reason
            text += "" if stopped else self._stops.flush()
            if text:
                yield self._delta(text)
        self.stop_reason = reason

    def _ended(self, limit: int) -> StopReason | None:
        if self._cancelled.is_set():
            return "cancelled"
        return "length" if len(self.tokens) >= limit else None

    def _delta(self, text: str) -> TextDelta:
        self._parts.append(text)
        return TextDelta(text)

    def _expect(self, n_past: int) -> None:
        if self._session.n_past != n_past:
            raise SessionBusy("the session was used for something else while this answer was being made")


def _check(prompt: Sequence[int], n_ctx: int, max_tokens: int | None) -> None:
    if not prompt:
        raise ValueError("the prompt is empty, and this model has no token that begins a text: give at least one token")
    if max_tokens is not None and max_tokens < 0:
        raise ValueError(f"max_tokens is {max_tokens}, but must be at least 0 (None: as many as fit into the context)")
    if len(prompt) > n_ctx:
        raise ContextOverflow(
            f"the prompt has {len(prompt)} tokens, but the context holds {n_ctx}: "
            "use a larger context, or shorten the text or the conversation"
        )


def complete(
    session: Session,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    *,
    sampling: Sampling | None = None,
    max_tokens: int | None = None,
    stop: Iterable[str] = (),
    special: bool = False,
) -> Generation:
    """Continue a raw text, without a chat template; `.run()` gives the `Reply`.

    A text gets the model's BOS token if it wants one; ids are taken as they are. `special=True` reads control tokens
    out of the text. Raises ContextOverflow or ValueError before anything is computed.
    """
    if isinstance(prompt, str):
        prompt = tokenizer.encode(prompt, special=special, add_bos=tokenizer.add_bos)
    return Generation(session, tokenizer, prompt, Sampler(sampling), max_tokens, stop)

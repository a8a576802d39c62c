"""Making an answer: the prompt through the model, then token after token, as events."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow, SessionBusy
from subbyte.runtime.generation.events import Done, Event, Reply, StopReason, Timings, Usage
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.generation.prefill import Prefill, expect
from subbyte.runtime.generation.reasoning_parser import Tags, checked_budget
from subbyte.runtime.generation.sampling import Sampler, Sampling
from subbyte.runtime.protocols import Session, Tokenizer


class Generation:
    """One answer while it is made: an iterator of events, `Done` last.

    `text`, `thinking`, `tokens` and `reply` hold what has come so far at any time, also after the iterator was left
    early, closed or interrupted by Ctrl-C. The session then holds the prompt and the tokens computed, and can be used
    further.
    tags: what surrounds the model's reasoning; None: all it writes is the answer. reasoning_budget: tokens of reasoning
    after which the model is made to close it, as if it had written so; None: no limit.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampler: Sampler,
        max_tokens: int | None = None,
        stop: Iterable[str] = (),
        tags: Tags | None = None,
        reasoning_budget: int | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.stop_reason: StopReason | None = None  # None while it runs
        _check(self.prompt, session.n_ctx, max_tokens)
        self._session, self._tokenizer, self._sampler = session, tokenizer, sampler
        self._max_tokens, self._budget = max_tokens, checked_budget(reasoning_budget)
        self._output = OutputProcessor(tokenizer, stop, tags, tags.opened(self.prompt, tokenizer) if tags else None)
        self._suppressed = np.array(tokenizer.suppressed, np.intp)
        self._evals, self._seconds = 0, 0.0
        self._cancelled = threading.Event()
        self._prefill = Prefill(session, self.prompt, self._cancelled)
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
    def tokens(self) -> list[int]:
        """The ids of all tokens that have come."""
        return self._output.tokens

    @property
    def text(self) -> str:
        """All text that was given out in `TextDelta` events."""
        return self._output.text

    @property
    def thinking(self) -> str:
        """All reasoning that was given out in `ThinkingDelta` events."""
        return self._output.thinking

    @property
    def reply(self) -> Reply:
        """What has come so far; an answer that did not end by itself counts as cancelled."""
        prefill = self._prefill
        usage = Usage(len(self.prompt), prefill.reused, len(self.tokens), self._output.n_thinking)
        timings = Timings(
            prefill.seconds,
            self._seconds,
            prefill.computed / prefill.seconds if prefill.seconds else 0.0,
            self._evals / self._seconds if self._evals else 0.0,
        )
        return Reply(self.text, tuple(self.tokens), usage, timings, self.stop_reason or "cancelled", self.thinking)

    def _run(self) -> Generator[Event, None, None]:
        logits = yield from self._prefill.run()
        if logits is not None:
            yield from self._decode(logits)
        self.stop_reason = self.stop_reason or "cancelled"
        yield Done(self.reply)

    def _decode(self, logits: NDArray[np.float32]) -> Iterator[Event]:
        output, context = self._output, self.prompt.copy()
        # The last token is chosen, but not computed: one more than the context has room for.
        room = self._session.n_ctx - len(context) + 1
        limit = room if self._max_tokens is None else min(room, self._max_tokens)
        computed = len(context)
        closing: deque[int] = deque()  # tokens that the model is made to write
        while (reason := self._ended(limit)) is None:
            started = perf_counter()
            if not closing and (text := output.closing(self._budget)):
                closing.extend(self._tokenizer.encode(text, special=True))
                if len(output.tokens) + len(closing) > limit:
                    reason = "length"
                    break
            if closing:
                token = closing.popleft()
            else:
                if computed < len(context):
                    expect(self._session, computed)
                    logits = self._session.eval(context[computed:], "last")
                    computed, self._evals = len(context), self._evals + 1
                logits[self._suppressed] = -np.inf
                token = self._sampler.sample(logits, context)
            if token in self._tokenizer.eog:
                self._seconds += perf_counter() - started
                reason = "eog"
                break
            context.append(token)
            events = output.add(token)
            self._seconds += perf_counter() - started
            yield from events
            if output.stopped:
                reason = "stop"
                break
        yield from output.finish()
        self.stop_reason = "stop" if output.stopped else reason

    def _ended(self, limit: int) -> StopReason | None:
        if self._cancelled.is_set():
            return "cancelled"
        return "length" if len(self.tokens) >= limit else None


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
        prompt = tokenizer.encode(prompt, special=special, add_bos=True)
    return Generation(session, tokenizer, prompt, Sampler(sampling), max_tokens, stop)

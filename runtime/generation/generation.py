"""A generation: one decoder over one session, as an iterator of events."""

from collections.abc import Generator, Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import SessionBusy, memory_errors
from subbyte.kernels import TryLock
from subbyte.runtime.generation.decoder import Decoder, Wanted
from subbyte.runtime.generation.events import Done, Event, Reply, StopReason, Timings
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.sampling import Sampler
from subbyte.runtime.handles import Handle
from subbyte.runtime.protocols import Session, Tokenizer
from subbyte.runtime.tools.call import ToolCall


class Generation(Handle):
    """One answer while it is made: an iterator of events, `Done` last.

    `text`, `thinking`, `tokens` and `reply` hold what has come so far at any time, also after the iterator was left
    early, closed or interrupted by Ctrl-C. The session then holds the prompt and the tokens computed, and can be used
    further. A context manager, which closes it. sampler: one that goes on from an earlier answer; None: a new one.
    begun: what there is of the answer by now: part of `text`, `thinking` and `tokens`, but not of the events.
    owns_session: the session is closed with the answer's end, however it comes to it.
    """

    instead = "keep its `reply`, or make another one"

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        sampler: Sampler | None = None,
        *,
        begun: Begun = Begun(),  # noqa: B008 (immutable)
        owns_session: bool = False,
    ) -> None:
        self._decoder = Decoder(tokenizer, prompt, session.n_ctx, options, sampler, begun)
        self._loop = _Loop(session, self._decoder, owns_session)
        self._events = self._loop.events()
        self._lock = TryLock("this answer", "cancel() it, or wait for its end")

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._lock, memory_errors("go on with this answer"):
            return next(self._events)

    def __enter__(self) -> "Generation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the answer has ended; None while it has not."""
        return self._loop.stop_reason

    def cancel(self) -> None:
        """Ask for an early end, from any thread: the answer ends with stop_reason "cancelled" and keeps its text."""
        self._decoder.cancel()

    def close(self) -> None:
        """End the answer here, without further events. Raises SessionBusy while another thread makes it."""
        with self._lock:
            self._events.close()
            self._loop.close()

    def run(self) -> Reply:
        """Take all remaining events; the whole reply. Meanwhile no other thread can take events or close it."""
        with self._lock, memory_errors("go on with this answer"):
            for _ in self._events:
                pass
        return self.reply

    @property
    def prompt(self) -> list[int]:
        """The ids that the answer follows."""
        return self._decoder.prompt

    @property
    def tokens(self) -> list[int]:
        """The ids of all tokens that have come, those that the answer was begun with included."""
        return self._decoder.tokens

    @property
    def text(self) -> str:
        """All text that was given out in `TextDelta` events, behind what the answer was begun with."""
        return self._decoder.output.text

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that were given out as events; a copy."""
        return list(self._decoder.output.tool_calls)

    @property
    def thinking(self) -> str:
        """All reasoning that was given out in `ThinkingDelta` events, behind what the answer was begun with."""
        return self._decoder.output.thinking

    @property
    def reply(self) -> Reply:
        """What has come so far; an answer that did not end by itself counts as cancelled."""
        return self._loop.reply


class _Loop:
    """The loop of a generation. Apart from it, since the generator of `events` refers to this object: a generation that
    held a generator that refers to it would keep its session until the garbage collector comes by."""

    def __init__(self, session: Session, decoder: Decoder, owns_session: bool) -> None:
        self.stop_reason: StopReason | None = None
        self._session, self._decoder, self._owns_session = session, decoder, owns_session
        self._prefill_seconds = self._seconds = 0.0
        self._evals = 0  # of the answer's tokens, so not of the prompt

    @property
    def reply(self) -> Reply:
        """What has come so far."""
        output, usage = self._decoder.output, self._decoder.usage
        n_prefilled = min(self._decoder.n_computed, usage.prompt) - usage.reused
        timings = Timings(
            self._prefill_seconds,
            self._seconds,
            n_prefilled / self._prefill_seconds if self._prefill_seconds else 0.0,
            self._evals / self._seconds if self._evals else 0.0,
        )
        tokens = tuple(self._decoder.tokens)
        return Reply(
            output.text, tokens, usage, timings, self.stop_reason or "cancelled", output.thinking, output.stop_string,
            tuple(output.tool_calls),
        )  # fmt: skip

    def close(self) -> None:
        """Marks an answer that has not ended as cancelled, and closes a session of its own."""
        self.stop_reason = self.stop_reason or "cancelled"
        self._close_session()

    def events(self) -> Generator[Event, None, None]:
        """Makes the answer."""
        try:
            yield from self._run()
        finally:
            self._close_session()

    def _close_session(self) -> None:
        if self._owns_session:
            self._session.close()

    def _run(self) -> Generator[Event, None, None]:
        decoder = self._decoder
        yield decoder.begin(self._session.reuse(decoder.given))
        while (wanted := decoder.wants()) is not None:
            prefilling, started = decoder.prefilling, perf_counter()
            logits = self._evaluate(wanted) if wanted.tokens else None
            events = decoder.accept(logits)
            if prefilling:
                self._prefill_seconds += perf_counter() - started
            else:
                self._seconds += perf_counter() - started
                self._evals += logits is not None
            yield from events
        yield from decoder.finish()
        self.stop_reason = decoder.ended
        yield Done(self.reply)

    def _evaluate(self, wanted: Wanted) -> NDArray[np.float32] | None:
        """Evaluates what is wanted; raises SessionBusy if the session does not hold the tokens that were put there."""
        if self._session.n_past != self._decoder.n_computed:
            raise SessionBusy("the session was used for something else while this answer was being made")
        if wanted.logits:
            return self._session.eval(wanted.tokens, "last")
        self._session.eval(wanted.tokens, "none")
        return None


def complete(
    session: Session,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
    *,
    special: bool = False,
    owns_session: bool = False,
) -> Generation:
    """Continues a raw text, without a chat template; `.run()` gives the `Reply`.

    A text gets the model's BOS token if it wants one; ids are taken as they are. `special=True` reads control tokens
    out of the text. owns_session: as for `Generation`. Raises ContextOverflow or ValueError before anything is
    computed.
    """
    if isinstance(prompt, str):
        prompt = tokenizer.encode(prompt, special=special, add_bos=True)
    return Generation(session, tokenizer, prompt, options, owns_session=owns_session)

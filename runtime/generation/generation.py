"""A generation: one decoder over one session, as an iterator of events."""

from collections.abc import Generator, Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import SessionBusy
from subbyte.runtime.generation.decoder import Decoder, Wanted
from subbyte.runtime.generation.events import Done, Event, Reply, StopReason, Timings
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampler
from subbyte.runtime.protocols import Session, Tokenizer


class Generation:
    """One answer while it is made: an iterator of events, `Done` last.

    `text`, `thinking`, `tokens` and `reply` hold what has come so far at any time, also after the iterator was left
    early, closed or interrupted by Ctrl-C. The session then holds the prompt and the tokens computed, and can be used
    further. sampler: one that goes on from an earlier answer; None: a new one.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        sampler: Sampler | None = None,
    ) -> None:
        self.stop_reason: StopReason | None = None  # None while it runs
        self._session, self._decoder = session, Decoder(tokenizer, prompt, session.n_ctx, options, sampler)
        self._prefill_seconds = self._seconds = 0.0
        self._evals = 0  # of the answer's tokens, so not of the prompt
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
        self._decoder.cancel()

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
    def prompt(self) -> list[int]:
        """The ids that the answer goes on from."""
        return self._decoder.prompt

    @property
    def tokens(self) -> list[int]:
        """The ids of all tokens that have come."""
        return self._decoder.tokens

    @property
    def text(self) -> str:
        """All text that was given out in `TextDelta` events."""
        return self._decoder.output.text

    @property
    def thinking(self) -> str:
        """All reasoning that was given out in `ThinkingDelta` events."""
        return self._decoder.output.thinking

    @property
    def reply(self) -> Reply:
        """What has come so far; an answer that did not end by itself counts as cancelled."""
        usage = self._decoder.usage
        n_prefilled = min(self._decoder.n_computed, usage.prompt) - usage.reused
        timings = Timings(
            self._prefill_seconds,
            self._seconds,
            n_prefilled / self._prefill_seconds if self._prefill_seconds else 0.0,
            self._evals / self._seconds if self._evals else 0.0,
        )
        return Reply(
            self.text, tuple(self.tokens), usage, timings, self.stop_reason or "cancelled", self.thinking,
            self._decoder.output.stop_string,
        )  # fmt: skip

    def _run(self) -> Generator[Event, None, None]:
        decoder = self._decoder
        yield decoder.begin(self._session.reuse(decoder.prompt))
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
) -> Generation:
    """Continues a raw text, without a chat template; `.run()` gives the `Reply`.

    A text gets the model's BOS token if it wants one; ids are taken as they are. `special=True` reads control tokens
    out of the text. Raises ContextOverflow or ValueError before anything is computed.
    """
    if isinstance(prompt, str):
        prompt = tokenizer.encode(prompt, special=special, add_bos=True)
    return Generation(session, tokenizer, prompt, options)

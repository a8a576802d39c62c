"""A generation: one decoder over one session, as an iterator of events."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import SessionBusy, StepCancelled, memory_errors
from subbyte.kernels import TryLock
from subbyte.runtime.generation.decoder import Decoder
from subbyte.runtime.generation.events import Done, Event, Reply, StopReason, Timings
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.prefill import Wanted
from subbyte.runtime.generation.sampling import Sampler, sample
from subbyte.runtime.generation.waiter import Waiter
from subbyte.runtime.handles import Handle
from subbyte.runtime.protocols import Session, Tokenizer
from subbyte.runtime.speculation.speculation import Speculation
from subbyte.runtime.step_times import StepTimes
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.types import CheckpointUse, SessionOptions


@dataclass
class Meter:
    """Time that an answer took so far."""

    prefill_seconds: float = 0.0
    seconds: float = 0.0  # of the answer's tokens, so not of the prompt
    n_evals: int = 0  # of the answer's tokens

    def timings(self, n_prefilled: int, n_accepted: int) -> Timings:
        """With rates. n_prefilled: tokens of the prompt that were computed; n_accepted: drafts that came true."""
        return Timings(
            self.prefill_seconds,
            self.seconds,
            n_prefilled / self.prefill_seconds if self.prefill_seconds else 0.0,
            (self.n_evals + n_accepted) / self.seconds if self.n_evals else 0.0,
        )


class Run(ABC):
    """A decoder that is being driven: its events, and what has come so far."""

    def __init__(self, decoder: Decoder, meter: Meter) -> None:
        self.decoder, self.meter = decoder, meter
        self.stop_reason: StopReason | None = None

    @abstractmethod
    def events(self) -> Generator[Event, None, None]:
        """The events of the answer, `Done` last; whoever leaves it early closes it."""

    @abstractmethod
    def interrupt(self) -> None:
        """After `Decoder.cancel`: ends the step that is running, from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Ends the answer here, if it has not ended; nothing is computed for it any more."""

    def listen(self, waiter: Waiter) -> bool:
        """Has it woken from now on when there are events to take; False where whoever takes them makes them."""
        return False

    def is_ready(self) -> bool:
        """Whether the next of the `events` comes, or ends them, without waiting."""
        return False

    @property
    def reply(self) -> Reply:
        """What has come so far; an answer that did not end by itself counts as cancelled."""
        output, usage = self.decoder.output, self.decoder.usage
        n_prefilled = max(min(self.decoder.n_computed, usage.prompt) - usage.reused, 0)
        timings = self.meter.timings(n_prefilled, usage.accepted)
        tokens = tuple(self.decoder.tokens)
        return Reply(
            output.text, tokens, usage, timings, self.stop_reason or "cancelled", output.thinking, output.stop_string,
            tuple(output.tool_calls), tuple(self.decoder.logprobs), tuple(self.decoder.prompt_logprobs),
        )  # fmt: skip


class Host(ABC):
    """Makes the answers of many by a loop of its own, so that whoever wants one only waits for its events.

    What a chat asks of it beside that is what it asks of a session.
    """

    n_ctx: int
    options: SessionOptions
    times: StepTimes

    @abstractmethod
    def run(self, decoder: Decoder) -> Run:
        """Takes a decoder on."""

    @abstractmethod
    def company(self) -> int:
        """How many answers each step is for, at least 1."""

    @property
    @abstractmethod
    def n_past(self) -> int:
        """How many tokens the last answer had with its prompt."""

    @property
    @abstractmethod
    def checkpoints(self) -> CheckpointUse:
        """What is kept of recurrent states for the last answer's conversation."""

    @abstractmethod
    def fork(self) -> "Host":
        """What makes the answers of another conversation, which begins like this one."""

    @abstractmethod
    def close(self) -> None:
        """No answers are wanted of it any more."""


class Generation(Handle):
    """One answer while it is made: an iterator of events, `Done` last.

    `text`, `thinking`, `tokens` and `reply` hold what has come so far at any time, also after the iterator was left
    early, closed or interrupted by Ctrl-C. The session then holds the prompt and the tokens computed, and can be used
    further. A context manager, which closes it. sampler: one that goes on from an earlier answer; None: a new one.
    begun: what there is of the answer by now: part of `text`, `thinking` and `tokens`, but not of the events.
    owns_session: the session is closed with the answer's end, however it comes to it.
    session: one that this answer's iterator evaluates its tokens in; or a host, which makes the answer by itself.
    speculation: as for `Decoder`; it may be one that has served for earlier answers.
    """

    instead = "keep its `reply`, or make another one"

    def __init__(
        self,
        session: Session | Host,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        sampler: Sampler | None = None,
        *,
        begun: Begun = Begun(),  # noqa: B008 (immutable)
        speculation: Speculation | None = None,
        owns_session: bool = False,
    ) -> None:
        self._decoder = Decoder(tokenizer, prompt, session.n_ctx, options, sampler, begun, speculation)
        self._run: Run
        if isinstance(session, Host):
            self._run = session.run(self._decoder)
        else:
            self._run = _Loop(session, self._decoder, owns_session)
        self._events = self._run.events()
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
        return self._run.stop_reason

    def cancel(self) -> None:
        """Ask for an early end, from any thread: the answer ends with stop_reason "cancelled" and keeps its text."""
        self._decoder.cancel()
        self._run.interrupt()

    def close(self) -> None:
        """End the answer here, without further events. Raises SessionBusy while another thread makes it."""
        with self._lock:
            self._events.close()
            self._run.close()

    def run(self) -> Reply:
        """Take all remaining events; the whole reply. Meanwhile no other thread can take events or close it."""
        with self._lock, memory_errors("go on with this answer"):
            for _ in self._events:
                pass
        return self.reply

    def astream(self) -> AsyncGenerator[Event, None]:
        """The remaining events for an event loop, which waits for none of them; closing it closes the answer."""
        from subbyte.runtime.generation.asynchronous import stream_events  # asyncio takes its time to be imported

        return stream_events(lambda: self, begun=True)

    def listen(self, waiter: Waiter) -> bool:
        """Has `astream` woken from now on; False where its events must be made by taking them."""
        return self._run.listen(waiter)

    def is_ready(self) -> bool:
        """Whether `astream` may take the next event without waiting for it."""
        return self._run.is_ready()

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
        return self._run.reply


class _Loop(Run):
    """The loop of a generation over a session. Apart from it, since the generator of `events` refers to this object: a
    generation that held a generator that refers to it would keep its session until the garbage collector comes by."""

    def __init__(self, session: Session, decoder: Decoder, owns_session: bool) -> None:
        super().__init__(decoder, Meter())
        self._session, self._owns_session = session, owns_session

    def interrupt(self) -> None:
        """See `Run`."""
        self._session.cancel()

    def close(self) -> None:
        """See `Run`; closes a session of its own."""
        self.stop_reason = self.stop_reason or "cancelled"
        self._let_go()

    def events(self) -> Generator[Event, None, None]:
        """See `Run`."""
        try:
            yield from self._answer()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self.decoder.speculation = None  # a draft model's session goes with the last reference
        if self._owns_session:
            self._session.close()

    def _answer(self) -> Generator[Event, None, None]:
        decoder = self.decoder
        yield from decoder.begin(self._session.reuse(decoder.given[: decoder.n_reusable + 1]))
        while (wanted := decoder.wants()) is not None:
            prefilling, started = decoder.prefilling, perf_counter()
            try:
                logits = self._evaluate(wanted) if wanted.tokens else None
            except StepCancelled:
                if not decoder.has_ended():  # not of this answer's own
                    raise
                break
            events = decoder.evaluated(logits)
            if prefilling:
                self.meter.prefill_seconds += perf_counter() - started
                yield from events
                started = perf_counter()
            else:
                self.meter.n_evals += logits is not None
            events = self._draw()
            self.meter.seconds += perf_counter() - started
            yield from events
        yield from decoder.finish()
        self.stop_reason = decoder.ended
        yield Done(self.reply)

    def _evaluate(self, wanted: Wanted) -> NDArray[np.float32] | None:
        """Evaluates what is wanted; raises SessionBusy if the session does not hold the tokens that were put there."""
        if self._session.n_past != self.decoder.n_computed:
            raise SessionBusy("the session was used for something else while this answer was being made")
        if wanted.n_logits == 1:
            return self._session.eval(wanted.tokens, "last")[np.newaxis]
        if wanted.n_logits:
            return self._session.eval(wanted.tokens, "all")[-wanted.n_logits :]
        self._session.eval(wanted.tokens, "none")
        return None

    def _draw(self) -> list[Event]:
        """Draws the tokens that the logits at hand decide."""
        events: list[Event] = []
        try:
            while (draw := self.decoder.draw()) is not None:
                events += self.decoder.take(draw if isinstance(draw, int) else sample(draw))
        finally:
            if self._session.n_past > self.decoder.n_computed:
                self._session.rewind(self.decoder.n_computed)  # drafts that were not drawn
        return events


def complete(
    session: Session | Host,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
    *,
    special: bool = False,
    speculation: Speculation | None = None,
    owns_session: bool = False,
) -> Generation:
    """Continues a raw text, without a chat template; `.run()` gives the `Reply`.

    A text gets the model's BOS token if it wants one; ids are taken as they are. `special=True` reads control tokens
    out of the text. speculation, owns_session: as for `Generation`. Raises ContextOverflow or ValueError before
    anything is computed.
    """
    if isinstance(prompt, str):
        prompt = tokenizer.encode(prompt, special=special, add_bos=True)
    return Generation(session, tokenizer, prompt, options, speculation=speculation, owns_session=owns_session)

"""The decoder: a prompt and logits to the events of one answer, without a loop of its own."""

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow
from subbyte.runtime.generation.events import Event, StopReason, TokenLogprob, Usage
from subbyte.runtime.generation.logprobs import PromptLogprobs, token_logprob
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.generation.prefill import Prefill, Wanted
from subbyte.runtime.generation.processor_chain import processor_chain
from subbyte.runtime.generation.sampling import Draw, Sampler
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.speculation.speculation import Speculation

FEW = 16  # tokens, drafts among them, that an answer wants at once without being read piece by piece


_NOTHING = Wanted((), 0)


class Decoder:
    """A state machine that makes one answer. Whoever drives it evaluates what it wants; it never waits:

        events = decoder.begin(n_cached)
        while (wanted := decoder.wants()) is not None:
            events = decoder.evaluated(evaluate(wanted) if wanted.tokens else None)
            while (draw := decoder.draw()) is not None:
                events = decoder.take(draw if isinstance(draw, int) else sample(draw))
        events = decoder.finish()

    So one loop can drive one decoder or many, and draw the tokens of many at once. n_ctx: positions of the sequence.
    sampler: one that goes on from an earlier answer; None: a new one. begun: what there is of the answer by now; it
    counts as prompt, but it is part of text and tokens. Raises ContextOverflow or ValueError for a prompt that can't be
    continued.

    speculation: what may come next is computed with the last token (drafts), and the logits behind each draft serve if
    the token drawn is that draft; from the first that is not, they are dropped. A token is drawn as without drafts: by
    the same processors, sampler and random numbers, from the same logits, bit for bit. So the answer is the same,
    whatever was drafted. It is speculative sampling (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192; Chen et
    al. 2023, https://arxiv.org/abs/2302.01318) with drafts that are certain: accepted as often as the model says,
    p(draft), and otherwise replaced by what the model says if it is not that draft.

    tokens: the ids that have come. logprobs: of those that are new, if the options ask for them. n_computed: how many
    of prompt and answer the sequence must hold, which is less than was computed where drafts were dropped.
    ended: why the answer has ended, None while it has not.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        n_ctx: int,
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        sampler: Sampler | None = None,
        begun: Begun = Begun(),  # noqa: B008 (immutable)
        speculation: Speculation | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.given = [*self.prompt, *begun.tokens]  # all that is computed before the next token
        _check(self.given, n_ctx)
        tags = options.tags
        opened = options.opened
        if tags and opened is None:
            opened = tags.opened(self.prompt, tokenizer)
        self.output = OutputProcessor(tokenizer, options.stop, tags, opened, options.lead, options.tools)
        self.ended: StopReason | None = None
        self.n_computed = 0
        self._eog, self._sampler = tokenizer.eog, sampler or Sampler(options.sampling)
        self._processors = processor_chain(tokenizer, self._sampler.sampling, options, self.output, self.prompt)
        self._context = self.given.copy()
        self._rows: deque[NDArray[np.float32]] = deque()  # logits: the next token's, then those behind drafts
        self._drafts: list[int] | None = None  # wanted with the last token; None: not asked for yet
        self._unverified: deque[int] = deque()  # drafts that are computed, but have not been drawn
        self.speculation = speculation
        self.n_drafted = self.n_accepted = 0
        # The last token is chosen, but not computed: one more than the context has room for.
        room = n_ctx - len(self.given) + 1
        self._limit = room if options.max_tokens is None else min(room, options.max_tokens)
        self._cancelled = False
        self._deadline = None if options.timeout is None else monotonic() + options.timeout
        self.logprobs: list[TokenLogprob] = []
        self._n_top = options.logprobs
        self._model_logits: NDArray[np.float32] | None = None  # of the token being drawn, as no processor changed them
        self._tokenizer = tokenizer
        k, first = options.prompt_logprobs, options.prompt_logprobs_from
        scores = PromptLogprobs(self.given, k, first, self._piece)
        self._prefill = Prefill(self.given, scores, only_scores=k is not None and options.max_tokens == 0)
        self._begin_answer(begun)
        if speculation is not None:
            speculation.begin(self.given)

    @property
    def tokens(self) -> list[int]:
        """The ids of all tokens that have come."""
        return self.output.tokens

    @property
    def context(self) -> Sequence[int]:
        """All tokens so far: `given`, and what has come of the answer."""
        return self._context

    @property
    def prefilling(self) -> bool:
        """Whether some of the prompt is still to be computed."""
        return not self._prefill.is_over

    @property
    def prompt_logprobs(self) -> Sequence[TokenLogprob]:
        """Those of the prompt's tokens that are known by now."""
        return self._prefill.scores.found

    @property
    def n_reusable(self) -> int:
        """How many of the first tokens so far may be taken as computed: those of which no logits are needed."""
        scores, n = self._prefill.scores, len(self._context) - 1
        return min(n, scores.first_row) if scores.n_left else n

    @property
    def n_left(self) -> int:
        """How many tokens may still come."""
        return self._limit - self._n_new

    @property
    def usage(self) -> Usage:
        """Tokens of the prompt and of what has come so far."""
        n_thinking = max(self.output.n_thinking - self._n_begun, 0)
        return Usage(len(self.given), self._prefill.n_cached, self._n_new, n_thinking, self.n_drafted, self.n_accepted)

    def begin(self, n_cached: int) -> Sequence[Event]:
        """Takes the first n_cached tokens of `given`, at most `n_reusable`, as computed by now."""
        self.n_computed = n_cached
        return self._prefill.begin(n_cached)

    def resume(self, n_held: int) -> Sequence[Event]:
        """Begins, or goes on, over a sequence that holds the first n_held of the tokens so far, not all of them."""
        self._drafts = None
        if self.prefilling or not self._n_new:
            return self.begin(n_held)
        self.n_computed = n_held
        return ()

    def cancel(self) -> None:
        """Asks for an early end, from any thread."""
        self._cancelled = True

    def has_ended(self) -> bool:
        """Whether there is no next token; says why in `ended`."""
        if self.ended is None and self._cancelled:
            self.ended = "cancelled"
        if self.ended is None and self._deadline is not None and monotonic() >= self._deadline:
            self.ended = "timeout"
        if self.ended is None and not self.prefilling and self._n_needed() > self.n_left:
            self.ended = "length"
        return self.ended is not None

    def wants(self) -> Wanted | None:
        """What to evaluate next; None when the answer has ended."""
        if self.has_ended():
            return None
        if self.prefilling:
            return self._prefill.wanted(self.n_computed)
        if self._rows or self._forced():
            return _NOTHING
        last = self._context[self.n_computed :]
        if self._drafts is None:
            self._drafts = self._draft(min(self.n_left - 1, FEW - len(last)))
        return Wanted([*last, *self._drafts], 1 + len(self._drafts))

    def evaluated(self, logits: NDArray[np.float32] | None) -> Sequence[Event]:
        """Takes what was wanted as computed; what there is to show of it. Then come `draw` and `take`.

        logits: those that were wanted, [n_logits, n_vocab], which may be changed; None if none were.
        """
        if self.prefilling:
            self.n_computed, progress = self._prefill.chunk_computed()
            return (progress, *(self.evaluated_part(logits) if logits is not None else ()))
        if logits is not None:
            self._rows.extend(logits)
            self.n_computed = len(self._context)
            self._unverified.extend(self._drafts or ())
            self.n_drafted += len(self._unverified)
            self._drafts = None
        elif not (self._rows or self._forced()):
            raise ValueError("the decoder wants logits for its next token")
        return ()

    def evaluated_part(self, logits: NDArray[np.float32]) -> Sequence[Event]:
        """Takes the next of those logits that were wanted of a prompt's chunk, before all of it is computed."""
        scores = self._prefill.scores
        n_told = scores.n_left
        self._rows.extend(row.copy() for row in logits[n_told:])  # the answer's first, without those before it
        return scores.add(logits[:n_told])

    def draw(self) -> Draw | int | None:
        """How the next token is to be drawn, or its id if it is forced; None if logits are to be computed first."""
        if self.has_ended() or self.prefilling:
            return None
        if forced := self._forced():
            return forced[0]
        if not self._rows:
            return None
        if self._n_top is not None:
            self._model_logits = self._rows[0].copy()
        for processor in self._processors:
            processor.apply(self._rows[0], self._context)
        return self._sampler.draw(self._rows[0])

    def take(self, token: int) -> Sequence[Event]:
        """Takes the token that was drawn; what there is to show of it."""
        self._verify(token)
        if token in self._eog:
            self.ended = "eog"
            return self._logprob_of(token)
        self._context.append(token)
        for processor in self._processors:
            processor.accept(token)
        events: list[Event] = self._logprob_of(token)
        events += self.output.add(token)
        if self.output.stopped:
            self.ended = "stop"
        return events

    def finish(self) -> Sequence[Event]:
        """What was held back, once the answer has ended."""
        events = self.output.finish(cut=self.ended != "eog")
        if self.output.stopped:
            self.ended = "stop"
        return events

    def _draft(self, room: int) -> list[int]:
        """Tokens that may come next, at most `room`, none of which ends the answer."""
        if self.speculation is None or room < 1:
            return []
        return list(takewhile(lambda token: token not in self._eog, self.speculation.drafts(self._context, room)))

    def _verify(self, token: int) -> None:
        """Goes on to the logits behind the token, if it was drafted; else drops all that was computed of drafts."""
        drafted = bool(self._unverified) and self._unverified.popleft() == token
        if drafted:
            self._rows.popleft()
            self.n_computed += 1
            self.n_accepted += 1
        else:
            self._rows.clear()
            self._unverified.clear()
        if self.speculation is not None:
            self.speculation.came(token, drafted=drafted)

    @property
    def _n_begun(self) -> int:
        return len(self.given) - len(self.prompt)

    @property
    def _n_new(self) -> int:
        return len(self.tokens) - self._n_begun

    def _begin_answer(self, begun: Begun) -> None:
        self.output.begin(begun)
        for token in begun.tokens:
            for processor in self._processors:
                processor.accept(token)

    def _logprob_of(self, token: int) -> list[Event]:
        """That of the token just drawn, if the options ask for it."""
        logits, self._model_logits = self._model_logits, None
        if self._n_top is None:
            return []
        self.logprobs.append(token_logprob(logits, token, self._n_top, self._piece))
        return [self.logprobs[-1]]

    def _piece(self, token: int) -> bytes:
        return self._tokenizer.piece(token, special=True)

    def _n_needed(self) -> int:
        return max((processor.n_needed() for processor in self._processors), default=1)

    def _forced(self) -> Sequence[int]:
        """Tokens that come next without logits."""
        for processor in self._processors:
            if forced := processor.forced():
                return forced if all(other.allows(forced) for other in self._processors) else ()
        return ()


def _check(prompt: Sequence[int], n_ctx: int) -> None:
    if not prompt:
        raise ValueError("the prompt is empty, and this model has no token that begins a text: give at least one token")
    if len(prompt) > n_ctx:
        raise ContextOverflow(
            f"the prompt has {len(prompt)} tokens, but the context holds {n_ctx}: "
            "use a larger context, or shorten the text or the conversation"
        )

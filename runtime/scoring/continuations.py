"""Log-probabilities of many continuations of one text, which is read once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow, ResourceError
from subbyte.runtime import arguments
from subbyte.runtime.machine import available_memory
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.scoring.score import Score
from subbyte.runtime.session.packing import packed
from subbyte.runtime.session.prefixes import longest
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence as TokenSequence
from subbyte.runtime.types import Tokens

MAX_COPIES = 16  # of the prefix; more sequences in a step gain less than their copies cost


@dataclass(frozen=True)
class Continuations:
    """Candidates that follow a prefix, as token ids; there is at least one of the prefix and one of each candidate."""

    prefix: list[int]
    candidates: list[list[int]]

    @property
    def n_ctx(self) -> int:
        """Positions that prefix and longest candidate take; the last token of a candidate is not computed.

        Where long contexts have a rope of their own (Phi-3), all candidates have that of this one.
        """
        return len(self.prefix) + max(map(len, self.candidates), default=1) - 1

    def check(self, n_ctx_train: int) -> None:
        """Raises ContextOverflow where prefix and a candidate are longer than the model was trained for."""
        for i, candidate in enumerate(self.candidates):
            if len(self.prefix) + len(candidate) - 1 > n_ctx_train:
                raise ContextOverflow(
                    f"the prefix has {len(self.prefix)} tokens and candidates[{i}] {len(candidate)}, the model was "
                    f"trained for {n_ctx_train}: shorten them"
                )

    def score(self, runner: Runner, tokenizer: Tokenizer, pinned: Iterable[TokenSequence] = ()) -> tuple[Score, ...]:
        """The log-probabilities of the candidates' tokens, each as if it were the only one, to the bit.

        The prefix is read once, and gives the first token of each candidate. What comes behind that is computed for
        many candidates in a step, on copies of what is remembered of the prefix. pinned: what may be read of it by now.
        """
        if not self.candidates:
            return ()
        prefix, n_last = self._read_prefix(runner, pinned)
        first = self._first_tokens(runner, n_last)
        ends = np.cumsum([len(candidate) - 1 for candidate in self.candidates])[:-1]
        logprobs, greedy = (np.split(values, ends) for values in self._further_tokens(prefix, runner))
        return tuple(
            Score(
                tuple(candidate),
                tuple(tokenizer.piece(token) for token in candidate),
                np.array([first[candidate[0]][0], *logprobs[i]], np.float32),
                np.array([first[candidate[0]][1], *greedy[i]], np.bool_),
            )
            for i, candidate in enumerate(self.candidates)
        )

    def _read_prefix(self, runner: Runner, pinned: Iterable[TokenSequence]) -> tuple[TokenSequence, int]:
        """A sequence that holds the prefix, and how many tokens of it the last step had."""
        prefix, n_last = runner.new_sequence("f16", n_ctx=self.n_ctx), 0
        begun, n = longest(pinned, self.prefix[:-1], self.n_ctx)
        if begun is not None:
            prefix.take_over(begun, n)
        for step in packed([Segment(prefix, _ids(self.prefix[n:]))], runner.n_batch, 1):
            runner.step(step)
            n_last = len(step[0].tokens)
        return prefix, n_last

    def _first_tokens(self, runner: Runner, n_last: int) -> dict[int, tuple[float, bool]]:
        """Of what may come first, by token, its log-probability and whether it is the most probable.

        They follow the last of n_last tokens of the latest step.
        """
        tokens = sorted({candidate[0] for candidate in self.candidates})
        found: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(tokens), runner.n_batch):
            some = tokens[start : start + runner.n_batch]
            with runner.unchanged():
                logprobs = runner.engine.head([n_last - 1] * len(some), some)
            found |= zip(some, zip(logprobs.tolist(), runner.engine.greedy.tolist(), strict=True), strict=True)
        return found

    def _further_tokens(self, prefix: TokenSequence, runner: Runner) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Of all but the first token of each candidate, one candidate after the other: log-probabilities, greedy."""
        targets = _ids([token for candidate in self.candidates for token in candidate[1:]])
        logprobs, greedy = np.empty(len(targets), np.float32), np.empty(len(targets), np.bool_)
        if not len(targets):
            return logprobs, greedy
        n, n_copies = 0, self._n_copies(runner)
        for step in packed(self._segments(prefix, n_copies), runner.n_batch, n_copies):
            rows = slice(n, n + sum(len(segment.rows) for segment in step))
            logprobs[rows] = runner.step(step, targets[rows])
            greedy[rows] = runner.engine.greedy
            n = rows.stop
        return logprobs, greedy

    def _n_copies(self, runner: Runner) -> int:
        one, free = max(runner.plan.cache_bytes(self.n_ctx, "f16"), 1), available_memory()
        if one > free:
            found = f"a copy of what is remembered of the prefix takes {one >> 20} MiB, {free >> 20} MiB are free"
            raise ResourceError(f"{found}; shorten it")
        return max(1, min(MAX_COPIES, free // 4 // one))

    def _segments(self, prefix: TokenSequence, n_copies: int) -> Iterator[Segment]:
        """All but the last token of each candidate of several, behind the prefix, on one of n_copies copies in turn."""
        copies: list[TokenSequence] = []
        for i, candidate in enumerate(each for each in self.candidates if len(each) > 1):
            if i < n_copies:
                copies.append(prefix.fork())
            copy = copies[i % n_copies]
            if prefix.plan.state_bytes:  # no token can be taken out of a recurrent state
                copy.take_over(prefix, prefix.n_past)
            copy.truncate(prefix.n_past)
            yield Segment(copy, _ids(candidate[:-1]), range(len(candidate) - 1))


def score_text(text: str | bytes, tokenizer: Tokenizer, n_ctx_train: int, new_runner: Callable[[int], Runner]) -> Score:
    """Log-probability of each token of a text, after BOS where the model wants one: of what follows its first token.

    new_runner: makes one for so many positions. Raises ContextOverflow for more than n_ctx_train tokens, and ValueError
    for none.
    """
    tokens = tokenizer.encode(text)
    if not tokens:
        raise ValueError("the text has no tokens to score")
    context, n = tokenizer.with_bos(tokens), len(tokens)
    if len(context) > n_ctx_train:
        raise ContextOverflow(
            f"the text has {len(context)} tokens, the model was trained for {n_ctx_train}: "
            "score it in parts, or measure its perplexity"
        )
    logprobs, greedy = np.full(len(context), np.nan, np.float32), np.zeros(len(context), np.bool_)
    if len(context) > 1:
        behind = Continuations(context[:1], [context[1:]])
        (scored,) = behind.score(new_runner(behind.n_ctx), tokenizer)
        logprobs[1:], greedy[1:] = scored.logprobs, scored.greedy
    return Score(tuple(tokens), tuple(tokenizer.piece(t) for t in tokens), logprobs[-n:], greedy[-n:])


def continuations(
    prefix: str | bytes | Tokens, candidates: Iterable[str | bytes | Tokens], tokenizer: Tokenizer, name: str = "prefix"
) -> Continuations:
    """The tokens of a prefix, after BOS where the model wants one, and of what may follow it; ids are taken as given.

    A candidate is tokenized for itself, as a text that goes on: no token goes across the border, and no space is put in
    front. Raises ValueError where there are no tokens. name: of the prefix, for messages.
    """
    before = _tokens(name, prefix, tokenizer, None)
    if not before:
        raise ValueError("the prefix is empty, and this model has no token that begins a text: give at least one token")
    taken = "a list of texts (str, or bytes of UTF-8) or of lists of token ids"
    following = []
    for i, candidate in enumerate(arguments.items("candidates", candidates, taken)):
        following.append(_tokens(f"candidates[{i}]", candidate, tokenizer, before[-1]))
        if not following[-1]:
            raise ValueError(f"candidates[{i}] has no tokens to score")
    return Continuations(before, following)


def _tokens(name: str, text: object, tokenizer: Tokenizer, after: int | None) -> list[int]:
    """The tokens of a text, behind the token that it follows if there is one, or the ids that were given."""
    if isinstance(text, str | bytes):
        return tokenizer.encode(text, add_bos=after is None, after=after)
    found = arguments.items(name, text, "a text (str, or bytes of UTF-8) or a list of token ids")
    return list(arguments.token_ids(name, found, tokenizer.n_vocab).tolist())


def _ids(tokens: Sequence[int]) -> NDArray[np.int32]:
    return np.array(tokens, np.int32)

"""Log-probabilities of many continuations of one text, which is read once."""

from collections.abc import Iterable, Iterator, Sequence
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
            if len(self.prefix) + len(candidate) > n_ctx_train:
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
        lengths = [len(candidate) - 1 for candidate in self.candidates]
        rest = np.split(self._further_tokens(prefix, runner), np.cumsum(lengths)[:-1])
        return tuple(
            Score(
                tuple(candidate),
                tuple(tokenizer.piece(token) for token in candidate),
                np.array([first[candidate[0]], *logprobs], np.float32),
            )
            for candidate, logprobs in zip(self.candidates, rest, strict=True)
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

    def _first_tokens(self, runner: Runner, n_last: int) -> dict[int, float]:
        """Log-probabilities of what may come first, by token: of the last of n_last tokens of the latest step."""
        tokens = sorted({candidate[0] for candidate in self.candidates})
        found: dict[int, float] = {}
        for start in range(0, len(tokens), runner.n_batch):
            some = tokens[start : start + runner.n_batch]
            with runner.unchanged():
                found |= zip(some, runner.engine.head([n_last - 1] * len(some), some).tolist(), strict=True)
        return found

    def _further_tokens(self, prefix: TokenSequence, runner: Runner) -> NDArray[np.float32]:
        """Log-probabilities of all but the first token of each candidate, one candidate after the other."""
        targets = _ids([token for candidate in self.candidates for token in candidate[1:]])
        logprobs = np.empty(len(targets), np.float32)
        if not len(targets):
            return logprobs
        n, n_copies = 0, self._n_copies(runner)
        for step in packed(self._segments(prefix, n_copies), runner.n_batch, n_copies):
            n_rows = sum(len(segment.rows) for segment in step)
            logprobs[n : n + n_rows] = runner.step(step, targets[n : n + n_rows])
            n += n_rows
        return logprobs

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

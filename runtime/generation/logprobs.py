"""Log-probabilities of the tokens that come, of those that might have, and of a prompt's own."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import top_logprobs
from subbyte.runtime.generation.events import TokenLogprob, TopLogprob

Logits = NDArray[np.float32]


def token_logprob(logits: Logits | None, token: int, k: int, piece: Callable[[int], bytes]) -> TokenLogprob:
    """A token that was drawn, with the k most probable ones, at most as many as there are.

    logits: the model's own, [n_vocab]; None: the token was forced. piece: the bytes of a token, or its name.
    """
    if logits is None:
        return TokenLogprob(token, piece(token), None, ())
    ids, logprobs = top_logprobs(logits, token, min(k, logits.size))
    (_, own, logprob), *top = zip(ids.tolist(), map(piece, ids.tolist()), logprobs.tolist(), strict=True)
    return TokenLogprob(token, own, logprob, tuple(TopLogprob(*each) for each in top))


class PromptLogprobs:
    """Log-probabilities of a prompt's tokens, told one after the other as the logits before each are computed.

    k: how many of the most probable tokens are told with each; None: none of the prompt's tokens is told. first: index
    of the first that is. found: those told so far. Raises ValueError for a `first` that lies behind the prompt.
    """

    def __init__(self, tokens: Sequence[int], k: int | None, first: int, piece: Callable[[int], bytes]) -> None:
        if first > len(tokens):
            found = f"prompt_logprobs_from = {first} for a prompt of {len(tokens)} tokens"
            raise ValueError(f"{found}; give the index of its first token that is to be told")
        self.found: list[TokenLogprob] = []
        self._tokens, self._k, self._piece = tokens, k or 0, piece
        self._next = len(tokens) if k is None else first

    @property
    def n_left(self) -> int:
        """How many tokens are still to be told."""
        return len(self._tokens) - self._next

    @property
    def first_row(self) -> int:
        """The first position whose logits are needed: for the next token to tell or, once all are, for the answer's."""
        return max(self._next - 1, 0)

    def begin(self) -> Sequence[TokenLogprob]:
        """The prompt's first token, which nothing comes before, if it is to be told and has not been."""
        return () if self._next else (self._tell(None),)

    def add(self, logits: Iterable[Logits]) -> list[TokenLogprob]:
        """The tokens behind the next positions, whose logits these are, one row each."""
        return [self._tell(row) for row in logits]

    def _tell(self, logits: Logits | None) -> TokenLogprob:
        self.found.append(token_logprob(logits, self._tokens[self._next], self._k, self._piece))
        self._next += 1
        return self.found[-1]

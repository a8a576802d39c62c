"""A draft model: a small model of the same vocabulary that writes ahead."""

import math
from collections.abc import Iterator, Sequence
from time import perf_counter

from subbyte.kernels import top_logprobs
from subbyte.runtime.protocols import Session
from subbyte.runtime.speculation.drafter import N_KINDS, Guess

_CATCHING_UP = 16  # tokens that are no part of what a guess takes, but of reading a prompt


class DraftModel:
    """A drafter whose guesses are the most probable tokens of a model with a session of its own.

    The kind of guess is how probable the model finds it. session: of its own n_ctx; what does not fit into that gets no
    guesses. n_vocab: ids from there on are never guessed, since the other model lacks them.
    """

    chances = tuple((kind + 0.5) / N_KINDS for kind in range(N_KINDS))

    def __init__(self, session: Session, n_vocab: int) -> None:
        self._session, self._n_vocab = session, n_vocab
        self.seconds = self.seconds_per_guess = 0.0

    def fork(self) -> "DraftModel":
        """See `Drafter`."""
        return DraftModel(self._session.fork(), self._n_vocab)

    def begin(self, context: Sequence[int]) -> None:
        """See `Drafter`; the session keeps what it can."""

    def guesses(self, context: Sequence[int]) -> Iterator[Guess]:
        """See `Drafter`."""
        if len(context) > self._session.n_ctx:
            return
        tokens = context[self._session.reuse(context) :]
        while True:
            guess = self._guess(tokens)
            if guess.token >= self._n_vocab:
                return
            yield guess
            if self._session.n_past == self._session.n_ctx:
                return
            tokens = [guess.token]

    def _guess(self, tokens: Sequence[int]) -> Guess:
        """The guess behind some more tokens."""
        started = perf_counter()
        logits = self._session.eval(tokens)
        token = int(logits.argmax())
        _, logprobs = top_logprobs(logits, token, 0)
        if len(tokens) < _CATCHING_UP:
            taken = perf_counter() - started
            self.seconds += taken
            before = self.seconds_per_guess or taken
            self.seconds_per_guess = min(taken, 0.75 * before + 0.25 * taken)
        return Guess(token, min(int(math.exp(logprobs[0]) * N_KINDS), N_KINDS - 1))

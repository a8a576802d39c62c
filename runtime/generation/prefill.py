"""Prefill: how a prompt is read, in which chunks, and which logits of it are needed."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from subbyte.runtime.generation.events import Event, PrefillProgress
from subbyte.runtime.generation.logprobs import PromptLogprobs

PREFILL_CHUNK = 256  # prompt tokens between two progress events; a cancelled prompt ends after so many at most
SCORED_CHUNK = 64  # prompt tokens whose logits are there at a time, where their log-probabilities are asked for


class Wanted(NamedTuple):
    """Tokens to append to the sequence, and of how many of the last of them logits are needed.

    No tokens: the next step of the decoder needs no evaluation.
    """

    tokens: Sequence[int]
    n_logits: int


class Prefill:
    """A prompt while it is read, chunk by chunk.

    scores: its log-probabilities, if there are some to tell. Where they are all that is wanted (`only_scores`), no more
    is read than they need. n_cached: how many of the first tokens needed no computing.
    """

    def __init__(self, tokens: Sequence[int], scores: PromptLogprobs, *, only_scores: bool) -> None:
        self._tokens, self._only_scores, self.scores = tokens, only_scores, scores
        self.n_cached, self._end = 0, len(tokens)
        self._chunk_ends = deque([self._end])  # of the chunks still to compute; `begin` says which

    @property
    def is_over(self) -> bool:
        """Whether all is computed that was to be."""
        return not self._chunk_ends

    def begin(self, n_cached: int) -> Sequence[Event]:
        """Takes the first n_cached tokens as computed; what there is to show of the prompt by now."""
        first = self.scores.begin()
        end = scored = len(self._tokens)
        if self._only_scores:
            end = scored = end - 1 if self.scores.n_left else n_cached
        if self.scores.n_left:
            scored = self.scores.first_row
        self.n_cached, self._end = n_cached, end
        self._chunk_ends = deque(_chunk_ends(n_cached, scored, PREFILL_CHUNK))
        self._chunk_ends += _chunk_ends(scored, end, SCORED_CHUNK)
        return (PrefillProgress(0, end - n_cached, n_cached), *first)

    def wanted(self, n_computed: int) -> Wanted:
        """What is left of the next chunk, when n_computed tokens of the prompt are computed."""
        end = self._chunk_ends[0]
        return Wanted(self._tokens[n_computed:end], max(end - self.scores.first_row, 0))

    def chunk_computed(self) -> tuple[int, PrefillProgress]:
        """Takes the next chunk as computed; how many tokens of the prompt are, and the event that says so."""
        n = self._chunk_ends.popleft()
        return n, PrefillProgress(n - self.n_cached, self._end - self.n_cached, self.n_cached)


def _chunk_ends(start: int, end: int, size: int) -> list[int]:
    """Where the chunks end in which the tokens from start to end of a prompt are computed, each of at most that size.

    The chunks are of equal size: a last one of a few tokens would be slow.
    """
    total = end - start
    n_chunks = -(-total // size)
    return [start + total * i // n_chunks for i in range(1, n_chunks + 1)]

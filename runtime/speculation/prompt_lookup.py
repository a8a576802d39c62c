"""Prompt lookup: what came behind the last few tokens when they came before.

Apoorv Saxena, Prompt Lookup Decoding (2023): https://github.com/apoorvumang/prompt-lookup-decoding.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import count

from subbyte.runtime.speculation.drafter import N_KINDS, Guess

_SHORTEST = 2  # tokens that must be the same as before
_LONGEST = _SHORTEST + N_KINDS - 1  # more are not told apart
_HEADS = 1 << 14  # of chains
_DEPTH = 16  # places of a chain that are compared


class PromptLookup:
    """A drafter that needs no model: answers repeat parts of what they answer to, and of themselves.

    The index is that of LZ77 compressors: a hash of two tokens leads to the last place behind two such tokens, and each
    place to the one before it. So a guess costs the same however long the conversation is, and a token 12 bytes. Of the
    places compared, that one counts before which most tokens are the same; the kind of guess is their number.
    """

    chances = tuple(1.0 - 0.6 / (1 + kind) for kind in range(N_KINDS))
    seconds = seconds_per_guess = 0.0

    def __init__(self) -> None:
        self._forget()

    def fork(self) -> "PromptLookup":
        """See `Drafter`; the index is made again, which costs less than a token."""
        return PromptLookup()

    def begin(self, context: Sequence[int]) -> None:
        """See `Drafter`; what the context begins with need not be indexed again."""
        if context[: len(self._tokens)] != self._tokens:
            self._forget()

    def guesses(self, context: Sequence[int]) -> Iterator[Guess]:
        """See `Drafter`. Text that repeats itself up to its end is taken to go on so."""
        self._index(context)
        place, length = self._most_alike()
        if length < _SHORTEST:
            return
        period = len(self._tokens) - place
        for i in count():
            yield Guess(self._tokens[place + i % period], min(length + i, _LONGEST) - _SHORTEST)

    def _forget(self) -> None:
        self._tokens: list[int] = []
        self._last = array("i", [0]) * _HEADS  # by hash: the last place, 0 for none
        self._before = array("i")  # by place: the one before it

    def _index(self, context: Sequence[int]) -> None:
        """Takes in the tokens that have come. A place is indexed once there is a token at it."""
        tokens = self._tokens
        tokens += context[len(tokens) :]
        for place in range(len(self._before), len(tokens)):
            before = 0
            if place >= _SHORTEST:
                chain = _chain(tokens[place - 2], tokens[place - 1])
                before, self._last[chain] = self._last[chain], place
            self._before.append(before)

    def _most_alike(self) -> tuple[int, int]:
        """The place before which most of the last tokens are the same, the later of two, and how many these are."""
        best, most = 0, 0
        if len(self._tokens) > _SHORTEST:
            place = self._last[_chain(*self._tokens[-2:])]
            for _ in range(_DEPTH):
                if not place or most == _LONGEST:
                    break
                if (length := self._alike(place)) > most:
                    best, most = place, length
                place = self._before[place]
        return best, most

    def _alike(self, place: int) -> int:
        """How many tokens before the place are the same as those at the end."""
        tokens, end = self._tokens, len(self._tokens)
        n = 0
        while n < min(place, _LONGEST) and tokens[place - 1 - n] == tokens[end - 1 - n]:
            n += 1
        return n


def _chain(a: int, b: int) -> int:
    return (a * 0x9E3779B1 + b * 0x85EBCA6B >> 15) % _HEADS

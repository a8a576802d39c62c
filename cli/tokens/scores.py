"""The tokens of an answer with their probabilities: kept over cuts and forks, and found by number or by text."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Reply, TokenLogprob

N_TOP = 10  # most probable tokens that are kept with each


class Piece(NamedTuple):
    """Some tokens that spell whole characters. first: the number of the first one, from 1. probability: of the least
    probable of them; None where one is unknown, or was no choice of the model's."""

    text: str
    first: int
    probability: float | None


def whole_answer(
    before: "Sequence[TokenLogprob]", reply: "Reply", piece: Callable[[int], bytes]
) -> "list[TokenLogprob]":
    """Each token of an answer, also those that it was begun with, as far as they are known from the answer before.

    before: that answer's. piece: the bytes of a token, or its name.
    """
    from subbyte.runtime.generation.events import TokenLogprob

    begun: list[TokenLogprob] = []
    known = True
    for i, token in enumerate(reply.tokens[: max(len(reply.tokens) - reply.usage.completion, 0)]):
        old = before[i] if known and i < len(before) else None
        known = old is not None and old.id == token
        logprobs = {top.id: top.logprob for top in old.top} if old is not None else {}
        if old is not None and not known:
            old = TokenLogprob(token, piece(token), logprobs.get(token), old.top)
        begun.append(old or TokenLogprob(token, piece(token), None, ()))
    return [*begun, *reply.logprobs]


def pieces(scores: "Sequence[TokenLogprob]") -> list[Piece]:
    """The tokens as text; those are taken together that have parts of one character."""
    found: list[Piece] = []
    held, first, least = b"", 1, 1.0
    unknown = False
    for number, score in enumerate(scores, 1):
        held += score.piece
        unknown = unknown or score.logprob is None
        least = min(least, 1.0 if score.logprob is None else math.exp(score.logprob))
        if _is_whole(held) or number == len(scores) or number - first >= 3:
            found.append(Piece(held.decode(errors="replace"), first, None if unknown else least))
            held, first, least, unknown = b"", number + 1, 1.0, False
    return found


def find_token(scores: "Sequence[TokenLogprob]", wanted: str) -> list[int]:
    """Numbers of the tokens that are meant: by a number, or by a text, where it begins. ValueError: there is none."""
    if wanted.isascii() and wanted.isdigit():
        if not 1 <= int(wanted) <= len(scores):
            raise ValueError(f"there is no token {wanted}: the last answer has {len(scores)}")
        return [int(wanted)]
    parts = pieces(scores)
    text = "".join(part.text for part in parts)
    places, at = [], text.find(wanted)
    while at >= 0:
        places.append(at)
        at = text.find(wanted, at + 1)
    if not places:
        raise ValueError(f"{wanted!r} is not in the last answer; /probs shows it")
    ends = list(accumulate(len(part.text) for part in parts))
    return [parts[bisect_right(ends, at)].first for at in places]


def _is_whole(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"  # bytes that never become a character stand for themselves
    return True

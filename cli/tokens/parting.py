"""Two answers to one prompt: the first token where they part, and how probable both models found either one."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from subbyte.cli.tokens.surprise import percent
from subbyte.runtime.text import quoted

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import TokenLogprob


class Parting(NamedTuple):
    """Where two answers part. n: how many tokens are alike before it; a, b: the first that are not, None at an end."""

    n: int
    a: "TokenLogprob | None"
    b: "TokenLogprob | None"


def find_parting(a: "Sequence[TokenLogprob]", b: "Sequence[TokenLogprob]") -> Parting | None:
    """The first token, by its text, in which the answers differ; None where they are alike."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x.piece != y.piece), min(len(a), len(b)))
    if n == len(a) == len(b):
        return None
    return Parting(n, a[n] if n < len(a) else None, b[n] if n < len(b) else None)


def describe_parting(parting: Parting, names: tuple[str, str]) -> list[str]:
    """A line that says where they part, and one for each model: its token, and what both gave it."""
    lines = [f"alike for {parting.n} token{'s' if parting.n != 1 else ''}, then they part:"]
    for name, other, own, theirs in (
        (names[0], names[1], parting.a, parting.b),
        (names[1], names[0], parting.b, parting.a),
    ):
        if own is None:
            lines.append(f"{name}: stopped there")
        else:
            said = f"{name}: {quoted(own.piece.decode(errors='backslashreplace'))} {_chance(own, own.piece)}"
            lines.append(said + (f", to which {other} gave {_chance(theirs, own.piece)}" if theirs else ""))
    return lines


def describe_likeness(a: "Sequence[TokenLogprob]", b: "Sequence[TokenLogprob]") -> str:
    """What differs between two answers of the same tokens: the probability that lies farthest apart."""
    pairs = [
        (n, x, math.exp(x.logprob), math.exp(y.logprob))
        for n, (x, y) in enumerate(zip(a, b, strict=True), 1)
        if x.logprob is not None and y.logprob is not None
    ]
    alike = f"alike in all {len(a)} tokens"
    if not pairs:
        return alike
    n, token, first, second = max(pairs, key=lambda pair: abs(pair[2] - pair[3]))
    name = quoted(token.piece.decode(errors="backslashreplace"))
    return f"{alike}; farthest apart at token {n}, {name}: {percent(first)} and {percent(second)}"


def _chance(score: "TokenLogprob | None", piece: bytes) -> str:
    """How probable a model found a text in a token's place; of one that is not among the first, less than these."""
    if score is None or (score.logprob is None and not score.top):
        return "?"
    if score.piece == piece and score.logprob is not None:
        return percent(math.exp(score.logprob))
    found = [top.logprob for top in score.top if top.piece == piece]
    if found:
        return percent(math.exp(found[0]))
    return f"less than {percent(math.exp(min(top.logprob for top in score.top)))}" if score.top else "?"

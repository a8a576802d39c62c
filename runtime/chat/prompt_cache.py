"""Reuse of the KV cache when the re-tokenized history differs from the cached tokens."""

from collections.abc import Callable, Sequence


def keep_cached_tokens(cached: Sequence[int], prompt: Sequence[int], piece: Callable[[int], bytes]) -> list[int]:
    """`prompt`, with the tokens of `cached` as long as both spell the same bytes.

    A model may write a text in other tokens than the tokenizer would choose for it. When its answer comes back as part
    of the history, the tokens it really wrote are in the cache; taking them saves computing the text again.
    `piece` gives a token's bytes, empty for control tokens: those must be equal as ids.
    """
    i = 0
    limit = min(len(cached), len(prompt))
    while i < limit and cached[i] == prompt[i]:
        i += 1
    j, out = i, list(prompt[:i])
    while i < len(cached) and j < len(prompt):
        ends = (i + 1, j + 1) if cached[i] == prompt[j] else _same_bytes(cached, i, prompt, j, piece)
        if ends is None:
            break
        out += cached[i : ends[0]]
        i, j = ends
    return out + list(prompt[j:])


def _same_bytes(
    cached: Sequence[int], i: int, prompt: Sequence[int], j: int, piece: Callable[[int], bytes]
) -> tuple[int, int] | None:
    """The first places after i and j where both have spelt the same bytes; None if they never do."""
    left = right = b""
    while True:
        if not left:
            left, i = (piece(cached[i]) if i < len(cached) else b""), i + 1
        if not right:
            right, j = (piece(prompt[j]) if j < len(prompt) else b""), j + 1
        n = min(len(left), len(right))
        if n == 0 or left[:n] != right[:n]:
            return None
        left, right = left[n:], right[n:]
        if not left and not right:
            return i, j

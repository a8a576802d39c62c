"""Prompts that begin alike: in which order to read them, so that what many share is read once."""

from collections.abc import Iterable, Iterator

Tokens = tuple[int, ...]

MIN_SHARED = 64  # tokens that are worth being kept for the next prompt


def shared_prefixes(prompts: Iterable[Tokens]) -> Iterator[tuple[Tokens, list[Tokens]]]:
    """All prompts, in groups that share a prefix: its tokens, () where there is nothing to gain, and the prompts.

    A prompt belongs to a group if at least half of the group's first one is also its beginning, as where few-shot
    examples come before the question. At least the last token of each prompt is not in the prefix.
    """
    group: list[Tokens] = []
    n_shared = 0
    for prompt in sorted(prompts):
        n = _n_same(group[0], prompt) if group else 0
        if group and n >= MIN_SHARED and 2 * n >= len(group[0]):
            n_shared = min(n_shared, n, len(prompt) - 1)
            group.append(prompt)
            continue
        if group:
            yield _prefix(group, n_shared), group
        group, n_shared = [prompt], len(prompt) - 1
    if group:
        yield _prefix(group, n_shared), group


def _prefix(group: list[Tokens], n_shared: int) -> Tokens:
    return group[0][:n_shared] if len(group) > 1 and n_shared >= MIN_SHARED else ()


def _n_same(a: Tokens, b: Tokens) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

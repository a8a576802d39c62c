"""Log-probabilities in the two shapes of OpenAI's API: that of chats, and the older one of completions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from subbyte.runtime.generation.events import TokenLogprob, TopLogprob

LOWEST = -9999.0  # OpenAI's word for a probability too small to tell; JSON has no infinity


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """The `content` of a chat's logprobs. Text of a token that is no whole characters has U+FFFD; its bytes are exact.

    A token that was forced, and not the model's choice, has the log-probability 0.
    """
    return [{**_entry(token), "top_logprobs": [_entry(top) for top in token.top]} for token in tokens]


def _entry(token: TokenLogprob | TopLogprob) -> dict[str, Any]:
    return {"token": text_of(token), "logprob": value_of(token), "bytes": list(token.piece)}


class TextOffsets:
    """Where tokens begin in a text, in characters: an echoed prompt, and then what follows it.

    A token that is not in the text, such as BOS, takes no place in it.
    """

    def __init__(self, prompt: str) -> None:
        self._left, self._n = prompt.encode(), 0

    def place(self, piece: bytes) -> int:
        """Where a token with these bytes begins; the next one follows it."""
        begin = self._n
        if self._left:  # within the prompt: a tokenizer may have put a space in front of it
            piece = next((each for each in (piece, piece.removeprefix(b" ")) if self._left.startswith(each)), b"")
            self._left = self._left[len(piece) :]
        self._n += _n_characters(piece)
        return begin

    def skip_to_end(self) -> None:
        """What comes now follows the prompt."""
        self._n += _n_characters(self._left)
        self._left = b""


def _n_characters(text: bytes) -> int:
    return sum(byte & 0xC0 != 0x80 for byte in text)


def completion_logprobs(tokens: Sequence[TokenLogprob], offsets: TextOffsets) -> dict[str, Any]:
    """A completion's logprobs: four lists, with an entry each token.

    The first token of a prompt has no log-probability: null, as its `top_logprobs`.
    """
    return {
        "tokens": [text_of(token) for token in tokens],
        "token_logprobs": [None if token.logprob is None else value_of(token) for token in tokens],
        "top_logprobs": [_by_text(token) for token in tokens],
        "text_offset": [offsets.place(token.piece) for token in tokens],
    }


def joined(parts: Iterable[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """The lists of several parts of a completion, one behind another."""
    whole: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for part in parts:
        for name, values in part.items():
            whole[name] += values
    return whole


def _by_text(token: TokenLogprob) -> dict[str, float] | None:
    """The most probable tokens by their text; of those with the same text the most probable, and the token itself."""
    if token.logprob is None:
        return None
    likely: tuple[TopLogprob | TokenLogprob, ...] = (*token.top, token)
    found: dict[str, float] = {}
    for each in likely:
        found[text_of(each)] = max(found.get(text_of(each), LOWEST), value_of(each))
    return found


def text_of(token: TokenLogprob | TopLogprob) -> str:
    """The token's bytes as text."""
    return token.piece.decode(errors="replace")


def value_of(token: TokenLogprob | TopLogprob) -> float:
    """The log-probability as JSON has it."""
    return 0.0 if token.logprob is None else max(token.logprob, LOWEST)


class LogprobsOfText:
    """Log-probabilities that wait for the text of their tokens, which may be held back, or be reasoning or a call."""

    def __init__(self) -> None:
        self._waiting: list[TokenLogprob] = []

    def add(self, token: TokenLogprob) -> None:
        """One that comes, before the text of its token."""
        self._waiting.append(token)

    def drop(self) -> None:
        """What came so far was no text of the answer."""
        self._waiting.clear()

    def take(self, text: str) -> list[TokenLogprob]:
        """Those of a text: the last ones, with so many bytes; what was before them, such as a tag, has none."""
        n_bytes, first = len(text.encode()), len(self._waiting)
        while first and n_bytes > 0:
            first -= 1
            n_bytes -= len(self._waiting[first].piece)
        found = self._waiting[first:]
        self._waiting.clear()
        return found

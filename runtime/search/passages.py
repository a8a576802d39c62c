"""What a search measures on: passages from all over the texts, of which some predictions are scored.

Tokens of a passage repeat what the ones before them tell, and a row of logits costs as much as a layer or two; so only
every few tokens one is scored, and passages are many and short. Every other passage is held out: the search never sees
it, and what it found is measured there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import TemplateError
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.answers import encode_conversation
from subbyte.runtime.evaluation.texts import Conversations, EvalTexts, bytes_of, named_texts
from subbyte.runtime.model import Model
from subbyte.runtime.text import printable

BYTES_A_TOKEN = 16  # of text that is tokenized for a passage; most have four, and a long passage of blanks more
SKIPPED = 16  # predictions at the start of a passage, which say more of the missing context than of the model
MIN_TOKENS = 2 * SKIPPED


@dataclass(frozen=True, eq=False)
class Passage:
    """Tokens to evaluate from an empty cache, int32 [n]. rows: which of them have a prediction that is scored.

    domain: the text that it is from, as 0, 1, ...
    """

    domain: int
    tokens: NDArray[np.int32]
    rows: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Passages:
    """What is searched on, and what is held out for the proof."""

    search: tuple[Passage, ...]
    held_out: tuple[Passage, ...]


def digest(passages: Sequence[Passage]) -> str:
    """sha256 of tokens and rows."""
    found = hashlib.sha256()
    for passage in passages:
        found.update(passage.tokens.astype("<i4").tobytes() + b"\0" + passage.rows.astype("<i4").tobytes() + b"\1")
    return found.hexdigest()


def choose_passages(model: Model, texts: EvalTexts, *, n_ctx: int, n: int, step: int) -> Passages:
    """n passages for the search and n held out, of all texts alike, each of n_ctx tokens or fewer.

    Of a conversation the last answer is scored. step: one prediction in so many is. Raises ValueError for texts too
    short, and for lines that are no conversations.
    """
    named = named_texts("text", texts)
    n_domains = len(named)
    if not n_domains:
        raise ValueError("no text to search on; give at least one")
    if n < n_domains:
        raise ValueError(f"passages is {n}, but must be at least {n_domains}, as many as there are texts")
    search: list[Passage] = []
    held_out: list[Passage] = []
    for domain, (name, text) in enumerate(named.items()):
        wanted = 2 * (n // n_domains + (domain < n % n_domains))
        try:
            found = list(
                _of_chats(model, text, domain, n_ctx, wanted, step)
                if isinstance(text, Conversations)
                else _of_text(model, text, domain, n_ctx, wanted, step)
            )
            if len(found) < 2:
                raise ValueError(
                    f"it holds {len(found)} passages of n_ctx ({arguments.shown(n_ctx)}) tokens, at least 2 are "
                    "needed; give more of it, or a smaller context"
                )
        except ValueError as error:
            raise ValueError(f"{printable(name)}: {error}") from None
        search += found[::2]
        held_out += found[1::2]
    return Passages(tuple(search), tuple(held_out))


def _of_text(model: Model, text: str | bytes, domain: int, n_ctx: int, wanted: int, step: int) -> Iterator[Passage]:
    """Passages at even distances, each from the first line that begins there."""
    data = bytes_of(text)
    count = min(wanted, -(-len(data) // (4 * n_ctx)) or 1)  # of a short text more would be fragments
    for i in range(count):
        start = i * len(data) // count
        end = min((i + 1) * len(data) // count, start + BYTES_A_TOKEN * n_ctx)
        if start:
            line = data.find(b"\n", start, end)
            start = line + 1 if 0 <= line < (start + end) // 2 else start
        ids = model.tokenizer.encode(data[start:end], special=False, add_bos=True, limit=n_ctx + 1)
        yield from _passage(domain, ids[:n_ctx], range(SKIPPED, n_ctx), step)


def _of_chats(model: Model, of: Conversations, domain: int, n_ctx: int, wanted: int, step: int) -> Iterator[Passage]:
    """The ends of conversations at even distances, of which the last answer is scored."""
    conversations = list(of)
    count = min(wanted, len(conversations))
    for i in range(count):
        conversation = conversations[i * len(conversations) // count]
        try:
            ids, is_answer = encode_conversation(model, conversation)
            if not any(is_answer):
                raise ValueError("no answer that the chat template shows")
        except (ValueError, TemplateError) as error:
            raise ValueError(f"line {conversation.line}: {error}") from None
        behind = len(ids) - is_answer[::-1].index(True)
        length = [*is_answer[:behind][::-1], False].index(False)
        end = min(behind, behind - length + n_ctx // 2)
        start = max(0, end - n_ctx)
        if start and model.tokenizer.leading_bos is not None:
            ids[start] = model.tokenizer.leading_bos
        yield from _passage(domain, ids[start:end], range(max(behind - length - 1 - start, 0), n_ctx), step)


def _passage(domain: int, ids: Sequence[int], rows: range, step: int) -> Iterator[Passage]:
    """A passage if it is long enough to score any of it."""
    scored = np.arange(rows.start, min(rows.stop, len(ids) - 1), step, dtype=np.int32)
    if len(ids) >= MIN_TOKENS and len(scored):
        yield Passage(domain, np.array(ids, np.int32), scored)

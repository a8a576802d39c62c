"""Texts as evaluation sees them: token ids cut into chunks, each with its target tokens.

Without a stride the algorithm is llama-perplexity's: chunks of n_ctx tokens follow one another, each starts from an
empty cache, its first token is replaced by BOS where the model wants one, and the predictions of its second half are
scored. The tail that fills no chunk is dropped. With a stride, windows of n_ctx tokens begin every `stride` tokens and
the last `stride` predictions of each are scored, so that every token has at least n_ctx - stride tokens before it.

A conversation is a chunk of its own, of its own length, and the assistant's tokens in it are scored. Chunks of several
texts take turns, so that those of a run that was ended early are of all texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import TemplateError, memory_errors
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.answers import encode_conversation
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.texts import Conversation, Conversations, EvalTexts, bytes_of, named_texts
from subbyte.runtime.gguf.values import ArraySpan
from subbyte.runtime.model import Model
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.text import printable

N_CTX = 512


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tokens to evaluate from an empty cache, int32 [n]; targets: the tokens that are to follow those at `rows`.

    rows, targets: int32 [scored], rows ascending. domain: the index of the text that the chunk is of.
    """

    tokens: NDArray[np.int32]
    rows: NDArray[np.int32]
    targets: NDArray[np.int32]
    domain: int = 0

    @classmethod
    def of(cls, window: NDArray[np.int32], first: int, bos: int | None, domain: int = 0) -> Chunk:
        """The predictions of a window of the text from row `first` on; bos: what its first token is replaced by."""
        tokens = window[:-1].copy()
        if bos is not None:
            tokens[0] = bos
        return cls(tokens, np.arange(first, len(tokens), dtype=np.int32), window[first + 1 :].copy(), domain)

    @classmethod
    def of_answers(cls, ids: Sequence[int], is_answer: Sequence[bool], domain: int) -> Chunk | None:
        """The predictions of the tokens of answers in a conversation; None where there are none to predict."""
        tokens, scored = np.array(ids, np.int32), np.array(is_answer, np.bool_)
        rows = np.flatnonzero(scored[1:]).astype(np.int32)
        return cls(tokens[: rows[-1] + 1], rows, tokens[rows + 1], domain) if len(rows) else None


Cut: TypeAlias = Callable[[Conversation, int], tuple[Sequence[Chunk], int]]
"""A conversation as chunks of a domain, and how many tokens it has."""
CutFor: TypeAlias = Callable[[Model, int | None, Conversation, int], tuple[Sequence[Chunk], int]]
"""The same for a model and n_ctx: `cut_answers` or `cut_whole`."""


def cut_answers(model: Model, n_ctx: int | None, conversation: Conversation, domain: int) -> tuple[list[Chunk], int]:
    """One chunk, in which the answers are scored; none where the template shows no answer.

    Raises ValueError for a conversation without any, and for one of more tokens than n_ctx; where that is None, of more
    than the model was trained for.
    """
    if not any(message.role == "assistant" for message in conversation.messages):
        raise ValueError("no message of the assistant, whose tokens are scored")
    ids, is_answer = encode_conversation(model, conversation)
    limit = model.config.n_ctx_train if n_ctx is None else n_ctx
    if len(ids) > limit:
        what = "the model was trained for" if n_ctx is None else "n_ctx is"
        raise ValueError(f"the conversation has {len(ids)} tokens, {what} {limit}; shorten it, or give a larger n_ctx")
    chunk = Chunk.of_answers(ids, is_answer, domain)
    return [] if chunk is None else [chunk], len(ids)


def cut_whole(model: Model, n_ctx: int | None, conversation: Conversation, domain: int) -> tuple[list[Chunk], int]:
    """Chunks of all its tokens, n_ctx in each, or 512."""
    ids, _ = encode_conversation(model, conversation)
    tokens, step, bos = np.array(ids, np.int32), n_ctx or N_CTX, model.tokenizer.leading_bos
    windows = ((start, tokens[start : start + step]) for start in range(0, len(tokens) - 1, step))
    return [Chunk.of(window, 0, bos if start else None, domain) for start, window in windows], len(ids)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts tokenized by one tokenizer, and cut.

    n_ctx: tokens of a chunk of text, or of the longest conversation if that is longer. sha256: of the texts, one after
    the other; None where only their tokens are known. n_tokens: of the whole texts, also outside of the chunks; None
    where no more was tokenized than the chunks take. names: of the texts. n_conversations: how many of the texts are
    files of conversations.
    """

    chunks: tuple[Chunk, ...]
    sha256: str | None
    n_tokens: int | None
    n_ctx: int
    stride: int | None
    names: tuple[str, ...] = ("text 1",)
    n_conversations: int = 0

    def same_tokens(self, other: Corpus) -> bool:
        """Whether another tokenizer made the same of the texts, so that models can be compared token by token."""
        pairs = zip(self.chunks, other.chunks, strict=False)
        return len(self.chunks) == len(other.chunks) and all(
            np.array_equal(a.targets, b.targets) and np.array_equal(a.rows, b.rows) for a, b in pairs
        )


@memory_errors("tokenize the texts")
def read_corpora(
    models: Sequence[Model],
    texts: EvalTexts,
    options: EvalOptions,
    *,
    stride: int | None = None,
    compat: bool = False,
    cut: CutFor = cut_answers,
) -> list[Corpus]:
    """The texts as each model's tokenizer and chat template have them, once for each that differs; see `read_corpus`.

    Raises ValueError unless the models, at least one, make the same tokens of the texts.
    """
    texts = named_texts("text", texts)
    corpora: list[Corpus] = []
    for model in models:
        twin = next((i for i in range(len(corpora)) if _have_one_vocabulary(models[i], model)), None)
        corpora.append(
            read_corpus(
                texts,
                model.tokenizer,
                n_ctx=options.n_ctx,
                stride=stride,
                chunks=options.chunks,
                compat=compat,
                special=options.special,
                cut=partial(cut, model, options.n_ctx),
            )
            if twin is None
            else corpora[twin]
        )
    check_alike(models, corpora)
    return corpora


def check_alike(models: Sequence[Model], corpora: Sequence[Corpus]) -> None:
    """Raise ValueError unless the models, at least one, make the same tokens of the texts."""
    if not models:
        raise ValueError("no model to measure; give at least one")
    for model, corpus in zip(models, corpora, strict=True):
        if not corpus.same_tokens(corpora[0]):
            raise ValueError(
                f"{model.path} tokenizes the text otherwise than {models[0].path}, or has another chat template, so "
                "their losses can't be paired; measure each alone and compare bits per byte"
            )


def _have_one_vocabulary(a: Model, b: Model) -> bool:
    """Whether two tokenizers are made from equal metadata, and so turn any text into the same tokens."""
    if a.tokenizer is b.tokenizer:
        return True
    a.gguf.check_unchanged()
    b.gguf.check_unchanged()
    same_bos = a.tokenizer.leading_bos == b.tokenizer.leading_bos
    return same_bos and _tokenizer_metadata(a) == _tokenizer_metadata(b)


def _tokenizer_metadata(model: Model) -> dict[str, object]:
    """What a tokenizer and its chat template are made from: their own keys, and the name, by which some are known."""
    kept: dict[str, object] = {}
    for key, (type_id, data) in model.metadata.entries.items():
        if key.startswith("tokenizer.") or key == "general.name":
            kept[key] = (data.element_type, data.count, data.data) if isinstance(data, ArraySpan) else (type_id, data)
    return kept


def read_corpus(
    texts: EvalTexts,
    tokenizer: Tokenizer,
    *,
    n_ctx: int | None = None,
    stride: int | None = None,
    chunks: int | None = None,
    compat: bool = False,
    special: bool = False,
    cut: Cut | None = None,
) -> Corpus:
    """Cut texts (one trailing newline of each is dropped) into chunks; chunks: at most so many in all.

    No more of a text is tokenized than these chunks take. special: as in `EvalOptions`. cut: for conversations.

    n_ctx: tokens of a chunk; None for 512. stride: see above.
    compat: as llama-perplexity does it where it differs: with a stride, BOS is not put at the head of a window.
    Raises ValueError for a text that is shorter than two chunks, and for numbers that leave nothing to score.
    """
    named = named_texts("text", texts)
    cutting = _Cutting(N_CTX if n_ctx is None else n_ctx, stride, chunks)
    if not named:
        raise ValueError("no text to measure on; give at least one")
    digest, n_tokens, whole, parts = hashlib.sha256(), 0, True, list[Sequence[Chunk]]()
    bos = None if compat and stride else tokenizer.leading_bos
    for domain, (name, text) in enumerate(named.items()):
        data = bytes_of(text)
        digest.update(data)
        if isinstance(text, Conversations):
            assert cut is not None
            part, n, is_whole = _conversations(name, text, cut, domain, chunks)
        else:
            limit = cutting.enough
            ids = tokenizer.encode(data.removesuffix(b"\n"), special=special, add_bos=True, limit=limit)
            part, n, is_whole = cutting.cut(ids, bos, domain), len(ids), limit is None or len(ids) < limit
        n_tokens, whole = n_tokens + n, whole and is_whole
        parts.append(part)
    in_turn = chain.from_iterable(zip_longest(*parts))
    kept = tuple(chunk for chunk in in_turn if chunk is not None)[:chunks]
    longest = max(len(chunk.tokens) + 1 for chunk in kept)
    n_conversations = sum(isinstance(text, Conversations) for text in named.values())
    n_all = n_tokens if whole else None
    return Corpus(kept, digest.hexdigest(), n_all, longest, stride, tuple(named), n_conversations)


def _conversations(
    name: str, texts: Conversations, cut: Cut, domain: int, most: int | None
) -> tuple[list[Chunk], int, bool]:
    """The first conversations as chunks, tokens of these, and whether these are all."""
    chunks, n_tokens = list[Chunk](), 0
    try:
        for conversation in texts:
            if most is not None and len(chunks) >= most:
                return chunks, n_tokens, False
            try:
                found, n = cut(conversation, domain)
            except (ValueError, TemplateError) as error:
                raise ValueError(f"line {conversation.line}: {error}") from None
            chunks += found
            n_tokens += n
        if not n_tokens:
            raise ValueError('no conversation; give lines of JSON with "messages"')
        if not chunks:
            raise ValueError("no conversation with an answer that the chat template shows")
    except ValueError as error:
        raise ValueError(f"{printable(name)}: {error}") from None
    return chunks, n_tokens, True


@dataclass(frozen=True)
class _Cutting:
    """How texts are cut into chunks; raises ValueError for numbers that leave nothing to score."""

    n_ctx: int
    stride: int | None
    chunks: int | None

    def __post_init__(self) -> None:
        n_ctx, stride = self.n_ctx, self.stride
        if stride is not None:
            stride = arguments.whole("stride", stride)
        if n_ctx < 4:
            raise ValueError(f"chunks of {n_ctx} tokens; they must have at least 4")
        if self.chunks is not None and self.chunks < 1:
            raise ValueError(f"{self.chunks} chunks; there must be at least 1")
        if stride is not None and not 1 <= stride < n_ctx:
            raise ValueError(
                f"a stride of {stride} tokens; it must be 1 to {n_ctx - 1}, less than the {n_ctx} of a chunk"
            )

    @property
    def enough(self) -> int | None:
        """Tokens of a text that so many chunks are cut from, and at least those of two; None: all."""
        if self.chunks is None:
            return None
        return max((self.chunks + 1) * (self.stride or self.n_ctx) + self.n_ctx, 2 * self.n_ctx)

    def cut(self, ids: Sequence[int], bos: int | None, domain: int) -> list[Chunk]:
        """The chunks of a text, of which there must be two."""
        n_ctx, stride, tokens = self.n_ctx, self.stride, np.array(ids, np.int32)
        if len(tokens) < 2 * n_ctx:
            raise ValueError(
                f"the text has {len(tokens)} tokens, {2 * n_ctx} are needed for n_ctx = {n_ctx}; "
                "give more text or a smaller context"
            )
        step = stride or n_ctx
        n_chunks = -(-(len(tokens) - n_ctx) // stride) if stride else len(tokens) // n_ctx
        first = n_ctx - stride - 1 if stride else n_ctx // 2
        starts = range(0, n_chunks * step, step)
        return [Chunk.of(tokens[start : start + n_ctx], first, bos, domain) for start in starts]

"""Texts as evaluation sees them: token ids cut into chunks, each with its target tokens.

Without a stride the algorithm is llama-perplexity's: chunks of n_ctx tokens follow one another, each starts from an
empty cache, its first token is replaced by BOS where the model wants one, and the predictions of its second half are
scored. The tail that fills no chunk is dropped. With a stride, windows of n_ctx tokens begin every `stride` tokens and
the last `stride` predictions of each are scored, so that every token has at least n_ctx - stride tokens before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import memory_errors
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.gguf.values import ArraySpan
from subbyte.runtime.model import Model
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.types import Texts

N_CTX = 512


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tokens to evaluate from an empty cache, int32 [n]; targets: the tokens that rows from `first` on predict."""

    tokens: NDArray[np.int32]
    first: int
    targets: NDArray[np.int32]

    @classmethod
    def of(cls, window: NDArray[np.int32], first: int, bos: int | None) -> Chunk:
        """The predictions of a window of the text from row `first` on; bos: what its first token is replaced by."""
        tokens = window[:-1].copy()
        if bos is not None:
            tokens[0] = bos
        return cls(tokens, first, window[first + 1 :].copy())


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts tokenized by one tokenizer, and cut.

    n_tokens: of the whole texts, also outside of the chunks; None where no more was tokenized than the chunks take.
    sha256: of the texts, one after the other; None where only their tokens are known.
    """

    chunks: tuple[Chunk, ...]
    sha256: str | None
    n_tokens: int | None
    n_ctx: int
    stride: int | None

    def same_tokens(self, other: Corpus) -> bool:
        """Whether another tokenizer made the same of the texts, so that models can be compared token by token."""
        pairs = zip(self.chunks, other.chunks, strict=False)
        return len(self.chunks) == len(other.chunks) and all(np.array_equal(a.targets, b.targets) for a, b in pairs)


@memory_errors("tokenize the texts")
def read_corpora(
    models: Sequence[Model], texts: Texts, options: EvalOptions, *, stride: int | None = None, compat: bool = False
) -> list[Corpus]:
    """The texts as each model's tokenizer has them, tokenized once for each vocabulary; see `read_corpus`.

    Raises ValueError unless the models, at least one, make the same tokens of the texts.
    """
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
                f"{model.path} tokenizes the text otherwise than {models[0].path}, so their losses can't be paired; "
                "measure each alone and compare bits per byte"
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
    """What a tokenizer is made from: its own keys, and the name, by which some are known."""
    kept: dict[str, object] = {}
    for key, (type_id, data) in model.metadata.entries.items():
        if key.startswith("tokenizer.ggml.") or key == "general.name":
            kept[key] = (data.element_type, data.count, data.data) if isinstance(data, ArraySpan) else (type_id, data)
    return kept


def read_corpus(
    texts: Texts,
    tokenizer: Tokenizer,
    *,
    n_ctx: int | None = None,
    stride: int | None = None,
    chunks: int | None = None,
    compat: bool = False,
    special: bool = False,
) -> Corpus:
    """Cut texts (one trailing newline of each is dropped) into chunks; chunks: at most so many in all.

    No more of a text is tokenized than these chunks take. special: as in `EvalOptions`.

    n_ctx: tokens of a chunk; None for 512. stride: see above.
    compat: as llama-perplexity does it where it differs: with a stride, BOS is not put at the head of a window.
    Raises ValueError for a text that is shorter than two chunks, and for numbers that leave nothing to score.
    """
    n_ctx = N_CTX if n_ctx is None else n_ctx
    texts = arguments.raw_texts("text", texts)
    if stride is not None:
        stride = arguments.whole("stride", stride)
    if n_ctx < 4:
        raise ValueError(f"chunks of {n_ctx} tokens; they must have at least 4")
    if chunks is not None and chunks < 1:
        raise ValueError(f"{chunks} chunks; there must be at least 1")
    if stride is not None and not 1 <= stride < n_ctx:
        raise ValueError(f"a stride of {stride} tokens; it must be 1 to {n_ctx - 1}, less than the {n_ctx} of a chunk")
    if not texts:
        raise ValueError("no text to measure on; give at least one")
    cut: list[Chunk] = []
    digest, n_tokens, whole = hashlib.sha256(), 0, True
    bos = None if compat and stride else tokenizer.leading_bos
    for text in texts:
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        digest.update(data)
        limit = None if chunks is None else _enough(max(chunks - len(cut), 0), n_ctx, stride)
        ids = tokenizer.encode(data.removesuffix(b"\n"), special=special, add_bos=True, limit=limit)
        tokens = np.array(ids, np.int32)
        if len(tokens) < 2 * n_ctx:
            raise ValueError(
                f"the text has {len(tokens)} tokens, {2 * n_ctx} are needed for n_ctx = {n_ctx}; "
                "give more text or a smaller context"
            )
        n_tokens += len(tokens)
        whole = whole and (limit is None or len(tokens) < limit)
        cut += _cut(tokens, n_ctx, stride, bos)
    return Corpus(tuple(cut[:chunks]), digest.hexdigest(), n_tokens if whole else None, n_ctx, stride)


def _enough(chunks: int, n_ctx: int, stride: int | None) -> int:
    """Tokens of a text that so many chunks are cut from, and at least those of two."""
    return max((chunks + 1) * (stride or n_ctx) + n_ctx, 2 * n_ctx)


def _cut(tokens: NDArray[np.int32], n_ctx: int, stride: int | None, bos: int | None) -> list[Chunk]:
    step = stride or n_ctx
    n_chunks = -(-(len(tokens) - n_ctx) // stride) if stride else len(tokens) // n_ctx
    first = n_ctx - stride - 1 if stride else n_ctx // 2
    return [Chunk.of(tokens[start : start + n_ctx], first, bos) for start in range(0, n_chunks * step, step)]

"""The text that models and their base are compared on, and whether they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from subbyte.kernels import Plan
from subbyte.runtime.compare.base_file import BaseFile
from subbyte.runtime.evaluation.corpus import Chunk, read_corpus
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.evaluation.perplexity import check_alike
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType, SessionOptions, Texts

N_CTX = 512


@dataclass(frozen=True, slots=True)
class Conditions:
    """How to evaluate. n_ctx: tokens of a chunk, None for 512 or what a base file has. chunks: at most so many."""

    n_ctx: int | None = None
    chunks: int | None = None
    cache_type: CacheType = "f16"
    activations: Activations = "int8x2"

    def forward(self, model: Model, n_ctx: int, plan: Plan | None = None) -> Forward:
        """A forward pass of the model, or of another plan of its."""
        return Forward(model, SessionOptions(n_ctx, self.cache_type, self.activations), plan)


@dataclass(frozen=True, eq=False, slots=True)
class SameText:
    """Tokens in chunks, the same for all. sha256: of the text, None where only its tokens are known."""

    chunks: tuple[Chunk, ...]
    n_ctx: int
    n_vocab: int
    n_tokens: int
    sha256: str | None


def same_text(base: Model | BaseFile, models: Sequence[Model], text: Texts | None, how: Conditions) -> SameText:
    """What to compare on: the texts as the base's tokenizer has them, or what a base file holds.

    Raises ValueError where a model has another vocabulary, makes other tokens of the texts, or begins them otherwise.
    """
    if not models:
        raise ValueError("no model to compare with the base; give at least one")
    first = models[0] if isinstance(base, BaseFile) else base
    n_vocab = base.n_vocab if isinstance(base, BaseFile) else base.config.n_vocab
    for model in models:
        if model.config.n_vocab != n_vocab:
            found = f"{model.path} has a vocabulary of {model.config.n_vocab} tokens, {base.path} one of {n_vocab}"
            raise ValueError(f"{found}; compare models of one family")
        if model.tokenizer.leading_bos != first.tokenizer.leading_bos:
            raise ValueError(f"{model.path} begins a text with another token than {first.path}; mend its metadata")
    if isinstance(base, BaseFile):
        return _of_file(base, first.tokenizer.leading_bos, text, how)
    if text is None:
        raise ValueError("no text to compare on; give at least one, or a base file in place of the base")
    texts = [text] if isinstance(text, str | bytes) else text
    n_ctx = N_CTX if how.n_ctx is None else how.n_ctx
    everyone = [base, *models]
    corpora = [read_corpus(texts, model.tokenizer, n_ctx=n_ctx, chunks=how.chunks) for model in everyone]
    check_alike(everyone, corpora)
    corpus = corpora[0]
    return SameText(corpus.chunks, n_ctx, n_vocab, corpus.n_tokens, corpus.sha256)


def _of_file(base: BaseFile, bos: int | None, text: Texts | None, how: Conditions) -> SameText:
    if text is not None:
        raise ValueError(f"{base.path} holds the tokens to compare on; give no text beside it")
    if how.n_ctx not in (None, base.n_ctx):
        raise ValueError(f"{base.path} has chunks of {base.n_ctx} tokens, not {how.n_ctx}")
    if how.chunks is not None and how.chunks < 1:
        raise ValueError(f"{how.chunks} chunks; there must be at least 1")
    first = base.n_ctx // 2
    chunks = tuple(Chunk.of(tokens, first, bos) for tokens in base.tokens[: how.chunks])
    return SameText(chunks, base.n_ctx, base.n_vocab, base.tokens.size, None)


def base_model(base: Model | BaseFile) -> Model:
    """The base, if it is a model; raises ValueError for a file of its predictions."""
    if isinstance(base, BaseFile):
        raise ValueError(f"{base.path} holds predictions only; layers, blame and writing a base file need the model")
    return base


def check_same_shape(base: Model, models: Sequence[Model]) -> None:
    """Raise ValueError unless layer by layer can be compared."""
    for model in models:
        ours, theirs = (f"{m.config.n_layer} layers of {m.config.n_embd} values" for m in (model, base))
        if ours != theirs:
            raise ValueError(f"{model.path} has {ours}, {base.path} has {theirs}; layers compare only where they agree")

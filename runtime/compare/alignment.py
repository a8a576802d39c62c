"""The tokens that models and their base are compared on, and whether they can be."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from subbyte.runtime import arguments
from subbyte.runtime.compare.base_file import BaseFile, is_base_file
from subbyte.runtime.evaluation.corpus import Chunk, Corpus, read_corpora
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.texts import EvalTexts
from subbyte.runtime.loading import Models, as_model
from subbyte.runtime.model import Model


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """Chunks of tokens that are the same for a base and all models, and the size of their vocabulary."""

    corpus: Corpus
    n_vocab: int


def align(base: Model | BaseFile, models: Sequence[Model], text: EvalTexts | None, options: EvalOptions) -> Alignment:
    """What to compare on: the texts as the base's tokenizer has them, or what a base file holds.

    Raises ValueError where a model has another vocabulary, makes other tokens of the texts, or begins them otherwise.
    """
    if not models:
        raise ValueError("no model to compare with the base; give at least one")
    first = models[0] if isinstance(base, BaseFile) else base
    n_vocab = base.n_vocab if isinstance(base, BaseFile) else base.config.n_vocab
    for model in models:
        if model.config.n_vocab != n_vocab:
            sizes = f"{model.path} has a vocabulary of {model.config.n_vocab} tokens, {base.path} one of {n_vocab}"
            raise ValueError(f"{sizes}; compare models of one family")
        if model.tokenizer.leading_bos != first.tokenizer.leading_bos:
            raise ValueError(f"{model.path} begins a text with another token than {first.path}; mend its metadata")
    if isinstance(base, BaseFile):
        return Alignment(_corpus_of_file(base, first.tokenizer.leading_bos, text, options), n_vocab)
    if text is None:
        raise ValueError("no text to compare on; give at least one, or a base file in place of the base")
    return Alignment(read_corpora([base, *models], text, options)[0], n_vocab)


def _corpus_of_file(base: BaseFile, bos: int | None, text: EvalTexts | None, options: EvalOptions) -> Corpus:
    if text is not None:
        raise ValueError(f"{base.path} holds the tokens to compare on; give no text beside it")
    if options.n_ctx not in (None, base.n_ctx):
        raise ValueError(f"{base.path} has chunks of {base.n_ctx} tokens, not {options.n_ctx}")
    if options.chunks is not None and options.chunks < 1:
        raise ValueError(f"{options.chunks} chunks; there must be at least 1")
    chunks = tuple(Chunk.of(tokens, base.n_ctx // 2, bos) for tokens in base.tokens[: options.chunks])
    return Corpus(chunks, None, base.tokens.size, base.n_ctx, None)


def as_base(name: str, base: Models | BaseFile, stack: ExitStack) -> Model | BaseFile:
    """The base that an argument gives; the path of a base file opens that. What is opened is closed with the stack."""
    if isinstance(base, BaseFile):
        return base
    if isinstance(base, str | os.PathLike) and is_base_file(arguments.path(name, base)):
        return stack.enter_context(BaseFile(base))
    return as_model(name, base, stack)


def base_model(base: Model | BaseFile) -> Model:
    """The base, if it is a model; raises ValueError for a file of its predictions."""
    if isinstance(base, BaseFile):
        raise ValueError(f"{base.path} holds predictions only; layers, blame and writing a base file need the model")
    return base


def check_same_shape(base: Model, models: Sequence[Model]) -> None:
    """Raise ValueError unless the models can be compared with the base layer by layer."""
    for model in models:
        ours, theirs = (f"{m.config.n_layer} layers of {m.config.n_embd} values" for m in (model, base))
        if ours != theirs:
            raise ValueError(f"{model.path} has {ours}, {base.path} has {theirs}; layers compare only where they agree")

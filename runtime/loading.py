"""Loading a model: from a path or a name to a `Model`, wherever one is taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TypeAlias

from subbyte.errors import SubbyteError, memory_errors
from subbyte.kernels import MAX_THREADS, best_isa, isas
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.machine import default_threads
from subbyte.runtime.model import Model


@memory_errors("load the model")
def load(
    model: str | os.PathLike[str],
    *,
    threads: int | None = None,
    isa: str | None = None,
    override_kv: Mapping[str, int | float | bool | str] | None = None,
) -> Model:
    """Opens a model: a path, a built-in name ("smollm2"), or hf:user/repo:QUANT, fetched into the cache if need be.

    threads: None for what the machine grants this process. isa: None for the best instruction set of this machine.
    override_kv: metadata that counts in place of the file's, such as {"tokenizer.ggml.eos_token_id": 2}.
    Raises ModelNotFound, FormatError, UnsupportedError, TokenizerError, ResourceError; ValueError for a number of
    threads, or an instruction set (also one that SUBBYTE_ISA names), that this machine can't run, or metadata of no
    kind.
    """
    model = arguments.path("model", model, arguments.PATH)
    if threads is not None and not 1 <= (threads := arguments.whole("threads", threads)) <= MAX_THREADS:
        raise ValueError(f"{threads} threads; allowed are 1 to {MAX_THREADS}, or None for what the machine has")
    isa = best_isa() if isa is None else checked_isa("isa", isa)
    from subbyte.runtime.store.resolve import resolve

    path = resolve(model)
    gguf = GGUF.open(path, override_kv=override_kv)
    try:
        return Model(gguf, n_threads=threads or min(default_threads()[0], MAX_THREADS), isa=isa)
    except SubbyteError as error:
        gguf.close()
        if str(error).startswith(gguf.files):
            raise
        raise type(error)(f"{path}: {error}") from None
    except BaseException:
        gguf.close()
        raise


def checked_isa(name: str, isa: str) -> str:
    """An instruction set by its name, which SUBBYTE_ISA takes, too. Raises ValueError for one not on this machine."""
    if arguments.text(name, isa) not in isas():
        raise ValueError(f"instruction set {isa!r:.80} is unknown or not on this machine; it runs {', '.join(isas())}")
    return isa


Models: TypeAlias = Model | str | os.PathLike[str]
"""A model, or a path or name to load it from, as `load` takes it."""


def as_model(name: str, model: Models, stack: ExitStack, threads: int | None = None) -> Model:
    """The model that an argument gives. One that has to be loaded for it is closed with the stack; errors as `load`."""
    if isinstance(model, Model):
        return model
    taken = "a Model, or a path or a model's name (str or os.PathLike)"
    return stack.enter_context(load(arguments.path(name, model, taken), threads=threads))


def as_models(
    name: str, models: Models | Iterable[Models], stack: ExitStack, threads: int | None = None
) -> list[Model]:
    """The models that an argument gives, one or several; as `as_model`."""
    if isinstance(models, Model | str | os.PathLike):
        return [as_model(name, models, stack, threads)]
    given = arguments.items(name, models, "a Model, a path or a model's name, or a list of them")
    return [as_model(f"{name}[{i}]", each, stack, threads) for i, each in enumerate(given)]

"""What a model's header tells a reader who chooses among many: architecture, block types, base or chat model."""

import struct
from dataclasses import dataclass
from pathlib import Path

from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.tensors import size_of
from subbyte.runtime.gguf.values import ARRAY, STRING
from subbyte.runtime.inspect.summary import count_of, shares, text_of
from subbyte.runtime.records import Record
from subbyte.runtime.template.chat_template import CHATML_TOKENS

_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class Facts(Record):
    """What the file doesn't say is None.

    types: block types with their share of the bytes, 0 to 1, most first. base_model: None for a file without a
    vocabulary.
    """

    architecture: str | None
    n_params: int
    bits_per_weight: float | None
    types: tuple[tuple[str, float], ...]
    context_length: int | None
    base_model: bool | None


def read_facts(path: Path) -> Facts:
    """The facts of a file, with all shards of a split one; raises what `GGUF.open` raises. Takes milliseconds."""
    with GGUF.open(path) as gguf:
        metadata, tensors = gguf.metadata, list(gguf.tensors.values())
        architecture, size = text_of(metadata, "general.architecture"), size_of(tensors)
        return Facts(
            architecture=architecture,
            n_params=size.n_weights,
            bits_per_weight=size.bits_per_weight,
            types=tuple((each.type, each.share) for each in shares(tensors)),
            context_length=count_of(metadata, f"{architecture}.context_length"),
            base_model=_is_base(metadata),
        )


def _is_base(metadata: Metadata) -> bool | None:
    """Whether it is a base model, by the rule of `chat_template.is_base`, from the bytes of the vocabulary."""
    if text_of(metadata, "tokenizer.chat_template"):
        return False
    kind, tokens = metadata.entries.get(_TOKENS, (None, None))
    if kind != ARRAY or tokens is None or tokens.element_type != STRING:
        return None
    vocabulary = bytes(tokens.data)
    return not all(struct.pack("<Q", len(text)) + text in vocabulary for text in map(str.encode, CHATML_TOKENS))

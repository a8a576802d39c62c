"""Whether files hold the same model, to the last byte: then nothing need be measured to tell that they are equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.values import ArraySpan, MetadataValue

BYTES_AT_ONCE = 1 << 20  # so that comparing needs little memory
# What no computation looks at: names and origins, how the file was made and split, and what a chat looks like.
_OF_NO_EFFECT = ("general.", "quantize.", "split.", "tokenizer.chat_template")


def first_of_same(files: Sequence[GGUF]) -> tuple[int, ...]:
    """For each file the index of the first one that holds the same model: (0, 0, 2) where only the first two do."""
    found: list[int] = []
    for i, file in enumerate(files):
        found.append(next((j for j in range(i) if found[j] == j and same_model(files[j], file)), i))
    return tuple(found)


def same_model(a: GGUF, b: GGUF) -> bool:
    """Whether two files compute the same: equal tensors, hyper-parameters and vocabulary; names may differ.

    Files that differ mostly do so in their tensor tables; else both are read up to the first byte that differs.
    """
    if a.identity == b.identity and a.override_kv == b.override_kv:
        return True
    if {n: (t.type, t.shape) for n, t in a.tensors.items()} != {n: (t.type, t.shape) for n, t in b.tensors.items()}:
        return False
    if not _same_metadata(a.metadata, b.metadata):
        return False
    return all(same_bytes(tensor.data, b.tensors[name].data) for name, tensor in a.tensors.items())


def same_bytes(a: memoryview, b: memoryview) -> bool:
    """Whether two buffers hold the same; a few GB/s, in little memory."""
    if len(a) != len(b):
        return False
    for start in range(0, len(a), BYTES_AT_ONCE):
        left, right = (np.frombuffer(side[start : start + BYTES_AT_ONCE], np.uint8) for side in (a, b))
        if not np.array_equal(left, right):
            return False
    return True


def _same_metadata(a: Metadata, b: Metadata) -> bool:
    left, right = (
        {key: _plain(value) for key, value in of.entries.items() if not key.startswith(_OF_NO_EFFECT)} for of in (a, b)
    )
    return left == right


def _plain(value: MetadataValue) -> tuple[Any, ...]:
    data = value.data
    return (value.type, data.element_type, data.count, data.data) if isinstance(data, ArraySpan) else (value.type, data)

"""Types that the rooms of runtime/ share: token ids, texts, numeric modes, progress callbacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]
"""Token ids."""

Texts: TypeAlias = str | bytes | Sequence[str | bytes]
"""One text or several; bytes are UTF-8, valid or not."""

Activations: TypeAlias = Literal["int8", "int8x2", "float32"]
"""Activations that meet quantized weights: int8 with a scale per 32 values, fast, for chat and generation; int8x2,
which keeps the residual as int8 again, about 15 bits for twice the work, for measurements; float32, slow, the
reference for both."""

CacheType: TypeAlias = Literal["f16", "q8_0", "f32"]
"""Type of the KV cache: f16; q8_0, int8 with a float16 scale per 32 values, in about half the memory; f32, for
tests."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session holds and how it computes. n_ctx: positions of its KV cache; None: as `Model.session` chooses."""

    n_ctx: int | None = None
    cache_type: CacheType = "f16"
    activations: Activations = "int8"


Progress: TypeAlias = Callable[[int, int], None]
"""Called with the work done and the work in all: bytes, or tokens."""

StepProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being worked on, how much of it is done, and how much there is."""

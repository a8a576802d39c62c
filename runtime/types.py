"""Types that the rooms of runtime/ share: token ids, texts, numeric modes, progress callbacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import arguments

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
    """What a session holds and how it computes.

    n_ctx: positions of its KV cache; None: as `Model.session` chooses. checkpoint_bytes: memory for checkpoints of
    recurrent states; None: as `Model.session` chooses. Raises ValueError for a value that makes no sense.
    """

    n_ctx: int | None = None
    cache_type: CacheType = "f16"
    activations: Activations = "int8"
    checkpoint_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            n_ctx = arguments.whole("n_ctx", self.n_ctx, 1, hint="tokens, at least 1; None: as many as fit")
            object.__setattr__(self, "n_ctx", n_ctx)
        if self.checkpoint_bytes is not None:
            n = arguments.whole("checkpoint_bytes", self.checkpoint_bytes, 0, hint="bytes; None: as the memory allows")
            object.__setattr__(self, "checkpoint_bytes", n)
        arguments.choice("cache_type", self.cache_type, get_args(CacheType))
        arguments.choice("activations", self.activations, get_args(Activations))


class CheckpointUse(NamedTuple):
    """What a session keeps to go back to.

    positions: how many tokens each checkpoint stands for. n_bytes, max_bytes: memory of all, and how much they may
    take. n_recomputed: tokens computed again so far because the session went back behind its last checkpoint.
    """

    positions: tuple[int, ...]
    n_bytes: int
    max_bytes: int
    n_recomputed: int


Progress: TypeAlias = Callable[[int, int], None]
"""Called with the work done and the work in all: bytes, or tokens."""

StepProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being worked on, how much of it is done, and how much there is."""

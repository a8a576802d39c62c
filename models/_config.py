"""Hyper-parameters that all architectures share, read from metadata once, with every check of their meaning.

Names are llama.cpp's, keys are the GGUF specification's (`{architecture}.block_count` …).
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, UnsupportedError

MAX_LAYERS = 1024
MAX_WIDTH = 2**20
MAX_HEAD_DIM = 2**12
MIN_EPS = 1e-12  # with 0 a row of zeros would be divided by 0
MIN_FREQ_BASE = 1.0  # below it, frequencies grow instead of falling
MAX_ROPE_FACTOR = 2.0**20  # how many times a context may be stretched
HINT = "convert the model again, or get it from another source"


class Metadata(Protocol):
    """Typed access to a file's metadata; a wrong type or a value out of lo..hi raises FormatError naming the key."""

    @overload
    def u32(self, key: builtins.str, *, lo: int = ..., hi: int = ...) -> int: ...
    @overload
    def u32(self, key: builtins.str, default: int, *, lo: int = ..., hi: int = ...) -> int: ...
    @overload
    def f32(self, key: builtins.str, *, lo: float = ..., hi: float = ...) -> float: ...
    @overload
    def f32(self, key: builtins.str, default: float, *, lo: float = ..., hi: float = ...) -> float: ...
    @overload
    def str(self, key: builtins.str) -> builtins.str: ...
    @overload
    def str(self, key: builtins.str, default: builtins.str) -> builtins.str: ...
    @overload
    def u32_or_array(self, key: builtins.str, n: int, *, lo: int = ..., hi: int = ...) -> list[int]: ...
    @overload
    def u32_or_array(self, key: builtins.str, n: int, default: int, *, lo: int = ..., hi: int = ...) -> list[int]: ...
    def __contains__(self, key: object) -> bool: ...


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al., 2021) with position interpolation."""

    n_rot: int
    freq_base: float
    freq_scale: float = 1.0

    def frequencies(self, factors: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Angle per position of each pair, float64 [n_rot / 2]; factors (rope_freqs.weight) divide them.

        Raises FormatError for a factor that is not a positive finite number.
        """
        if factors is not None and not (np.isfinite(factors) & (factors > 0)).all():
            worst = factors[~(np.isfinite(factors) & (factors > 0))][0]
            raise FormatError(f"tensor rope_freqs.weight holds {worst}; positive finite numbers are allowed: {HINT}")
        pair = np.arange(self.n_rot // 2, dtype=np.float64)
        theta = self.freq_base ** (-2.0 * pair / self.n_rot)
        return self.freq_scale * theta / (1.0 if factors is None else factors.astype(np.float64))


@dataclass(frozen=True)
class Config:
    """What a model file says of its model's shape."""

    architecture: str
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ctx_train: int
    n_vocab: int
    eps: float
    rope: Rope

    @property
    def n_q(self) -> int:
        return self.n_head * self.head_dim

    @property
    def n_kv(self) -> int:
        return self.n_head_kv * self.head_dim


def read_config(meta: Metadata, architecture: str, n_vocab: int, *, partial_rope: bool = False) -> Config:
    """The shared hyper-parameters. partial_rope: whether the architecture may rotate only the first part of a head."""
    a = f"{architecture}."
    n_layer = meta.u32(a + "block_count", lo=1, hi=MAX_LAYERS)
    n_embd = meta.u32(a + "embedding_length", lo=1, hi=MAX_WIDTH)
    key = a + "attention.head_count"
    n_head = same(key, meta.u32_or_array(key, n_layer, lo=1, hi=MAX_WIDTH))
    key = a + "attention.head_count_kv"
    n_head_kv = same(key, meta.u32_or_array(key, n_layer, n_head, lo=1, hi=n_head))
    key = a + "feed_forward_length"
    n_ff = same(key, meta.u32_or_array(key, n_layer, lo=1, hi=MAX_WIDTH))
    if n_head % n_head_kv:
        found = f"{a}attention.head_count_kv = {n_head_kv}"
        raise FormatError(f"{found} does not divide {a}attention.head_count = {n_head}: {HINT}")
    if a + "attention.key_length" not in meta and n_embd % n_head:
        raise FormatError(f"{a}attention.head_count = {n_head} does not divide {a}embedding_length = {n_embd}: {HINT}")
    head_dim = meta.u32(a + "attention.key_length", n_embd // n_head, lo=1, hi=MAX_HEAD_DIM)
    if n_head * head_dim > MAX_WIDTH:
        found = f"{a}attention.head_count = {n_head} heads of {head_dim} values"
        raise FormatError(f"{found}; all together may have {MAX_WIDTH}: {HINT}")
    value_length = meta.u32(a + "attention.value_length", head_dim, lo=1, hi=MAX_HEAD_DIM)
    if value_length != head_dim:
        raise UnsupportedError(
            f"{a}attention.value_length = {value_length} differs from key_length = {head_dim}; they must be equal"
        )
    if meta.u32(a + "expert_count", 0):
        raise UnsupportedError(f"{a}expert_count: mixtures of experts are not supported")
    return Config(
        architecture=architecture,
        n_layer=n_layer,
        n_embd=n_embd,
        n_ff=n_ff,
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_dim=head_dim,
        n_ctx_train=meta.u32(a + "context_length", lo=1),
        n_vocab=n_vocab,
        eps=meta.f32(a + "attention.layer_norm_rms_epsilon", lo=MIN_EPS, hi=1.0),
        rope=read_rope(meta, a, head_dim, partial_rope),
    )


def same(key: str, values: list[int]) -> int:
    """The one value of a key that may be given for each layer."""
    if len(set(values)) > 1:
        raise UnsupportedError(f"{key} differs between layers ({values[:8]} …); the same for all is supported")
    return values[0]


def read_rope(meta: Metadata, a: str, head_dim: int, partial: bool) -> Rope:
    n_rot = meta.u32(a + "rope.dimension_count", head_dim, lo=2 if partial else head_dim, hi=head_dim)
    if n_rot % 2:
        raise FormatError(f"{a}rope.dimension_count = {n_rot} is odd; rope rotates pairs: {HINT}")
    freq_base = meta.f32(a + "rope.freq_base", 10000.0, lo=MIN_FREQ_BASE)
    kind = meta.str(a + "rope.scaling.type", "linear")
    if kind not in ("none", "linear"):
        raise UnsupportedError(f"{a}rope.scaling.type = {kind[:40]!r}; supported are none and linear")
    if kind == "none":
        return Rope(n_rot, freq_base)
    key = "rope.scaling.factor" if a + "rope.scaling.factor" in meta else "rope.scale_linear"  # the older name
    return Rope(n_rot, freq_base, 1.0 / meta.f32(a + key, 1.0, lo=1 / MAX_ROPE_FACTOR, hi=MAX_ROPE_FACTOR))

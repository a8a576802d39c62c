"""Hyper-parameters that all architectures share, read from metadata once, with every check of their meaning.

Names are llama.cpp's, keys are the GGUF specification's (`{architecture}.block_count` …).
"""

from dataclasses import dataclass

from subbyte.errors import FormatError, UnsupportedError
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._rope import Rope, read_rope

MAX_LAYERS = 1024
MAX_WIDTH = 2**20
MAX_HEAD_DIM = 2**12
MAX_SCALE = 1e6
MIN_EPS = 1e-12  # with 0 a row of zeros would be divided by 0
LAYER_KEYS = {"n_head": "attention.head_count", "n_head_kv": "attention.head_count_kv", "n_ff": "feed_forward_length"}


@dataclass(frozen=True)
class BaseConfig:
    """What a model file says of its model as a whole."""

    architecture: str
    n_layer: int
    n_embd: int
    head_dim: int
    n_ctx_train: int
    n_vocab: int
    eps: float
    rope: Rope


@dataclass(frozen=True)
class Layer:
    """The sizes that architectures may give to each layer. 0 heads: no attention; n_ff 0: no feed-forward part."""

    n_head: int
    n_head_kv: int
    n_ff: int


class Widths:
    """What all heads of queries, and all of keys or values, have together."""

    n_head: int
    n_head_kv: int
    head_dim: int

    @property
    def n_q(self) -> int:
        return self.n_head * self.head_dim

    @property
    def n_kv(self) -> int:
        return self.n_head_kv * self.head_dim


@dataclass(frozen=True)
class Config(Widths, BaseConfig):
    """Of a model whose layers are all alike, their sizes too."""

    n_head: int
    n_head_kv: int
    n_ff: int


def read_config(
    meta: Metadata,
    architecture: str,
    n_vocab: int,
    *,
    partial_rope: bool = False,
    experts: bool = False,
    predicts: bool = False,
    n_ff: int | None = None,
    latent: bool = False,
) -> Config:
    """The hyper-parameters of an architecture whose layers are all alike.

    partial_rope: whether it may rotate only a part of a head. experts: whether it may have routed experts.
    predicts: whether it may have blocks at its end that predict further tokens; they are passed over. n_ff: of a file
    that doesn't say; None: it must. latent: whether values may have another length than keys (multi-head latent
    attention).
    """
    layers = read_layers(meta, architecture, lo=1, n_ff=n_ff)
    for field, key in LAYER_KEYS.items():
        values = [getattr(layer, field) for layer in layers]
        if len(set(values)) > 1:
            found = f"{architecture}.{key} differs between layers ({values[:8]} …)"
            raise UnsupportedError(f"{found}; {architecture} is supported with the same for all")
    base = read_base(
        meta, architecture, n_vocab, layers,
        partial_rope=partial_rope, experts=experts, predicts=predicts, latent=latent,
    )  # fmt: skip
    return Config(**vars(base), **vars(layers[0]))


def read_layers(
    meta: Metadata,
    architecture: str,
    *,
    lo: int,
    lo_kv: int | None = None,
    lo_ff: int | None = None,
    n_ff: int | None = None,
) -> list[Layer]:
    """The sizes of each layer, from one number for all of them or from an array.

    lo: 0 where a layer may do without; lo_kv, lo_ff: of KV heads and of the feed-forward part, if that differs. n_ff:
    of a file that doesn't say; None: it must.
    """
    n_layer = meta.u32(f"{architecture}.block_count", lo=1, hi=MAX_LAYERS)
    keys = {field: f"{architecture}.{key}" for field, key in LAYER_KEYS.items()}
    n_head = meta.u32_or_array(keys["n_head"], n_layer, lo=lo, hi=MAX_WIDTH)
    has_kv = keys["n_head_kv"] in meta
    lo_kv = lo if lo_kv is None else lo_kv
    n_head_kv = meta.u32_or_array(keys["n_head_kv"], n_layer, lo=lo_kv, hi=max(n_head)) if has_kv else n_head
    if n_ff is None or keys["n_ff"] in meta:
        widths = meta.u32_or_array(keys["n_ff"], n_layer, lo=lo if lo_ff is None else lo_ff, hi=MAX_WIDTH)
    else:
        widths = [n_ff] * n_layer
    layers = [Layer(*sizes) for sizes in zip(n_head, n_head_kv, widths, strict=True)]
    for i, layer in enumerate(layers):
        if layer.n_head_kv > layer.n_head or (layer.n_head_kv and layer.n_head % layer.n_head_kv):
            found = f"{keys['n_head_kv']} = {layer.n_head_kv} in layer {i}"
            raise FormatError(f"{found} does not divide {keys['n_head']} = {layer.n_head}: {HINT}")
    return layers


def read_base(
    meta: Metadata,
    architecture: str,
    n_vocab: int,
    layers: list[Layer],
    *,
    partial_rope: bool = False,
    experts: bool = False,
    predicts: bool = False,
    eps: str = "attention.layer_norm_rms_epsilon",
    latent: bool = False,
) -> BaseConfig:
    """The hyper-parameters that all layers share. Heads are by default as long as layer 0 has it. eps: its key."""
    a = f"{architecture}."
    n_embd = meta.u32(a + "embedding_length", lo=1, hi=MAX_WIDTH)
    first, most = layers[0].n_head, max(layer.n_head for layer in layers)
    if a + "attention.key_length" not in meta and first and n_embd % first:
        raise FormatError(f"{a}attention.head_count = {first} does not divide {a}embedding_length = {n_embd}: {HINT}")
    head_dim = meta.u32(a + "attention.key_length", n_embd // first if first else 0, lo=1, hi=MAX_HEAD_DIM)
    if most * head_dim > MAX_WIDTH:
        found = f"{a}attention.head_count = {most} heads of {head_dim} values"
        raise FormatError(f"{found}; all together may have {MAX_WIDTH}: {HINT}")
    value_length = meta.u32(a + "attention.value_length", head_dim, lo=1, hi=MAX_HEAD_DIM)
    if value_length != head_dim and not latent:
        raise UnsupportedError(
            f"{a}attention.value_length = {value_length} differs from key_length = {head_dim}; they must be equal"
        )
    if not experts and meta.u32(a + "expert_count", 0):
        raise UnsupportedError(f"{a}expert_count: {architecture} is supported without routed experts")
    n_ctx_train = meta.u32(a + "context_length", lo=1)
    n_predict = meta.u32(a + "nextn_predict_layers", 0, hi=len(layers) - 1) if predicts else 0
    return BaseConfig(
        architecture=architecture,
        n_layer=len(layers) - n_predict,
        n_embd=n_embd,
        head_dim=head_dim,
        n_ctx_train=n_ctx_train,
        n_vocab=n_vocab,
        eps=meta.f32(a + eps, lo=MIN_EPS, hi=1.0),
        rope=read_rope(meta, a, head_dim, n_ctx_train, partial=partial_rope),
    )


def read_scale(meta: Metadata, key: str, default: float = 1.0) -> float:
    """A factor of some part of the computation; 0 means none, as in llama.cpp."""
    return meta.f32(key, default, lo=0.0, hi=MAX_SCALE) or 1.0


def read_windows(meta: Metadata, architecture: str, n_layer: int, *, window: int, period: int) -> tuple[int, ...]:
    """How many positions the queries of each layer see, their own included; 0 for all.

    window, period: defaults for a file that does not say. Each period-th layer sees all, unless the file has an array
    that names the layers with a window. No window, or 0: all layers see all.
    """
    window = meta.u32(f"{architecture}.attention.sliding_window", window)
    pattern = meta.u32_or_bools(f"{architecture}.attention.sliding_window_pattern", n_layer, period, lo=1)
    local = pattern if isinstance(pattern, list) else [(i + 1) % pattern != 0 for i in range(n_layer)]
    return tuple(window if is_local else 0 for is_local in local)

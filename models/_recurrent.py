"""Parts of models some of whose layers are recurrent: which layers these are, the short convolution, Mamba-2."""

from dataclasses import dataclass, replace
from typing import Any

from subbyte.errors import FormatError
from subbyte.models._config import MAX_HEAD_DIM, MAX_WIDTH, Config, Layer, read_base, read_layers
from subbyte.models._experts import ExpertsConfig
from subbyte.models._graph import Graph, Normed, Projection, Value
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._weights import Weights

MAX_CONV_WIDTH = 16


@dataclass(frozen=True)
class HybridConfig(Config):
    """Of a model whose layers differ; its own sizes are those of layer 0. A layer without KV heads has no attention."""

    layers: tuple[Layer, ...]

    def of_layer(self, i: int) -> Config:
        """With the sizes of a layer."""
        return replace(self, **vars(self.layers[i]))


def read_hybrid(meta: Metadata, architecture: str, n_vocab: int, *, lo_ff: int = 1, **base: Any) -> HybridConfig:
    """The hyper-parameters of a model in which layers without KV heads are recurrent.

    lo_ff: 0 where a layer may have no feed-forward part. base: what `read_base` has besides.
    """
    layers = read_layers(meta, architecture, lo=1, lo_kv=0, lo_ff=lo_ff)
    if not any(layer.n_head_kv for layer in layers):
        found = f"{architecture}.attention.head_count_kv is 0 in every layer"
        raise FormatError(f"{found}; a model needs attention in one: {HINT}")
    c = read_base(meta, architecture, n_vocab, layers, **base)
    return HybridConfig(**vars(c), **vars(layers[0]), layers=tuple(layers))


def read_conv_width(meta: Metadata, key: str) -> int:
    """How many inputs of a channel a convolution sees, the token's own included."""
    return meta.u32(key, lo=2, hi=MAX_CONV_WIDTH)


@dataclass(frozen=True)
class Mamba2Config:
    """n_keys: the length of B and of C, of which heads of one group share theirs. width: of the convolution."""

    n_heads: int
    head_dim: int
    n_groups: int
    n_keys: int
    width: int

    @property
    def n_inner(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def n_channels(self) -> int:
        """What the convolution sees: x, B and C."""
        return self.n_inner + 2 * self.n_groups * self.n_keys

    @property
    def n_inputs(self) -> int:
        """With the gates z, and dt of each head."""
        return self.n_inner + self.n_channels + self.n_heads


def read_mamba2(meta: Metadata, a: str) -> Mamba2Config:
    """The hyper-parameters of Mamba-2 layers of architecture prefix a."""
    n_inner = meta.u32(a + "ssm.inner_size", lo=1, hi=MAX_WIDTH)
    n_heads = meta.u32(a + "ssm.time_step_rank", lo=1, hi=n_inner)
    n_groups = meta.u32(a + "ssm.group_count", lo=1, hi=n_heads)
    n_keys = meta.u32(a + "ssm.state_size", lo=1, hi=MAX_HEAD_DIM)
    for key, whole, part in (("inner_size", n_inner, n_heads), ("time_step_rank", n_heads, n_groups)):
        if whole % part:
            of = "time_step_rank" if key == "inner_size" else "group_count"
            raise FormatError(f"{a}ssm.{of} = {part} does not divide {a}ssm.{key} = {whole}: {HINT}")
    c = Mamba2Config(n_heads, n_inner // n_heads, n_groups, n_keys, read_conv_width(meta, a + "ssm.conv_kernel"))
    if c.n_inputs > MAX_WIDTH:
        found = f"{a}ssm.inner_size = {n_inner}, {a}ssm.group_count = {n_groups} and {a}ssm.state_size = {n_keys}"
        raise FormatError(f"{found} make {c.n_inputs} inputs of a layer; there may be {MAX_WIDTH}: {HINT}")
    return c


def mamba2(g: Graph, x: Value | Normed, b: Weights, c: Mamba2Config, n_embd: int, eps: float) -> Projection:
    """ssm_out @ Mamba-2's heads of ssm_in @ x."""
    (inputs,) = g.linears(x, b.linear("ssm_in", n_embd, c.n_inputs))
    y = g.mamba2(
        inputs, **vars(c), convolution=b.convolution("ssm_conv1d", c.width, c.n_channels),
        bias=b.bias("ssm_conv1d", c.n_channels), a=b.floats("ssm_a", (1, c.n_heads)),
        dt=b.vector("ssm_dt", c.n_heads, "bias"), skip=b.floats("ssm_d", (1, c.n_heads)),
        norm=b.floats("ssm_norm.weight", (c.n_inner // c.n_groups, c.n_groups)) if "ssm_norm" in b else None, eps=eps,
    )  # fmt: skip
    return g.linear(y, b.linear("ssm_out", c.n_inner, n_embd))


def read_short_conv(meta: Metadata, a: str) -> int:
    """The width of the convolutions of architecture prefix a."""
    meta.u32(a + "embedding_length", lo=1, hi=MAX_WIDTH // 3)  # three of it come out of one projection
    return read_conv_width(meta, a + "shortconv.l_cache")


def short_conv(g: Graph, x: Value | Normed, b: Weights, n_embd: int, width: int) -> Projection:
    """shortconv.out_proj @ (c * convolution(b * u)), of shortconv.in_proj @ x = [b, c, u]."""
    (bcu,) = g.linears(x, b.linear("shortconv.in_proj", n_embd, 3 * n_embd))
    y = g.short_conv(bcu, width=width, convolution=b.convolution("shortconv.conv", width, n_embd))
    return g.linear(y, b.linear("shortconv.out_proj", n_embd, n_embd))


def short_conv_decoder(
    g: Graph, c: HybridConfig, w: Weights, conv_width: int, *, window: int = 0, routed: ExpertsConfig | None = None
) -> None:
    """A whole model of short convolutions and a few layers of attention. The last norm is named token_embd_norm."""
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for i in range(c.n_layer):
        b, layer = w.block(i), c.of_layer(i)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        if layer.n_head_kv:
            x = x + self_attention(g, n, b, layer, rope=rope, norms="heads", window=window)
        else:
            x = x + short_conv(g, n, b, c.n_embd, conv_width)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, layer, i, routed)

    g.head(g.rms_norm(x, w.vector("token_embd_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

"""Parts of a layer that several architectures share: grouped-query attention, and the feed-forward part.

What a family does otherwise than these is written out in its own file.
"""

from typing import Protocol

from subbyte.models._experts import ExpertsConfig, experts
from subbyte.models._graph import Graph, Normed, Projection, Routed, Value
from subbyte.models._weights import Vector, Weights


class Attends(Protocol):
    """The hyper-parameters of attention, as `Config` has them."""

    @property
    def n_embd(self) -> int: ...
    @property
    def n_head(self) -> int: ...
    @property
    def n_head_kv(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def n_q(self) -> int: ...
    @property
    def n_kv(self) -> int: ...
    @property
    def eps(self) -> float: ...


class Mixes(Protocol):
    """The hyper-parameters of a feed-forward part that has routed experts in some layers."""

    @property
    def n_embd(self) -> int: ...
    @property
    def n_ff(self) -> int: ...
    @property
    def experts(self) -> ExpertsConfig: ...


def self_attention(
    g: Graph, x: Value | Normed, b: Weights, c: Attends, *, rope: int | None, window: int = 0
) -> Projection:
    """attn_output @ attention(attn_q @ x, attn_k @ x, attn_v @ x), with head norms if the layer has them.

    rope: None for none. window: how many positions a query sees, its own included; 0 for all.
    """

    def head_norm(name: str) -> Vector | None:
        return b.vector(name, c.head_dim) if name in b else None

    q, k, v = g.linears(x, *b.qkv(c.n_embd, c.n_q, c.n_kv))
    a = g.attention(
        q, k, v, n_head=c.n_head, n_head_kv=c.n_head_kv, head_dim=c.head_dim, rope=rope, window=window, eps=c.eps,
        q_norm=head_norm("attn_q_norm"), k_norm=head_norm("attn_k_norm"),
    )  # fmt: skip
    return g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))


def feed_forward(g: Graph, x: Value | Normed, b: Weights, c: Mixes, layer: int) -> Projection | Routed:
    """SwiGLU: of routed experts in the layers that have them, else of one network."""
    if c.experts.in_layer(layer):
        return g.experts(x, experts(b, c.n_embd, c.experts), "silu")
    f = g.glu(x, *b.gate_up(c.n_embd, c.n_ff), "silu")
    return g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

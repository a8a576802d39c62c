"""Parts of a layer that several architectures share: grouped-query attention, and the feed-forward part.

What a family does otherwise than these is written out in its own file.
"""

from typing import Any, Literal, TypeAlias

from subbyte.models._config import Config
from subbyte.models._experts import ExpertsConfig, experts
from subbyte.models._graph import Graph, Normed, Projection, Routed, Value
from subbyte.models._weights import Vector, Weights

Norms: TypeAlias = Literal["none", "heads", "whole"]
"""What RMSNorm queries and keys have: each head of them, or all before they are cut into heads."""


def self_attention(
    g: Graph,
    x: Value | Normed,
    b: Weights,
    c: Config,
    *,
    rope: int | None,
    norms: Norms = "none",
    **variant: Any,
) -> Projection:
    """attn_output @ attention(attn_q @ x, attn_k @ x, attn_v @ x).

    rope: None for none. norms: by attn_q_norm and attn_k_norm. variant: what `Graph.attention` has besides.
    """

    def head_norm(name: str) -> Vector | None:
        return b.vector(name, c.head_dim) if norms == "heads" else None

    def whole(z: Value, name: str) -> Value | Normed:
        return g.rms_norm(z, b.vector(name, z.width), c.eps) if norms == "whole" else z

    q, k, v = g.linears(x, *b.qkv(c.n_embd, c.n_q, c.n_kv))
    a = g.attention(
        whole(q, "attn_q_norm"), whole(k, "attn_k_norm"), v, n_head=c.n_head, n_head_kv=c.n_head_kv,
        head_dim=c.head_dim, rope=rope, eps=c.eps,
        q_norm=head_norm("attn_q_norm"), k_norm=head_norm("attn_k_norm"), **variant,
    )  # fmt: skip
    return g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))


def feed_forward(g: Graph, x: Value | Normed, b: Weights, c: Config, activation: str = "silu") -> Projection:
    """ffn_down @ (activation(ffn_gate @ x) * (ffn_up @ x)): SwiGLU, or GeGLU."""
    f = g.glu(x, *b.gate_up(c.n_embd, c.n_ff), activation)
    return g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))


def dense_or_experts(
    g: Graph, x: Value | Normed, b: Weights, c: Config, layer: int, routed: ExpertsConfig | None
) -> Projection | Routed:
    """SwiGLU: of routed experts in the layers that have them, else of one network."""
    if routed is not None and routed.in_layer(layer):
        return g.experts(x, experts(b, c.n_embd, routed), "silu")
    return feed_forward(g, x, b, c)

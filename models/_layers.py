"""Parts of a layer that several architectures share: grouped-query attention, and the feed-forward part.

What a family does otherwise than these is written out in its own file.
"""

from typing import Any

from subbyte.models._config import Config
from subbyte.models._experts import ExpertsConfig, experts
from subbyte.models._graph import Graph, Normed, Projection, Routed, Value
from subbyte.models._weights import Vector, Weights


def self_attention(
    g: Graph,
    x: Value | Normed,
    b: Weights,
    c: Config,
    *,
    rope: int | None,
    whole_norms: bool = False,
    **variant: Any,
) -> Projection:
    """attn_output @ attention(attn_q @ x, attn_k @ x, attn_v @ x), queries and keys normed if the layer has norms.

    rope: None for none. whole_norms: queries and keys are normed before they are cut into heads, not head by head.
    variant: what `Graph.attention` has besides.
    """

    def head_norm(name: str) -> Vector | None:
        return b.vector(name, c.head_dim) if name in b and not whole_norms else None

    def whole(z: Value, name: str) -> Value | Normed:
        return g.rms_norm(z, b.vector(name, z.width), c.eps) if whole_norms else z

    q, k, v = g.linears(x, *b.qkv(c.n_embd, c.n_q, c.n_kv))
    a = g.attention(
        whole(q, "attn_q_norm"), whole(k, "attn_k_norm"), v, n_head=c.n_head, n_head_kv=c.n_head_kv,
        head_dim=c.head_dim, rope=rope, eps=c.eps,
        q_norm=head_norm("attn_q_norm"), k_norm=head_norm("attn_k_norm"), **variant,
    )  # fmt: skip
    return g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))


def feed_forward(
    g: Graph, x: Value | Normed, b: Weights, c: Config, layer: int, routed: ExpertsConfig | None = None
) -> Projection | Routed:
    """SwiGLU: of routed experts in the layers that have them, else of one network."""
    if routed is not None and routed.in_layer(layer):
        return g.experts(x, experts(b, c.n_embd, routed), "silu")
    f = g.glu(x, *b.gate_up(c.n_embd, c.n_ff), "silu")
    return g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

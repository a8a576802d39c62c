"""Gemma 4 (text): head sizes of two kinds of layers, keys and values that layers share, per-layer embeddings.

GGUF architecture: gemma4. Gemma Team, "Gemma 4" (2026); sizes E2B, E4B, 12B, 26B-A4B and 31B. Norms stand before and
after each part, queries, keys and values are normed, attention is not scaled. The small ones have an embedding of each
token for each layer, and their last layers attend to keys and values of earlier ones; 26B-A4B has experts beside the
dense feed-forward part.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from subbyte.errors import FormatError, UnsupportedError
from subbyte.models._config import MAX_HEAD_DIM, MAX_WIDTH, BaseConfig, Layer, Widths, read_base, read_layers
from subbyte.models._experts import ExpertsConfig, experts, read_experts
from subbyte.models._graph import Graph, Normed, Projection, Value
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._rope import MIN_FREQ_BASE, Rope
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Gemma4Layer(Widths, Layer):
    """window: how many positions its queries see, 0 for all. keys_of: the layer whose keys and values it attends to."""

    head_dim: int
    window: int
    keys_of: int


@dataclass(frozen=True)
class Gemma4Config(BaseConfig):
    """n_embd_layer: of a token's embedding for each layer, 0 for none."""

    layers: tuple[Gemma4Layer, ...]
    rope_local: Rope
    n_embd_layer: int
    experts: ExpertsConfig | None
    softcap: float


def configure(meta: Metadata, n_vocab: int) -> Gemma4Config:
    sizes = read_layers(meta, "gemma4", lo=1)
    base = read_base(meta, "gemma4", n_vocab, sizes, partial_rope=True, experts=True)
    n_head = max(layer.n_head for layer in sizes)
    head_dim = meta.u32("gemma4.attention.key_length_swa", lo=1, hi=min(MAX_HEAD_DIM, MAX_WIDTH // n_head))
    value_length = meta.u32("gemma4.attention.value_length_swa", head_dim)
    if value_length != head_dim:
        found = f"gemma4.attention.value_length_swa = {value_length}"
        raise UnsupportedError(f"{found} differs from key_length_swa = {head_dim}; they must be equal")
    n_rot = meta.u32("gemma4.rope.dimension_count_swa", head_dim, lo=2, hi=head_dim)
    if n_rot % 2:
        raise FormatError(f"gemma4.rope.dimension_count_swa = {n_rot} is odd; rope rotates pairs: {HINT}")
    return Gemma4Config(
        **vars(base),
        layers=read_kinds(meta, sizes, base.head_dim, head_dim),
        rope_local=Rope(n_rot, meta.f32("gemma4.rope.freq_base_swa", 10000.0, lo=MIN_FREQ_BASE)),
        n_embd_layer=meta.u32("gemma4.embedding_length_per_layer_input", 0, hi=MAX_WIDTH // base.n_layer),
        experts=read_experts(meta, "gemma4") if meta.u32("gemma4.expert_count", 0) else None,
        softcap=meta.f32("gemma4.final_logit_softcapping", 30.0, lo=0.0, hi=1e6),
    )


def read_kinds(meta: Metadata, sizes: list[Layer], head_dim: int, head_dim_local: int) -> tuple[Gemma4Layer, ...]:
    """What kind each layer is of. The last ones attend to keys and values of the last of their kind before them."""
    pattern = meta.u32_or_bools("gemma4.attention.sliding_window_pattern", len(sizes), 0, lo=0)
    if not isinstance(pattern, list):
        raise FormatError(
            f"gemma4.attention.sliding_window_pattern is {pattern or 'missing'}; an array says which layers have a "
            f"window: {HINT}"
        )
    window = meta.u32("gemma4.attention.sliding_window", lo=1)
    n_own = len(sizes) - meta.u32("gemma4.attention.shared_kv_layers", 0, hi=len(sizes) - 1)
    layers: list[Gemma4Layer] = []
    for i, (size, local) in enumerate(zip(sizes, pattern, strict=True)):
        keys_of = max((of for of in range(min(i + 1, n_own)) if pattern[of] == local), default=None)
        if keys_of is None or size.n_head_kv != sizes[keys_of].n_head_kv:
            raise FormatError(
                f"gemma4.attention.shared_kv_layers = {len(sizes) - n_own}: no layer of the same kind and as many KV "
                f"heads before them has keys for layer {i}: {HINT}"
            )
        kind = {"head_dim": head_dim_local, "window": window} if local else {"head_dim": head_dim, "window": 0}
        layers.append(Gemma4Layer(**vars(size), **kind, keys_of=keys_of))
    return tuple(layers)


def forward(g: Graph, c: Gemma4Config, w: Weights) -> None:
    rope_global = g.rope(c.rope.angles(w, must_have_factors=True), interleaved=False)
    rope_local = g.rope(c.rope_local.angles(), interleaved=False)
    attentions: list[Value] = []

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scale=c.n_embd**0.5)
    per_layer = per_layer_embeddings(g, c, w, x) if c.n_embd_layer else None
    for i, layer in enumerate(c.layers):
        b = w.block(i)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        rope = rope_local if layer.window else rope_global
        a = attend(g, n, b, c, layer, rope, attentions[layer.keys_of] if layer.keys_of < i else None)
        attentions.append(a)
        attn_output = g.linear(a, b.linear("attn_output", layer.n_q, c.n_embd))
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        f = g.glu(n, *b.gate_up(c.n_embd, layer.n_ff), "gelu")
        ffn_down = g.linear(f, b.linear("ffn_down", layer.n_ff, c.n_embd))
        m = ffn_down if c.experts is None else beside_experts(g, x, ffn_down, b, c, c.experts)
        x = x + g.rms_norm(m, b.vector("post_ffw_norm", c.n_embd), c.eps)

        if per_layer is not None:
            inp_gate = b.linear("inp_gate", c.n_embd, c.n_embd_layer)
            e = g.gated(x, inp_gate, per_layer, "gelu", column=i * c.n_embd_layer)
            proj = g.linear(e, b.linear("proj", c.n_embd_layer, c.n_embd))
            x = x + g.rms_norm(proj, b.vector("post_norm", c.n_embd), c.eps)
        if "layer_output_scale" in b:
            x = float(b.vector("layer_output_scale", 1)[0]) * x

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab), c.softcap)


def per_layer_embeddings(g: Graph, c: Gemma4Config, w: Weights, x: Value) -> Value:
    """What the layers have of each token, one behind the other: an embedding, and a part that is made of x.

    (√n_embd_layer · per_layer_token_embd[token] + RMSNorm(per_layer_model_proj @ x / √n_embd)) / √2, each layer's part
    normed for itself.
    """
    n = c.n_embd_layer * c.n_layer
    p = g.embed(w.linear("per_layer_token_embd", n, c.n_vocab), scale=(c.n_embd_layer / 2) ** 0.5)
    proj = c.n_embd**-0.5 * g.linear(x, w.linear("per_layer_model_proj", c.n_embd, n))
    norm = np.tile(w.vector("per_layer_proj_norm", c.n_embd_layer), c.n_layer) * np.float32(0.5**0.5)
    return p + g.rms_norm(proj, norm, c.eps, n_groups=c.n_layer)


def attend(
    g: Graph, x: Normed, b: Weights, c: Gemma4Config, layer: Gemma4Layer, rope: int, others: Value | None
) -> Value:
    """Attention of normed queries, not scaled, to normed keys and values, or to those of an earlier attention, others.

    Without attn_v keys, before their norm and rope, are values, too.
    """
    variant: dict[str, Any] = {
        "n_head": layer.n_head, "n_head_kv": layer.n_head_kv, "head_dim": layer.head_dim, "window": layer.window,
        "rope": rope, "scale": 1.0, "eps": c.eps, "q_norm": b.vector("attn_q_norm", layer.head_dim),
    }  # fmt: skip
    fused = "attn_qkv" in b
    if others is not None:
        b.pass_over("attn_k", "attn_v", "attn_k_norm")
        qkv = b.qkv(c.n_embd, layer.n_q, layer.n_kv) if fused else [b.linear("attn_q", c.n_embd, layer.n_q)]
        return g.attention(g.linears(x, qkv[0])[0], None, None, keys_of=others, **variant)
    if fused or "attn_v" in b:
        qkv = b.qkv(c.n_embd, layer.n_q, layer.n_kv)
    else:
        qkv = [b.linear("attn_q", c.n_embd, layer.n_q), b.linear("attn_k", c.n_embd, layer.n_kv)]
    q, k, *v = g.linears(x, *qkv)
    k_norm, without_weight = b.vector("attn_k_norm", layer.head_dim), np.ones(layer.head_dim, np.float32)
    return g.attention(q, k, v[0] if v else None, k_norm=k_norm, v_norm=without_weight, **variant)


def beside_experts(g: Graph, x: Value, dense: Projection, b: Weights, c: Gemma4Config, routed: ExpertsConfig) -> Value:
    """The sum of a dense feed-forward part and of experts, chosen by x as the router norms it."""
    m = g.rms_norm(dense, b.vector("post_ffw_norm_1", c.n_embd), c.eps).computed()
    n = g.rms_norm(x, b.vector("pre_ffw_norm_2", c.n_embd), c.eps)
    router_input = g.rms_norm(x, b.vector("ffn_gate_inp", c.n_embd, "scale") * np.float32(c.n_embd**-0.5), c.eps)
    moe = g.experts(n, experts(b, c.n_embd, routed), "gelu", routed_by=router_input)
    return m + g.rms_norm(moe, b.vector("post_ffw_norm_2", c.n_embd), c.eps)

"""DeepSeek V2 and V3, GLM-4.7-Flash, Moonlight, Kanana 2, GigaChat 3, Kimi K2: latent attention, routed experts.

GGUF architecture: deepseek2. DeepSeek-AI, "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language
Model" (2024). Multi-head latent attention: the keys and values of all heads are linear maps of one short vector c, and
only that is cached, with a key p of all heads that rope turns. The maps are absorbed into what stands before and behind
attention: q_h . (K_h c) = (K_h^T q_h) . c, and the weighted sum of V_h c is V_h times that of c. So all heads attend to
one row [c, p], which is key and value. Rope rotates neighbours (2p, 2p + 1). The first layers are dense; blocks at the
end that predict further tokens are passed over.
"""

import logging
import math
from dataclasses import dataclass, replace

from subbyte.errors import FormatError
from subbyte.models._config import MAX_HEAD_DIM, MAX_WIDTH, Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph, Normed, Projection, Value
from subbyte.models._layers import dense_or_experts
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._rope import Rope
from subbyte.models._weights import Weights

_log = logging.getLogger("subbyte")

GLM_VOCABULARY = 154880  # of GLM-4.7-Flash, whose first files don't say that its router takes sigmoids


@dataclass(frozen=True)
class DeepSeek2Config(Config):
    """q_rank: of the queries' maps, 0 for one map. kv_rank: length of c. n_nope, n_value: of a head, where rope turns
    nothing, and of its values. n_rot more of a head are turned; head_dim is that of [c, p].
    """

    q_rank: int
    kv_rank: int
    n_nope: int
    n_value: int
    scale: float
    experts: ExpertsConfig | None


def configure(meta: Metadata, n_vocab: int) -> DeepSeek2Config:
    a = "deepseek2."
    c = read_config(meta, "deepseek2", n_vocab, partial_rope=True, experts=True, predicts=True, latent=True)
    kv_rank, n_rot = meta.u32(a + "attention.kv_lora_rank", lo=1, hi=MAX_HEAD_DIM), c.rope.n_rot
    n_key, n_value = read_lengths(meta, a, n_rot, kv_rank + n_rot)
    if c.n_head * max(n_key, n_value, kv_rank + n_rot) > MAX_WIDTH:
        found = f"{a}attention.head_count = {c.n_head} heads of {n_key} values, {kv_rank + n_rot} in the cache"
        raise FormatError(f"{found}; all together may have {MAX_WIDTH}: {HINT}")
    rope, scale = read_sharpness(meta, a, c.rope)
    gating = "sigmoid" if n_vocab == GLM_VOCABULARY else "softmax"
    routed = meta.u32(a + "expert_count", 0) > 0
    return DeepSeek2Config(
        **{**vars(c), "rope": rope, "head_dim": kv_rank + n_rot},
        q_rank=meta.u32(a + "attention.q_lora_rank", 0, hi=MAX_WIDTH),
        kv_rank=kv_rank,
        n_nope=n_key - n_rot,
        n_value=n_value,
        scale=scale / math.sqrt(n_key),
        experts=read_experts(meta, "deepseek2", gating=gating, renormalize=False) if routed else None,
    )


def read_lengths(meta: Metadata, a: str, n_rot: int, n_cached: int) -> tuple[int, int]:
    """Lengths of a head's keys, of which rope turns n_rot values and leaves some, and of its values.

    Files of before April 2025 have them where others have the lengths in the cache.
    """
    key, value = a + "attention.key_length", a + "attention.value_length"
    if key + "_mla" in meta or value + "_mla" in meta:
        if meta.u32(key) != n_cached:
            found = f"{key} = {meta.u32(key)}, but kv_lora_rank and rope.dimension_count make {n_cached}"
            raise FormatError(f"{found} with {key}_mla; they must be equal: {HINT}")
        key, value = key + "_mla", value + "_mla"
    return meta.u32(key, lo=n_rot + 1, hi=MAX_HEAD_DIM), meta.u32(value, lo=1, hi=MAX_HEAD_DIM)


def read_sharpness(meta: Metadata, a: str, rope: Rope) -> tuple[Rope, float]:
    """yarn makes scores sharper as a whole where a file says how much (mscale_all_dim), else by what rope turns."""
    log_multiplier = 10 * meta.f32(a + "rope.scaling.yarn_log_multiplier", 0.0, lo=0.0, hi=10.0)
    if rope.kind != "yarn" or not log_multiplier:
        return rope, rope.attn_factor**2
    stretch = 0.1 * math.log(max(1.0, rope.factor))
    return replace(rope, log_multiplier=1.0), (rope.attn_factor * (1 + log_multiplier * stretch)) ** 2


def forward(g: Graph, c: DeepSeek2Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    if is_old(w.block(0)):
        n_bytes = 4 * c.n_layer * c.n_head * c.kv_rank * c.n_nope
        _log.info("attn_kv_b: its maps to keys are transposed, in %.0f MB of memory", n_bytes / 1e6)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + latent_attention(g, n, b, c, rope)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))


def is_old(b: Weights) -> bool:
    """Whether a layer's maps to keys and values are one tensor, as in training and in files of before April 2025."""
    return "attn_kv_b" in b and "attn_k_b" not in b


def latent_attention(g: Graph, x: Value | Normed, b: Weights, c: DeepSeek2Config, rope: int) -> Projection:
    """attn_output @ [V_h @ attention(queries [K_h^T @ q_h, what rope turns], keys and values [c, p])]."""
    n_q, n_latent = c.n_head * (c.n_nope + c.rope.n_rot), c.kv_rank + c.rope.n_rot
    down = b.linear("attn_kv_a_mqa", c.n_embd, n_latent)
    if c.q_rank:
        q, latent = g.linears(x, b.linear("attn_q_a", c.n_embd, c.q_rank), down)
        q_norm = b.vector("attn_q_a_norm", c.q_rank)
        (q,) = g.linears(g.rms_norm(q, q_norm, c.eps), b.linear("attn_q_b", c.q_rank, n_q))
    else:
        q, latent = g.linears(x, b.linear("attn_q", c.n_embd, n_q), down)

    if is_old(b):
        n_rows = c.n_nope + c.n_value
        keys = b.transposed("attn_kv_b", c.kv_rank, n_rows, c.n_head, c.n_nope)
        values, first_row = b.linear("attn_kv_b", c.kv_rank, c.n_head * n_rows), c.n_nope
    else:
        keys = b.of_heads("attn_k_b", c.n_nope, c.kv_rank, c.n_head)
        values, first_row = b.of_heads("attn_v_b", c.kv_rank, c.n_value, c.n_head), 0

    q = g.head_linear(q, keys, n_head=c.n_head, passed=c.rope.n_rot)
    a = g.attention(
        q, latent, None, n_head=c.n_head, n_head_kv=1, head_dim=n_latent, rope=rope, rope_start=c.kv_rank,
        k_norm=b.vector("attn_kv_a_norm", c.kv_rank), eps=c.eps, scale=c.scale, one_row=True,
    )  # fmt: skip
    a = g.head_linear(a, values, n_head=c.n_head, first_row=first_row, n_rows=c.n_value)
    return g.linear(a, b.linear("attn_output", c.n_head * c.n_value, c.n_embd))

"""Ministral 3 and Mistral Small 3.2: a Llama whose queries grow with their position, with yarn.

GGUF architecture: mistral3. Mistral AI (2025). Beyond each original_context_length positions queries are multiplied by
a little more (the temperature of Llama 4). yarn_log_multiplier takes back what yarn multiplies queries and keys by.
Rope rotates neighbours (2p, 2p + 1).
"""

from dataclasses import dataclass, replace

from subbyte.models._config import MAX_SCALE, Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Mistral3Config(Config):
    temperature_scale: float


def configure(meta: Metadata, n_vocab: int) -> Mistral3Config:
    c = read_config(meta, "mistral3", n_vocab)
    log_multiplier = meta.f32("mistral3.rope.scaling.yarn_log_multiplier", 0.0, lo=0.0, hi=100.0)
    c = replace(c, rope=replace(c.rope, log_multiplier=log_multiplier))
    temperature_scale = meta.f32("mistral3.attention.temperature_scale", 0.0, lo=0.0, hi=MAX_SCALE)
    return Mistral3Config(**vars(c), temperature_scale=temperature_scale)


def forward(g: Graph, c: Mistral3Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        q, k, v = g.linears(n, *b.qkv(c.n_embd, c.n_q, c.n_kv))
        a = g.attention(
            q, k, v, n_head=c.n_head, n_head_kv=c.n_head_kv, head_dim=c.head_dim, rope=rope,
            temperature_scale=c.temperature_scale, temperature_length=c.rope.n_ctx_orig,
        )  # fmt: skip
        x = x + g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        f = g.glu(n, *b.gate_up(c.n_embd, c.n_ff), "silu")
        x = x + g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

"""Ministral 3 and Mistral Small 3.2: a Llama whose queries grow with their position, with yarn.

GGUF architecture: mistral3. Mistral AI (2025). Beyond each original_context_length positions queries are multiplied by
a little more (the temperature of Llama 4). yarn_log_multiplier takes back what yarn multiplies queries and keys by.
Rope rotates neighbours (2p, 2p + 1).
"""

from dataclasses import dataclass, replace

from subbyte.models._config import MAX_SCALE, Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Mistral3Config(Config):
    temperature_scale: float
    experts: ExpertsConfig | None


def configure(meta: Metadata, n_vocab: int) -> Mistral3Config:
    c = read_config(meta, "mistral3", n_vocab, experts=True)
    log_multiplier = meta.f32("mistral3.rope.scaling.yarn_log_multiplier", 0.0, lo=0.0, hi=100.0)
    c = replace(c, rope=replace(c.rope, log_multiplier=log_multiplier))
    temperature_scale = meta.f32("mistral3.attention.temperature_scale", 0.0, lo=0.0, hi=MAX_SCALE)
    experts = read_experts(meta, "mistral3") if meta.u32("mistral3.expert_count", 0) else None
    return Mistral3Config(**vars(c), temperature_scale=temperature_scale, experts=experts)


def forward(g: Graph, c: Mistral3Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(
            g, n, b, c, rope=rope, temperature_scale=c.temperature_scale, temperature_length=c.rope.n_ctx_orig
        )

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

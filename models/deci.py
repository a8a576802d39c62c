"""Nemotron 51B, Super 49B and Ultra 253B, DeciLM: a Llama in which a search gave each layer sizes of its own.

GGUF architecture: deci. Bercovich et al., "Puzzle: Distillation-Based NAS for Inference-Optimized LLMs" (2024).
A layer's attention may be a single matrix ("linear attention", heads without KV heads) or missing (no heads); its
feed-forward part may be missing. Nothing is added to x for a missing part, and only layers with KV heads have a cache.
(llama.cpp also drops the attention of a layer that only has attention; no published model has such a layer.)
"""

from dataclasses import dataclass

from subbyte.errors import FormatError
from subbyte.models._config import BaseConfig, Layer, read_base, read_layers
from subbyte.models._graph import Graph, Projection, Value
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class DeciConfig(BaseConfig):
    layers: tuple[Layer, ...]


def configure(meta: Metadata, n_vocab: int) -> DeciConfig:
    layers = read_layers(meta, "deci", lo=0)
    if not any(layer.n_head_kv for layer in layers):
        raise FormatError(f"deci.attention.head_count_kv is 0 in every layer; a model needs attention in one: {HINT}")
    return DeciConfig(**vars(read_base(meta, "deci", n_vocab, layers)), layers=tuple(layers))


def forward(g: Graph, c: DeciConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for i, layer in enumerate(c.layers):
        b = w.block(i)
        if layer.n_head:
            x = x + (attention(g, x, c, layer, b, rope) if layer.n_head_kv else linear_attention(g, x, c, b))
        if layer.n_ff:
            x = x + feed_forward(g, x, c, layer, b)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))


def attention(g: Graph, x: Value, c: DeciConfig, layer: Layer, b: Weights, rope: int) -> Projection:
    n_q, n_kv = layer.n_head * c.head_dim, layer.n_head_kv * c.head_dim
    n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
    q, k, v = g.linears(n, *b.qkv(c.n_embd, n_q, n_kv))
    a = g.attention(q, k, v, n_head=layer.n_head, n_head_kv=layer.n_head_kv, head_dim=c.head_dim, rope=rope)
    return g.linear(a, b.linear("attn_output", n_q, c.n_embd))


def linear_attention(g: Graph, x: Value, c: DeciConfig, b: Weights) -> Projection:
    n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
    return g.linear(n, b.linear("attn_output", c.n_embd, c.n_embd))


def feed_forward(g: Graph, x: Value, c: DeciConfig, layer: Layer, b: Weights) -> Projection:
    n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
    f = g.glu(n, *b.gate_up(c.n_embd, layer.n_ff), "silu")
    return g.linear(f, b.linear("ffn_down", layer.n_ff, c.n_embd))

"""gpt-oss (20B, 120B): attention sinks, every other layer with a sliding window, experts with biases in MXFP4.

GGUF architecture: gpt-oss. OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card" (2025). A softmax over the chosen experts
alone weights them, and their SwiGLU is clamped. The norm before the feed-forward part is named post_attention_norm.
Rope rotates halves of a head; yarn stretches it by the default ramp, as in llama.cpp, whatever the file's beta keys
say.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._experts import ExpertsConfig, experts, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class GptOssConfig(Config):
    experts: ExpertsConfig
    windows: tuple[int, ...]


def configure(meta: Metadata, n_vocab: int) -> GptOssConfig:
    c = read_config(meta, "gpt-oss", n_vocab, experts=True)
    return GptOssConfig(
        **vars(c),
        experts=read_experts(meta, "gpt-oss", gating="softmax_of_chosen", renormalize=False),
        windows=read_windows(meta, "gpt-oss", c.n_layer, window=128, period=2),
    )


def forward(g: Graph, c: GptOssConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, window=window, sinks=b.vector("attn_sinks", c.n_head))

        n = g.rms_norm(x, b.vector("post_attention_norm", c.n_embd), c.eps)
        x = x + g.experts(n, experts(b, c.n_embd, c.experts), "clamped_silu")

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

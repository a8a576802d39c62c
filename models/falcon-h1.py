"""Falcon-H1 (0.5B to 34B): grouped-query attention and Mamba-2 side by side in every layer, SwiGLU.

GGUF architecture: falcon-h1. TII, "Falcon-H1: A Family of Hybrid-Head Language Models" (2025). Both read the same
normed input, and both are added. Its multipliers are in the weights: llama.cpp's converter has put them there. Rope
rotates halves (p, p + n_rot / 2).
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import Mamba2Config, mamba2, read_mamba2
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class FalconH1Config(Config):
    mamba: Mamba2Config


def configure(meta: Metadata, n_vocab: int) -> FalconH1Config:
    return FalconH1Config(**vars(read_config(meta, "falcon-h1", n_vocab)), mamba=read_mamba2(meta, "falcon-h1."))


def forward(g: Graph, c: FalconH1Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        both = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps).computed()  # before x is added to
        x = x + self_attention(g, both, b, c, rope=rope)
        x = x + mamba2(g, both, b, c.mamba, c.n_embd, c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + feed_forward(g, n, b, c)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

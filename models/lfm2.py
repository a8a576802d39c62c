"""LFM2 and LFM2.5 (230M to 2.6B): gated short convolutions, grouped-query attention in a few layers, SwiGLU.

GGUF architecture: lfm2. Liquid AI, "LFM2 Technical Report" (2025). Layers without KV heads are convolutions. Queries
and keys are normed head by head; rope rotates halves. The last norm is named token_embd_norm.
"""

from dataclasses import dataclass

from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import HybridConfig, read_hybrid, read_short_conv, short_conv_decoder
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Lfm2Config(HybridConfig):
    """window: how many positions attention sees, its own included; 0 for all."""

    conv_width: int
    window: int


def configure(meta: Metadata, n_vocab: int) -> Lfm2Config:
    c = read_hybrid(meta, "lfm2", n_vocab)
    return Lfm2Config(
        **vars(c),
        conv_width=read_short_conv(meta, "lfm2."),
        window=meta.u32("lfm2.attention.sliding_window", 0),
    )


def forward(g: Graph, c: Lfm2Config, w: Weights) -> None:
    short_conv_decoder(g, c, w, c.conv_width, window=c.window)

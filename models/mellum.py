"""Mellum 2: Qwen 3's attention, three layers of a sliding window to one that sees all, and routed experts.

GGUF architecture: mellum. JetBrains (2026). Only the layers that see all are stretched to longer contexts: rope is
plain in the others, with the same base.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._rope import Rope
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class MellumConfig(Config):
    experts: ExpertsConfig
    windows: tuple[int, ...]


def configure(meta: Metadata, n_vocab: int) -> MellumConfig:
    c = read_config(meta, "mellum", n_vocab, experts=True)
    return MellumConfig(
        **vars(c),
        experts=read_experts(meta, "mellum"),
        windows=read_windows(meta, "mellum", c.n_layer, window=0, period=4),
    )


def forward(g: Graph, c: MellumConfig, w: Weights) -> None:
    rope_global = g.rope(c.rope.angles(w), interleaved=False)
    rope_local = g.rope(Rope(c.rope.n_rot, c.rope.freq_base).angles(), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope_local if window else rope_global, window=window, norms="heads")

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

"""K-EXAONE: EXAONE 4's layers with norms in front, where only those with a window know positions, and experts.

GGUF architecture: exaone-moe. LG AI Research, "K-EXAONE Technical Report" (2026). Global layers have no rope. Experts
are chosen by sigmoids plus a bias, and a shared one joins them. Blocks at the end that predict further tokens are
passed over.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class ExaoneMoeConfig(Config):
    experts: ExpertsConfig
    windows: tuple[int, ...]


def configure(meta: Metadata, n_vocab: int) -> ExaoneMoeConfig:
    c = read_config(meta, "exaone-moe", n_vocab, experts=True, predicts=True)
    windows = read_windows(meta, "exaone-moe", meta.u32("exaone-moe.block_count"), window=128, period=4)
    return ExaoneMoeConfig(
        **vars(c),
        experts=read_experts(meta, "exaone-moe", gating="sigmoid", renormalize=False),
        windows=windows[: c.n_layer],
    )


def forward(g: Graph, c: ExaoneMoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope if window else None, window=window, norms="heads")

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))

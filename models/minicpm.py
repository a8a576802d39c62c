"""MiniCPM 1 and 2: Llama's layers, with factors of the embeddings, branches and logits.

GGUF architecture: minicpm. Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models" (2024). The logits
are divided by their factor. Files from before 2025 don't hold the factors: then they are those of the paper, for the
logits n_embd / 256 (by which llama.cpp multiplies in place of dividing). Rope rotates neighbours (2p, 2p + 1).
"""

from dataclasses import dataclass

from subbyte.models._config import MAX_SCALE, Config, read_config, read_scale
from subbyte.models._decoder import Scales, decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class MiniCPMConfig(Config):
    scales: Scales


def configure(meta: Metadata, n_vocab: int) -> MiniCPMConfig:
    c = read_config(meta, "minicpm", n_vocab)
    scales = Scales(
        embedding=read_scale(meta, "minicpm.embedding_scale", 12.0),
        residual=read_scale(meta, "minicpm.residual_scale", 1.4 / c.n_layer**0.5),
        logits=1.0 / meta.f32("minicpm.logit_scale", c.n_embd / 256, lo=1.0 / MAX_SCALE, hi=MAX_SCALE),
    )
    return MiniCPMConfig(**vars(c), scales=scales)


def forward(g: Graph, c: MiniCPMConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=True, scales=c.scales)

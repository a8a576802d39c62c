"""Granite 3 and 4 (dense): Llama's layers, with factors of the embeddings, branches, scores and logits.

GGUF architecture: granite. IBM, "Granite 3.0 Language Models" (2024). The logits are divided by their factor. A file
whose rope.scaling.finetuned is false has no rope at all. Rope rotates neighbours (2p, 2p + 1).
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import Scales, decoder, read_scales
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class GraniteConfig(Config):
    scales: Scales
    has_rope: bool


def configure(meta: Metadata, n_vocab: int) -> GraniteConfig:
    c = read_config(meta, "granite", n_vocab)
    has_rope = meta.bool("granite.rope.scaling.finetuned", True)
    return GraniteConfig(**vars(c), scales=read_scales(meta, "granite"), has_rope=has_rope)


def forward(g: Graph, c: GraniteConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=True, rope=c.has_rope, scales=c.scales)

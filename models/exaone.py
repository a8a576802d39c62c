"""EXAONE 3, 3.5 and Deep: Llama's layers, with rope that rotates halves of a head.

GGUF architecture: exaone. LG AI Research, "EXAONE 3.5: Series of Large Language Models for Real-world Use Cases"
(2024). Rows of attn_q and attn_k are stored as they were trained; frequency factors come as rope_freqs.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "exaone", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=False)

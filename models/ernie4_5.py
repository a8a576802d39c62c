"""ERNIE 4.5 0.3B: Llama's layers.

GGUF architecture: ernie4_5. Baidu, "ERNIE 4.5 Technical Report" (2025). Rope rotates neighbours (2p, 2p + 1).
"""

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "ernie4_5", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=True)

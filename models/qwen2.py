"""Qwen 2 and 2.5, and their distillates: Llama's layers with biases on queries, keys and values.

GGUF architecture: qwen2. Qwen Team, "Qwen2 Technical Report" (2024). Rope rotates halves of a head.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "qwen2", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=False)

"""Llama 2 and 3, Mistral, SmolLM2 and their many fine-tunes: grouped-query attention, rope, SwiGLU.

GGUF architecture: llama. Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023). The rows of
attn_q and attn_k are stored in the order that makes rope rotate neighbours (2p, 2p + 1). Files of Llama 3.1 and later
carry its frequency factors as rope_freqs.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "llama", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=True)

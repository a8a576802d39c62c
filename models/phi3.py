"""Phi 3, 3.5 and 4: a Llama whose projections of one input are fused, with a rope that may turn only part of a head.

GGUF architecture: phi3. Abdin et al., "Phi-3 Technical Report" (2024). Rope rotates halves (p, p + n_rot / 2) of the
first n_rot values. Models of long contexts bring two sets of factors; as in llama.cpp it is the session's n_ctx that
chooses between them, not the tokens in it. And as there every layer sees all earlier positions: the sliding window that
some of these models were trained with is not applied.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "phi3", n_vocab, partial_rope=True)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=False)

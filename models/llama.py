"""Llama 2 and 3, Mistral, Mixtral, SmolLM2 and their many fine-tunes: grouped-query attention, rope, SwiGLU.

GGUF architecture: llama. Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023); with experts,
Jiang et al., "Mixtral of Experts" (2024). The rows of attn_q and attn_k are stored in the order that makes rope rotate
neighbours (2p, 2p + 1). Files of Llama 3.1 and later carry its frequency factors as rope_freqs.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class LlamaConfig(Config):
    experts: ExpertsConfig | None


def configure(meta: Metadata, n_vocab: int) -> LlamaConfig:
    c = read_config(meta, "llama", n_vocab, experts=True)
    mixture = meta.u32("llama.expert_count", 0) > 0
    return LlamaConfig(**vars(c), experts=read_experts(meta, "llama", n_ff=c.n_ff) if mixture else None)


def forward(g: Graph, c: LlamaConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=True, routed=c.experts)

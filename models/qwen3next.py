"""Qwen3-Next (80B-A3B): gated delta nets, gated attention in every fourth layer, routed experts and a shared one.

GGUF architecture: qwen3next. Qwen Team (2025); Yang, Kautz and Hatamizadeh, "Gated Delta Networks: Improving Mamba2
with Delta Rule" (2024). A value head h has key head h // (n_heads / n_key_heads). The gates of values and states are
rows of one matrix.
"""

from subbyte.errors import UnsupportedError
from subbyte.models._delta_net import DeltaConfig, delta_decoder, read_delta_config
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> DeltaConfig:
    return read_delta_config(meta, "qwen3next", n_vocab, order="grouped", experts=True)


def forward(g: Graph, c: DeltaConfig, w: Weights) -> None:
    if "ssm_in" in w.block(0):
        raise UnsupportedError(
            "tensor blk.0.ssm_in.weight: queries, keys, values and gates in one, as files of 2025 have; attn_qkv and "
            "attn_gate are supported: convert the model again, or get a newer file of it"
        )
    delta_decoder(g, c, w)

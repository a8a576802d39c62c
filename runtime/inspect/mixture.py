"""What of a mixture of experts works for a token: weights and bytes of all tensors, less those of experts unchosen."""

import re
from dataclasses import dataclass

from subbyte.runtime.gguf.model_file import GGUF, Metadata
from subbyte.runtime.gguf.names import is_routed, split_name
from subbyte.runtime.gguf.values import ARRAY

MAX_LAYERS = 512
_ALONE = re.compile(r"ffn_(gate|up|down)\.\d+\.")  # one expert, in files of before April 2024


@dataclass(frozen=True, slots=True)
class Mixture:
    """n_used: experts of a token, in the layer with most. n_weights, n_bytes: of all experts; used_bytes: of a token's.

    n_active, active_bytes: of all that a token is multiplied with. Embeddings that are not the head, too, are not among
    them, since a row of them is looked up; nor are blocks that predict further tokens.
    """

    n_expert: int
    n_used: int
    n_weights: int
    n_active: int
    active_bytes: int
    n_bytes: int
    used_bytes: int


def mixture(gguf: GGUF) -> Mixture | None:
    """The mixture in a file; None for a dense model, and where the keys make no sense."""
    metadata = gguf.metadata
    architecture = metadata["general.architecture"] if "general.architecture" in metadata else None
    n_expert, *_ = _numbers(metadata, f"{architecture}.expert_count") or [0]
    used = _numbers(metadata, f"{architecture}.expert_used_count")
    if not (used and n_expert > 0 and all(0 <= n <= n_expert for n in used)):
        return None
    n_layer, *_ = _numbers(metadata, f"{architecture}.block_count") or [MAX_LAYERS]
    n_further, *_ = _numbers(metadata, f"{architecture}.nextn_predict_layers") or [0]
    n_weights = n_active = active_bytes = n_bytes = used_bytes = 0
    for tensor in gguf.tensors.values():
        layer, rest = split_name(tensor.name)
        if layer is None:
            if not rest.endswith("token_embd.weight") or "output.weight" not in gguf.tensors:
                n_active, active_bytes = n_active + tensor.n_weights, active_bytes + tensor.n_bytes
            continue
        n_of = n_expert if _ALONE.match(rest) else tensor.shape[-1] if is_routed(rest) else 0
        n_weights += tensor.n_weights if n_of else 0
        n_bytes += tensor.n_bytes if n_of else 0
        if layer < n_layer - n_further:
            n_used = used[min(layer, len(used) - 1)] if n_of else 1
            n_active += tensor.n_weights * n_used // (n_of or 1)
            active_bytes += tensor.n_bytes * n_used // (n_of or 1)
            used_bytes += tensor.n_bytes * n_used // n_of if n_of else 0
    return Mixture(n_expert, max(used), n_weights, n_active, active_bytes, n_bytes, used_bytes)


def _numbers(metadata: Metadata, key: str) -> list[int]:
    """A key's integer, or one for each layer; none where it is missing or something else."""
    if key not in metadata:
        return []
    kind, value = metadata.entries[key]
    values = value.values(MAX_LAYERS) if kind == ARRAY else [value]
    return list(values) if all(type(each) is int for each in values) else []

"""The tensors of a file that quantizing turns into another type, and the context of each in the model."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from subbyte.errors import UnsupportedError
from subbyte.runtime.gguf.model_file import GGUF, Metadata
from subbyte.runtime.gguf.names import kind_of, layer_of
from subbyte.runtime.recipes.file_types import TensorContext, category, is_70b
from subbyte.runtime.recipes.rule import QuantizableTensor
from subbyte.runtime.text import quoted

MAX_LAYERS = 512
KEPT = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "shortconv.conv.weight", "per_layer_model_proj")
ALONE = re.compile(r"\.ffn_(gate|up|down)\.\d+\.weight$")


@dataclass(frozen=True)
class ModelTraits:
    """The traits of a model that decide about its types; see `TensorContext`. gqa: 0 where layer 0 has no attention."""

    n_layer: int
    gqa: int
    is_70b: bool
    n_expert: int = 0


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether llama-quantize gives a tensor another type. shape: in GGUF order; experts are a third dimension.

    Norms, biases, lists of frequencies, decays, convolutions and routers stay as they are, as does what maps Gemma 4's
    embeddings to those of its layers.
    """
    two = any(n > 1 for n in shape[1:])
    return two and name.endswith("weight") and not any(part in name for part in KEPT)


def matrices(gguf: GGUF, *, imatrix: bool) -> list[QuantizableTensor]:
    """All matrices of a model, in the order of its layers; the experts of a kind are one, of three dimensions.

    Raises UnsupportedError for a file that holds one tensor for each expert.
    """
    traits = _traits(gguf.metadata)
    tensors = [tensor for tensor in gguf.tensors.values() if is_matrix(tensor.name, tensor.shape)]
    if alone := next((tensor.name for tensor in tensors if ALONE.search(tensor.name)), None):
        found = f"{gguf.path}: tensor {quoted(alone)}: a tensor for each expert, as files of before April 2024 have"
        raise UnsupportedError(f"{found}; convert the original model again")
    return locate([(t.name, t.shape[0]) for t in tensors], traits, imatrix=imatrix)


def locate(rows: Iterable[tuple[str, int]], traits: ModelTraits, *, imatrix: bool) -> list[QuantizableTensor]:
    """Tensors, given as names and row lengths, with their contexts; those of a category are counted as layers go.

    A layer may lack attention, so that attn_v is counted out of fewer than the model has layers; it may have experts
    and shared ones, of which both count, in the order of their names.
    """
    ordered = sorted(rows, key=lambda named: (layer_of(named[0]) is not None, layer_of(named[0]) or 0))
    kinds = {name: kind_of(name).rpartition(".")[2] for name, _ in ordered}
    n_values = sum(category(kind) == "attn_v" for kind in kinds.values())
    index, met = {}, Counter[str]()
    for name in sorted(kinds, key=lambda name: (-1 if (layer := layer_of(name)) is None else layer, name)):
        index[name] = met[category(kinds[name])]
        met[category(kinds[name])] += 1
    result = []
    for name, row in ordered:
        kind, layer = kinds[name], layer_of(name)
        context = TensorContext(
            kind, index[name], n_values if category(kind) == "attn_v" else traits.n_layer, row, traits.gqa,
            "output" not in kinds.values(), traits.is_70b, imatrix, traits.n_expert, layer,
        )  # fmt: skip
        result.append(QuantizableTensor(name, layer, traits.n_layer, context))
    return result


def _traits(metadata: Metadata) -> ModelTraits:
    architecture = metadata.str("general.architecture")
    n_layer = metadata.u32(f"{architecture}.block_count", lo=1, hi=MAX_LAYERS)
    n_expert = metadata.u32(f"{architecture}.expert_count", 0)
    n_head = _of_layer_0(metadata, f"{architecture}.attention.head_count", 1)
    n_head_kv = _of_layer_0(metadata, f"{architecture}.attention.head_count_kv", n_head)
    gqa = n_head // n_head_kv if n_head_kv else 0
    return ModelTraits(n_layer, gqa, is_70b(architecture, n_layer, gqa, n_expert), n_expert)


def _of_layer_0(metadata: Metadata, key: str, default: int) -> int:
    """A number that each layer may have its own of."""
    if key in metadata and metadata.entries[key].type_name.startswith("["):
        return (metadata.u32_array(key) or [0])[0]
    return metadata.u32(key, default)

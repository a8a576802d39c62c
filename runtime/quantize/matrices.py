"""The tensors of a file that quantizing turns into another type, and the context of each in the model."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from subbyte.errors import UnsupportedError
from subbyte.runtime.gguf.model_file import GGUF, Metadata, TensorInfo
from subbyte.runtime.gguf.names import kind_of, layer_of
from subbyte.runtime.quantize.file_types import TensorContext, is_70b
from subbyte.runtime.quantize.rule import QuantizableTensor

MAX_LAYERS = 512


@dataclass(frozen=True)
class ModelTraits:
    """The traits of a model that decide about its types; see `TensorContext`. gqa: 0 where layer 0 has no attention."""

    n_layer: int
    gqa: int
    is_70b: bool


def is_matrix(tensor: TensorInfo) -> bool:
    """Whether llama-quantize gives the tensor another type; norms, biases and lists of frequencies stay as they are."""
    two = any(n > 1 for n in tensor.shape[1:])
    return two and tensor.name.endswith("weight") and not tensor.name.endswith(("_norm.weight", "ffn_gate_inp.weight"))


def matrices(gguf: GGUF, *, imatrix: bool) -> list[QuantizableTensor]:
    """All matrices of a model, in the order of its layers. Raises UnsupportedError for a mixture of experts."""
    traits = _traits(gguf.metadata)
    tensors = [tensor for tensor in gguf.tensors.values() if is_matrix(tensor)]
    return locate([(t.name, t.shape[0]) for t in tensors], traits, imatrix=imatrix)


def locate(rows: Iterable[tuple[str, int]], traits: ModelTraits, *, imatrix: bool) -> list[QuantizableTensor]:
    """Tensors, given as names and row lengths, with their contexts; those of a kind are counted in the order of layers.

    A layer may lack attention, so that attn_v is counted out of fewer than the model has layers.
    """
    ordered = sorted(rows, key=lambda named: (layer_of(named[0]) is not None, layer_of(named[0]) or 0))
    kinds = [kind_of(name).rpartition(".")[2] for name, _ in ordered]
    n_values = sum(kind in ("attn_v", "attn_qkv") for kind in kinds)
    tied = "output" not in kinds
    met: Counter[str] = Counter()
    result = []
    for (name, row), kind in zip(ordered, kinds, strict=True):
        count = n_values if kind in ("attn_v", "attn_qkv") else traits.n_layer
        context = TensorContext(kind, met[kind], count, row, traits.gqa, tied, traits.is_70b, imatrix)
        met[kind] += 1
        result.append(QuantizableTensor(name, layer_of(name), traits.n_layer, context))
    return result


def _traits(metadata: Metadata) -> ModelTraits:
    architecture = metadata.str("general.architecture")
    if metadata.u32(f"{architecture}.expert_count", 0):
        raise UnsupportedError(
            f"{metadata.file}: a mixture of experts, for which subbyte knows no recipes; quantize it with llama.cpp"
        )
    n_layer = metadata.u32(f"{architecture}.block_count", lo=1, hi=MAX_LAYERS)
    n_head = _of_layer_0(metadata, f"{architecture}.attention.head_count", 1)
    n_head_kv = _of_layer_0(metadata, f"{architecture}.attention.head_count_kv", n_head)
    gqa = n_head // n_head_kv if n_head_kv else 0
    return ModelTraits(n_layer, gqa, is_70b(architecture, n_layer, gqa))


def _of_layer_0(metadata: Metadata, key: str, default: int) -> int:
    """A number that each layer may have its own of."""
    if key in metadata and metadata.entries[key].type_name.startswith("["):
        return (metadata.u32_array(key) or [0])[0]
    return metadata.u32(key, default)

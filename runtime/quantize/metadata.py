"""The metadata of a quantized model, made from the original's."""

from collections.abc import Mapping

from subbyte.runtime.gguf.values import STRING, MetadataValue
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.recipes.extract import IMATRIX

QUANTIZATION_VERSION = 2  # of the block formats, as ggml counts
U32 = 4
SPLIT = ("split.no", "split.count", "split.tensors.count")


def quantized(
    metadata: Mapping[str, MetadataValue], file_type: str, imatrix: Imatrix | None, imatrix_name: str
) -> dict[str, MetadataValue]:
    """A model's metadata with what llama-quantize changes. file_type: a name that it knows."""
    from gguf import LlamaFileType

    number = LlamaFileType["ALL_F32" if file_type == "F32" else f"MOSTLY_{file_type}"]
    kept = {key: value for key, value in metadata.items() if key not in SPLIT and not key.startswith(IMATRIX)}
    kept["general.quantization_version"] = MetadataValue(U32, QUANTIZATION_VERSION)
    kept["general.file_type"] = MetadataValue(U32, int(number))
    if imatrix is not None:
        kept[f"{IMATRIX}file"] = _text(imatrix_name)
        if imatrix.datasets:
            kept[f"{IMATRIX}dataset"] = _text(imatrix.datasets[0])
        kept[f"{IMATRIX}entries_count"] = MetadataValue(U32, len(imatrix.squares))
        if imatrix.chunk_count:
            kept[f"{IMATRIX}chunks_count"] = MetadataValue(U32, imatrix.chunk_count)
    return kept


def _text(value: str) -> MetadataValue:
    return MetadataValue(STRING, memoryview(value.encode("utf-8", "replace")))

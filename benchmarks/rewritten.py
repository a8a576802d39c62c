"""A GGUF file written anew with other tensors, and metadata as it was but for what is given."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Blocks = NDArray[Any]
Change = Callable[[str, list[int], NDArray[np.float32]], tuple[Blocks, gguf.GGMLQuantizationType]]
"""Takes a tensor's name, its shape (row length first, as in GGUF) and its values; gives its blocks and their type."""


def rewrite(source: Path, target: Path, change: Change, metadata: Mapping[str, Any]) -> None:
    """metadata: values by key that replace those of the same type in the source."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(str(target), str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, metadata.get(name, field.contents()), kind, item)
    for t in reader.tensors:
        shape = [int(n) for n in t.shape]
        blocks, type = change(t.name, shape, gguf.dequantize(t.data, t.tensor_type).reshape(shape[::-1]))
        writer.add_tensor(t.name, blocks, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

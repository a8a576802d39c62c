"""What `subbyte inspect` shows of a file: its metadata in short, its tensors, and how many bits its weights take."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from subbyte.runtime.gguf.model_file import GGUF, Metadata, TensorInfo
from subbyte.runtime.gguf.tensors import size_of
from subbyte.runtime.gguf.values import ARRAY, STRING
from subbyte.runtime.inspect.mixture import Mixture, mixture
from subbyte.runtime.text import quoted

SHOWN_ITEMS = 8


@dataclass(frozen=True, slots=True)
class MetadataItem:
    """One key. `value` is an int, float, bool or str; of an array the first few items, and `count` says how many."""

    key: str
    type: str
    value: Any
    count: int | None

    @property
    def text(self) -> str:
        """The value on one line, fit for a terminal: strings quoted and shortened, control characters escaped."""
        if self.count is None:
            return _show(self.value, 60)
        items = [_show(item, 20) for item in self.value]
        more = [f"… {self.count} in all"] if self.count > len(items) else []
        return f"[{', '.join(items + more)}]"


@dataclass(frozen=True, slots=True)
class TensorItem:
    """One tensor; `shape` in GGUF order, row length first."""

    name: str
    type: str
    shape: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True, slots=True)
class TypeShare:
    """All tensors of one block type; `share` is the part of all tensor bytes that they take, 0 to 1."""

    type: str
    n_tensors: int
    n_weights: int
    n_bytes: int
    share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A GGUF model in numbers; what the file doesn't say is None.

    n_files:         more than one for a split model
    n_bytes:         of all its files, bits_per_weight counts the tensors only
    mixture:         None for a dense model
    types:           the mix of block types, most bytes first
    """

    path: str
    version: int
    architecture: str | None
    name: str | None
    n_params: int
    n_files: int
    n_bytes: int
    bits_per_weight: float | None
    context_length: int | None
    n_vocab: int | None
    mixture: Mixture | None
    types: tuple[TypeShare, ...]
    metadata: tuple[MetadataItem, ...]
    tensors: tuple[TensorItem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and values, as json.dumps takes them."""
        return asdict(self)


def summarize(gguf: GGUF) -> Summary:
    """Sums up a file, also one that holds no model which subbyte could run: missing and odd keys are no errors here."""
    metadata, tensors = gguf.metadata, gguf.tensors.values()
    architecture = text_of(metadata, "general.architecture")
    size = size_of(tensors)
    return Summary(
        path=str(gguf.path),
        version=gguf.version,
        architecture=architecture,
        name=text_of(metadata, "general.name"),
        n_params=size.n_weights,
        n_files=len(gguf.files),
        n_bytes=gguf.size,
        bits_per_weight=size.bits_per_weight,
        context_length=count_of(metadata, f"{architecture}.context_length"),
        n_vocab=count_of(metadata, "tokenizer.ggml.tokens") or count_of(metadata, f"{architecture}.vocab_size"),
        mixture=mixture(gguf),
        types=tuple(shares(list(tensors))),
        metadata=tuple(item(metadata, key) for key in metadata),
        tensors=tuple(TensorItem(t.name, t.type, t.shape, t.n_bytes) for t in tensors),
    )


def _show(value: Any, limit: int) -> str:
    if isinstance(value, str):
        return quoted(value, limit)
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def text_of(metadata: Metadata, key: str) -> str | None:
    """A string; None for what is missing or none."""
    return metadata[key] if key in metadata and metadata.entries[key].type == STRING else None


def count_of(metadata: Metadata, key: str) -> int | None:
    """An integer, or the length of an array; None for what is missing or neither."""
    if key not in metadata:
        return None
    kind, value = metadata.entries[key]
    value = value.count if kind == ARRAY else value
    return value if isinstance(value, int) else None


def item(metadata: Metadata, key: str) -> MetadataItem:
    """What to show of a key."""
    entry = metadata.entries[key]
    if entry.type == ARRAY:
        return MetadataItem(key, entry.type_name, tuple(entry.data.values(SHOWN_ITEMS)), entry.data.count)
    return MetadataItem(key, entry.type_name, metadata[key], None)


def shares(tensors: list[TensorInfo]) -> list[TypeShare]:
    """The mix of block types, most bytes first."""
    by_type: dict[str, list[TensorInfo]] = defaultdict(list)
    for tensor in tensors:
        by_type[tensor.type].append(tensor)
    total = size_of(tensors).n_bytes
    mix = []
    for name, members in by_type.items():
        size = size_of(members)
        mix.append(TypeShare(name, len(members), size.n_weights, size.n_bytes, size.n_bytes / total))
    return sorted(mix, key=lambda share: -share.n_bytes)

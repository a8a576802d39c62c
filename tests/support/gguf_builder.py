"""Writes raw GGUF bytes, broken ones too: nothing here checks what it is given."""

import struct
from collections.abc import Iterable

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
Q8_0, Q4_K = 8, 12  # ggml type ids; F32 is 0 there


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def string(text: str | bytes, length: int | None = None) -> bytes:
    """A string that says it has `length` bytes, by default the truth."""
    data = text.encode() if isinstance(text, str) else text
    return u64(len(data) if length is None else length) + data


def value(kind: int, item: object) -> bytes:
    return string(item) if kind == STR else struct.pack("<" + CODES[kind], item)  # type: ignore[arg-type]


def array(kind: int, items: Iterable[object], count: int | None = None) -> bytes:
    """The payload of an array that says it has `count` items, by default the truth."""
    items = list(items)
    return u32(kind) + u64(len(items) if count is None else count) + b"".join(value(kind, item) for item in items)


def pair(key: str | bytes, kind: int, payload: object) -> bytes:
    """One key and value; `payload` is bytes to write as they are, or a plain value."""
    return string(key) + u32(kind) + (payload if isinstance(payload, bytes) else value(kind, payload))


def tensor(
    name: str | bytes, shape: Iterable[int], type_id: int = 0, offset: int = 0, n_dims: int | None = None
) -> bytes:
    shape = list(shape)
    head = string(name) + u32(len(shape) if n_dims is None else n_dims)
    return head + b"".join(map(u64, shape)) + u32(type_id) + u64(offset)


def gguf(
    pairs: Iterable[bytes] = (), tensors: Iterable[bytes] = (), data: bytes = b"", *, version: int = 3,
    n_tensors: int | None = None, n_pairs: int | None = None, alignment: int = 32,
) -> bytes:  # fmt: skip
    """A whole file: header, pairs, tensor table, padding, data."""
    pairs, tensors = list(pairs), list(tensors)
    counts = u64(len(tensors) if n_tensors is None else n_tensors) + u64(len(pairs) if n_pairs is None else n_pairs)
    head = b"GGUF" + u32(version) + counts + b"".join(pairs) + b"".join(tensors)
    return head + (bytes(-len(head) % alignment) + data if data else b"")


def seed() -> bytes:
    """A small sound file with every kind of value and three tensors, ending with its last tensor's last byte."""
    pairs = [
        pair("general.architecture", STR, "llama"),
        pair("llama.block_count", U32, 1),
        pair("llama.rope.freq_base", F32, 10000.0),
        pair("tokenizer.ggml.add_bos_token", BOOL, True),
        pair("tokenizer.ggml.tokens", ARR, array(STR, ["a", "bc", "", "def"])),
        pair("tokenizer.ggml.scores", ARR, array(F32, [0.0, -1.0, 2.5, 1e9])),
        pair("a.u64", U64, 2**60),
    ]
    tensors = [
        tensor("token_embd.weight", [32, 4], Q8_0, 0),
        tensor("output_norm.weight", [32], 0, 160),
        tensor("blk.0.ffn_up.weight", [32, 2], Q8_0, 288),
    ]
    return gguf(pairs, tensors, bytes(range(256)) + bytes(288 + 68 - 256))

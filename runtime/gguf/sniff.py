"""File types by their first bytes: what a file without GGUF's magic is, so that the refusal says what went wrong."""

from subbyte.runtime.text import quoted

SNIFF_BYTES = 512

_FETCH = "fetch the .gguf file itself"
_CONVERT = "convert the model to GGUF"
_OLD = "a llama.cpp file from before GGUF (2023); get the model as GGUF"

_MAGICS = [
    (b"FUGG", "a GGUF file with its bytes in reverse order; get a little-endian one"),
    (b"lmgg", f"GGML, {_OLD}"),
    (b"fmgg", f"GGMF, {_OLD}"),
    (b"tjgg", f"GGJT, {_OLD}"),
    (b"algg", f"GGLA, a LoRA adapter, {_OLD}"),
    (b"PK\x03\x04", f"a zip archive or PyTorch checkpoint; unpack it or {_CONVERT}"),
    (b"\x80\x02", f"a Python pickle (PyTorch checkpoint), which is never loaded; {_CONVERT}"),
    (b"\x80\x03", f"a Python pickle, which is never loaded; {_CONVERT}"),
    (b"\x80\x04", f"a Python pickle, which is never loaded; {_CONVERT}"),
    (b"\x80\x05", f"a Python pickle, which is never loaded; {_CONVERT}"),
    (b"\x1f\x8b", "gzip data; unpack it"),
    (b"\x28\xb5\x2f\xfd", "zstd data; unpack it"),
    (b"\xfd7zXZ", "xz data; unpack it"),
    (b"\x89HDF", f"HDF5 (Keras) weights; {_CONVERT}"),
    (b"version https://git-lfs", "a Git LFS pointer, the address of a file and not the file; run git lfs pull"),
]


def identify(head: bytes) -> str:
    """The type of a file that starts with `head` (up to SNIFF_BYTES) and is not GGUF, and what to do about it."""
    for magic, text in _MAGICS:
        if head.startswith(magic):
            return text
    if len(head) > 8 and head[8:9] == b"{" and 1 < int.from_bytes(head[:8], "little") < 100 << 20:
        return f"safetensors; {_CONVERT}"
    if not head.strip(b"\0"):
        return "zeros only, a download that was never filled; fetch it again"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return f"an HTML page, maybe a login or error page; {_FETCH}"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"text that starts with {quoted(head, 40)}; {_FETCH}"
    return f"something else, starting with bytes {head[:4].hex(' ')}; {_FETCH}"

"""Names of random models, SHAPE:TYPE[:LAYERS], and the tensors they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from subbyte.kernels import FORMATS
from subbyte.runtime._mixes import MIXES, Place

MAX_LAYERS = 512  # what llama.cpp reads, too
ALIGNMENT = 32  # of tensors in a GGUF file


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a real model. real: its `general.architecture`; architecture: the one it is written as."""

    name: str
    real: str
    architecture: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_vocab: int
    n_ctx_train: int
    freq_base: float
    eps: float
    tied: bool


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("llama-3.2-1b", "llama", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5, 1e-5, True),
        Shape("llama-3-8b", "llama", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 8192, 5e5, 1e-5, False),
        Shape("qwen3-14b", "qwen3", "llama", 40, 5120, 40, 8, 128, 17408, 151936, 40960, 1e6, 1e-6, False),
        Shape("exaone-7.8b", "exaone", "llama", 32, 4096, 32, 8, 128, 14336, 102400, 32768, 1e6, 1e-5, False),
    )
}


@dataclass(frozen=True)
class Synthetic:
    """A random model: a shape, and the type or mixture of types that its matrices take."""

    shape: Shape
    mix: str

    @property
    def description(self) -> str:
        """For people: `qwen3-14b's shape as llama, Q4_K, 8 layers`."""
        s = self.shape
        other = f" as {s.architecture}" if s.architecture != s.real else ""
        return f"{s.name}'s shape{other}, {self.mix}, {s.n_layer} layer{'s' if s.n_layer > 1 else ''}"

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Of each tensor the numpy shape (rows first) and the block type, in the order of the file."""
        s = self.shape
        n, q, kv, ff = s.n_embd, s.n_head * s.head_dim, s.n_head_kv * s.head_dim, s.n_ff
        found = {"output_norm": ((n,), "F32"), "token_embd": ((s.n_vocab, n), self._type("token_embd"))}
        if not s.tied:
            found["output"] = ((s.n_vocab, n), self._type("output"))
        block = {"attn_q": (q, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q),
                 "ffn_gate": (ff, n), "ffn_up": (ff, n), "ffn_down": (n, ff)}  # fmt: skip
        for i in range(s.n_layer):
            found |= {f"blk.{i}.{name}": ((n,), "F32") for name in ("attn_norm", "ffn_norm")}
            found |= {f"blk.{i}.{name}": (shape, self._type(name, i)) for name, shape in block.items()}
        return {f"{name}.weight": tensor for name, tensor in found.items()}

    def n_bytes(self) -> int:
        """Of all tensors with the gaps between them: the size of the file but for its header."""
        return sum(padded(tensor_bytes(*tensor)) for tensor in self.tensors().values())

    def _type(self, tensor: str, layer: int = 0) -> str:
        s = self.shape
        if tensor == "token_embd" and s.tied:
            tensor = "output"
        return MIXES[self.mix](Place(tensor, layer, s.n_layer, s.n_head // s.n_head_kv))


def parse(text: str) -> Synthetic:
    """The model that SHAPE:TYPE[:LAYERS] names; ValueError tells what is allowed."""
    name, _, rest = text.partition(":")
    mix, _, layers = rest.partition(":")
    if name.lower() not in SHAPES:
        raise ValueError(f"no shape {name!r}; SHAPE:TYPE[:LAYERS] has one of {', '.join(SHAPES)}")
    found = next((known for known in MIXES if known.lower() == mix.lower()), None)
    if found is None:
        raise ValueError(f"no type {mix!r}; SHAPE:TYPE[:LAYERS] has one of {', '.join(MIXES)}")
    shape = SHAPES[name.lower()]
    if layers or rest.count(":"):
        if not (layers.isascii() and layers.isdigit() and len(layers) < 5 and 1 <= int(layers) <= MAX_LAYERS):
            raise ValueError(f"{layers!r} layers; SHAPE:TYPE[:LAYERS] takes 1 to {MAX_LAYERS}")
        shape = replace(shape, n_layer=int(layers))
    return Synthetic(shape, found)


def padded(n_bytes: int) -> int:
    """Up to where the next tensor may begin."""
    return -n_bytes % ALIGNMENT + n_bytes


def tensor_bytes(shape: tuple[int, ...], format: str) -> int:
    """Bytes of a tensor of that numpy shape."""
    f = FORMATS[format]
    n_weights = int(np.prod(shape, dtype=np.int64))
    return n_weights // f.block_size * f.block_bytes

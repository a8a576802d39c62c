"""A model's tensors by name, checked for shape and block type where the model file asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, UnsupportedError
from subbyte.kernels import FORMATS, Weight, dequantize
from subbyte.models._config import HINT

Vector = NDArray[np.float32]
VECTOR_TYPES = ("F32", "F16", "BF16")


class Tensor(Protocol):
    """A tensor of a GGUF file. shape is in GGUF order: shape[0] is the row length."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> memoryview: ...


@dataclass(frozen=True)
class Linear:
    """A matrix and what is added after it."""

    weight: Weight
    bias: Vector | None = None


class Weights:
    """The tensors whose names start with `prefix`, asked for by the rest of their name.

    used: full names of those that were asked for, shared with every `block`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "", used: set[str] | None = None) -> None:
        self.tensors = tensors
        self.prefix = prefix
        self.used: set[str] = set() if used is None else used

    def block(self, layer: int) -> Weights:
        """The tensors of one layer: `blk.{layer}.…`."""
        return Weights(self.tensors, f"blk.{layer}.", self.used)

    def __contains__(self, name: str) -> bool:
        return f"{self.prefix}{name}.weight" in self.tensors

    def _find(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.used.add(name)
        tensor = self.tensors.get(name)
        if tensor is None:
            raise FormatError(f"tensor {name} is missing; the model needs it with shape {list(shape)}: {HINT}")
        if tuple(tensor.shape) != shape:
            found = f"tensor {name} has shape {list(tensor.shape)}"
            raise FormatError(f"{found}; the model's hyper-parameters ask for {list(shape)}: {HINT}")
        return tensor

    def vector(self, name: str, n: int, suffix: str = "weight") -> Vector:
        """A norm's weight or a bias, float32 [n]."""
        full = f"{self.prefix}{name}.{suffix}"
        tensor = self._find(full, (n,))
        if tensor.type not in VECTOR_TYPES:
            found = f"tensor {full} has type {tensor.type}"
            raise UnsupportedError(f"{found}; a vector must be one of {', '.join(VECTOR_TYPES)}: {HINT}")
        return dequantize(tensor.data, tensor.type)

    def linear(self, name: str, n_in: int, n_out: int) -> Linear:
        """The matrix `name.weight` [n_in, n_out] with `name.bias` [n_out] if the file has one."""
        full = f"{self.prefix}{name}.weight"
        tensor = self._find(full, (n_in, n_out))
        if tensor.type not in FORMATS:
            found = f"tensor {full} has type {tensor.type}"
            raise UnsupportedError(f"{found}; a matrix must be one of {', '.join(FORMATS)}: {HINT}")
        has_bias = f"{self.prefix}{name}.bias" in self.tensors
        bias = self.vector(name, n_out, "bias") if has_bias else None
        return Linear(Weight(tensor.data, tensor.type, n_out, n_in), bias)

    def qkv(self, n_embd: int, n_q: int, n_kv: int) -> tuple[Linear, Linear, Linear]:
        """attn_q, attn_k and attn_v, or the rows of a fused attn_qkv that stands for them."""
        if "attn_qkv" not in self:
            q = self.linear("attn_q", n_embd, n_q)
            k = self.linear("attn_k", n_embd, n_kv)
            v = self.linear("attn_v", n_embd, n_kv)
            return q, k, v
        fused = self.linear("attn_qkv", n_embd, n_q + 2 * n_kv)
        q, k, v = (
            Linear(fused.weight.slice(first, last), None if fused.bias is None else fused.bias[first:last])
            for first, last in ((0, n_q), (n_q, n_q + n_kv), (n_q + n_kv, n_q + 2 * n_kv))
        )
        return q, k, v

    def output(self, n_embd: int, n_vocab: int) -> Linear:
        """The head's matrix; a file without one shares it with the embeddings."""
        output = self.linear("output" if "output" in self else "token_embd", n_embd, n_vocab)
        if output.bias is not None:
            raise UnsupportedError("tensor output.bias: a head with a bias is not supported; take a file without it")
        return output

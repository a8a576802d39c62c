"""A model's tensors by name, checked for shape and block type where the model file asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, UnsupportedError
from subbyte.kernels import FORMATS, Weight, dequantize
from subbyte.models._metadata import HINT

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
    @property
    def file(self) -> str: ...


@dataclass(frozen=True)
class Linear:
    """A matrix and what is added after it."""

    weight: Weight
    bias: Vector | None = None

    def split(self, *rows: int) -> list[Linear]:
        """The matrices of so many rows each that lie one after the other in this one; nothing is copied."""
        ends = list(accumulate(rows))
        return [
            Linear(self.weight.slice(end - n, end), None if self.bias is None else self.bias[end - n : end])
            for n, end in zip(rows, ends, strict=True)
        ]


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without ones at its end, which say nothing: a vector of n may be written as n x 1."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


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

    def pass_over(self, *names: str) -> None:
        """Tensors that files may have though nothing comes of them; others that no one asks for are refused."""
        self.used.update(f"{self.prefix}{name}.weight" for name in names)

    def _find(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.used.add(name)
        tensor = self.tensors.get(name)
        if tensor is None:
            raise FormatError(f"tensor {name} is missing; the model needs it with shape {list(shape)}: {HINT}")
        if _trimmed(tensor.shape) != _trimmed(shape):
            found = f"{tensor.file}: tensor {name} has shape {list(tensor.shape)}"
            raise FormatError(f"{found}; the model's hyper-parameters ask for {list(shape)}: {HINT}")
        return tensor

    def vector(self, name: str, n: int, suffix: str = "weight") -> Vector:
        """A norm's weight or a bias, float32 [n]."""
        return self.floats(f"{name}.{suffix}", (n,))

    def convolution(self, name: str, width: int, n: int) -> Vector:
        """`name.weight` [width, n] of a convolution of n channels, float32 [width * n]: by input, then channel."""
        weight: Vector = self.floats(f"{name}.weight", (width, n)).reshape(n, width).T.ravel()
        return weight

    def floats(self, name: str, shape: tuple[int, ...]) -> Vector:
        """All numbers of a tensor that is not quantized, by the whole rest of its name."""
        full = self.prefix + name
        tensor = self._find(full, shape)
        if tensor.type not in VECTOR_TYPES:
            found = f"{tensor.file}: tensor {full} has type {tensor.type}"
            raise UnsupportedError(f"{found}; a vector must be one of {', '.join(VECTOR_TYPES)}: {HINT}")
        return dequantize(tensor.data, tensor.type)

    def linear(self, name: str, n_in: int, n_out: int) -> Linear:
        """The matrix `name.weight` [n_in, n_out] with `name.bias` [n_out] if the file has one."""
        return Linear(self._matrix(name, (n_in, n_out)), self.bias(name, n_out))

    def _matrix(self, name: str, shape: tuple[int, ...]) -> Weight:
        """A tensor as a matrix whose row length is shape[0]."""
        full = f"{self.prefix}{name}.weight"
        tensor = self._find(full, shape)
        if tensor.type not in FORMATS:
            found = f"{tensor.file}: tensor {full} has type {tensor.type}"
            raise UnsupportedError(f"{found}; a matrix must be one of {', '.join(FORMATS)}: {HINT}")
        return Weight(tensor.data, tensor.type, math.prod(shape[1:]), shape[0], full)

    def experts(self, name: str, n_in: int, n_out: int, n_expert: int) -> Linear:
        """The matrices of all experts, one after the other, as one: `name.weight` [n_in, n_out, n_expert].

        With `name.bias` [n_out, n_expert] if the file has one.
        """
        self._refuse_single_experts(name)
        weight = self._matrix(name, (n_in, n_out, n_expert))
        has_bias = f"{self.prefix}{name}.bias" in self.tensors
        return Linear(weight, self.floats(f"{name}.bias", (n_out, n_expert)) if has_bias else None)

    def of_heads(self, name: str, n_in: int, n_out: int, n_head: int) -> Linear:
        """The matrices of all heads, one after the other, as one: `name.weight` [n_in, n_out, n_head]."""
        return Linear(self._matrix(name, (n_in, n_out, n_head)))

    def transposed(self, name: str, n_in: int, n_out: int, n_head: int, n_rows: int) -> Linear:
        """The first n_rows rows of each head of `name.weight` [n_in, n_head * n_out], transposed, as `of_heads` has it.

        A copy, as floats: n_head * n_in * n_rows of them.
        """
        w = self._matrix(name, (n_in, n_head * n_out))
        values = dequantize(self.tensors[w.name].data, w.format).reshape(n_head, n_out, n_in)
        copy = values[:, :n_rows].swapaxes(1, 2).reshape(-1).view(np.uint8)
        return Linear(Weight(copy, "F32", n_head * n_in, n_rows, w.name))

    def _refuse_single_experts(self, name: str) -> None:
        single = f"{self.prefix}{name.removesuffix('_exps')}.0.weight"
        if f"{self.prefix}{name}.weight" not in self.tensors and single in self.tensors:
            raise UnsupportedError(
                f"tensor {single}: a tensor for each expert, as files of before April 2024 have; {name} with all of "
                f"them in one is supported: convert the model again, or get a newer file of it"
            )

    def scale(self, name: str, n_expert: int) -> Vector | None:
        """`name.scale` [n_expert], a factor of each expert's products, if the file has one."""
        return self.vector(name, n_expert, "scale") if f"{self.prefix}{name}.scale" in self.tensors else None

    def bias(self, name: str, n: int) -> Vector | None:
        """`name.bias` [n] if the file has one."""
        return self.vector(name, n, "bias") if f"{self.prefix}{name}.bias" in self.tensors else None

    def row(self, name: str, n: int) -> Linear:
        """The vector `name.weight` [n] as a matrix of one row: a logit of each token."""
        return Linear(self._matrix(name, (n, 1)))

    def qkv(self, n_embd: int, n_q: int, n_kv: int) -> list[Linear]:
        """attn_q, attn_k and attn_v, or the rows of a fused attn_qkv that stands for them."""
        rows = {"attn_q": n_q, "attn_k": n_kv, "attn_v": n_kv}
        if "attn_qkv" not in self:
            return [self.linear(name, n_embd, n) for name, n in rows.items()]
        fused = self.linear("attn_qkv", n_embd, n_q + 2 * n_kv).split(*rows.values())
        if fused[0].bias is not None:
            return fused
        return [replace(part, bias=self.bias(name, n)) for part, (name, n) in zip(fused, rows.items(), strict=True)]

    def gate_up(self, n_embd: int, n_ff: int) -> tuple[Linear, Linear]:
        """ffn_gate and ffn_up, or the halves of an ffn_up that holds the rows of both."""
        tensor = self.tensors.get(f"{self.prefix}ffn_up.weight")
        if "ffn_gate" in self or (tensor is not None and tensor.shape == (n_embd, n_ff)):
            return self.linear("ffn_gate", n_embd, n_ff), self.linear("ffn_up", n_embd, n_ff)
        gate, up = self.linear("ffn_up", n_embd, 2 * n_ff).split(n_ff, n_ff)
        return gate, up

    def output(self, n_embd: int, n_vocab: int) -> Linear:
        """The head's matrix; a file without one shares it with the embeddings."""
        output = self.linear("output" if "output" in self else "token_embd", n_embd, n_vocab)
        if output.bias is not None:
            raise UnsupportedError("tensor output.bias: a head with a bias is not supported; take a file without it")
        return output

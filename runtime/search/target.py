"""What a search is to reach: a size, bits per weight, or a divergence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from subbyte.errors import ModelRefused
from subbyte.kernels import FORMATS
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.recipes.matrices import matrices

MAX_SIZE = 1 << 60


@dataclass(frozen=True)
class Target:
    """The most bytes of a file, the most bits per weight of its tensors, or the most divergence in nats."""

    of: Literal["size", "bits", "kld"]
    value: float

    def max_bytes(self, n_weights: int) -> float:
        """The most bytes of the tensors, or with `size` of the file; infinite for a divergence."""
        return math.inf if self.of == "kld" else self.value if self.of == "size" else self.value * n_weights / 8

    def __str__(self) -> str:
        if self.of == "size":
            return f"{self.value / 1e9:.12g}GB" if self.value >= 1e9 else f"{self.value / 1e6:.12g}MB"
        return f"{self.value:.12g}-bits" if self.of == "bits" else f"kld-{self.value:.12g}"


def targets_of(size: object, bits: object, kld: object) -> list[Target]:
    """From one number or several for each. Raises ValueError for what none can reach, for one given twice, and without
    any.
    """
    found = [Target("size", arguments.whole("size", value, 1, hint="bytes")) for value in _several("size", size)]
    if any(target.value > MAX_SIZE for target in found):
        raise ValueError(f"size is more than {MAX_SIZE} bytes, and no model takes so many")
    found += [Target("bits", arguments.number("bits", value, 0.5, 32)) for value in _several("bits", bits)]
    found += [Target("kld", arguments.number("kld", value, 1e-6, 100)) for value in _several("kld", kld)]
    names = [str(target) for target in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} is given twice; give each size, bits or kld once")
    if not found:
        raise ValueError("nothing to search for; give a size, bits or kld")
    return found


def _several(name: str, given: object) -> Iterable[object]:
    if given is None:
        return ()
    if isinstance(given, Iterable):
        return arguments.items(name, given, "a number or a list of numbers")
    return (given,)


def check_reach(targets: Iterable[Target], gguf: GGUF, types: Sequence[str]) -> None:
    """Raises ModelRefused for a target that no file of these types is small enough for: soon, measuring takes long.

    ValueError where the rows of no matrix are whole blocks of one of them.
    """
    tensors = gguf.tensors.values()
    least, fit = {tensor.name: tensor.n_bytes for tensor in tensors}, False
    for matrix in matrices(gguf, imatrix=True):
        tensor = gguf.tensors[matrix.name]
        fitting = [FORMATS[type] for type in types if tensor.shape[0] % FORMATS[type].block_size == 0]
        sizes = (tensor.n_weights // of.block_size * of.block_bytes for of in fitting)
        least[matrix.name] = min([tensor.n_bytes, *sizes])
        fit = fit or bool(fitting)
    if not fit:
        raise ValueError(f"{gguf.path}: its rows are no whole blocks of {', '.join(types)}; allow other types")
    total, n_weights = sum(least.values()), sum(tensor.n_weights for tensor in tensors)
    for target in targets:
        if target.max_bytes(n_weights) < total:
            found = f"{8 * total / n_weights:.4g} bits per weight, {total / 1e6:.4g} MB"
            raise ModelRefused(f"{target}: no mixture of these types reaches it; the smallest has about {found}")

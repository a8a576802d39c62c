"""What quantizing a file by a recipe would make: the type and size of each tensor, and what stands in the way."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subbyte.errors import ModelRefused, UnsupportedError
from subbyte.kernels import FORMATS
from subbyte.runtime.gguf.model_file import GGUF, TensorInfo
from subbyte.runtime.gguf.tensors import Size
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.inspect.summary import TypeShare
from subbyte.runtime.recipes.file_types import FLOATS
from subbyte.runtime.recipes.matrices import matrices
from subbyte.runtime.recipes.notes import notes
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.records import Record
from subbyte.runtime.text import quoted

LADDER = (
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M",
    "IQ4_XS", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0",
)  # fmt: skip
LADDER_WITHOUT_IMATRIX = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", *LADDER[LADDER.index("IQ4_XS") :])
"""llama.cpp's mixtures from coarse to fine: `recipe_for_size` takes the finest that fits."""


@dataclass(frozen=True, slots=True)
class Change(Record):
    """A tensor and what becomes of it. shape: row length first."""

    name: str
    shape: tuple[int, ...]
    was: str
    type: str
    n_bytes: int


@dataclass(frozen=True)
class QuantPlan:
    """All tensors of a file, in its order. recipe: what decided. imatrix: whether importances are known.

    notes: where the file is not what the recipe says, see `notes.py`.
    """

    recipe: Recipe
    changes: tuple[Change, ...]
    imatrix: bool
    notes: tuple[str, ...]

    @property
    def n_bytes(self) -> int:
        """Of all tensors, without the head of the file."""
        return sum(change.n_bytes for change in self.changes)

    @property
    def n_weights(self) -> int:
        """Of all tensors."""
        return sum(math.prod(change.shape) for change in self.changes)

    @property
    def bits_per_weight(self) -> float:
        """Over all tensors, norms too, as `subbyte inspect` counts."""
        return Size(self.n_bytes, self.n_weights).bits_per_weight or 0.0

    @property
    def requantized(self) -> tuple[str, ...]:
        """Names of tensors that lose a second time: they are quantized already, and take another such type."""
        return tuple(c.name for c in self.changes if c.was != c.type and FLOATS.isdisjoint((c.was, c.type)))

    def shares(self) -> list[TypeShare]:
        """Tensors, weights and bytes of each block type, most bytes first."""
        by_type: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            by_type[change.type].append(change)
        shares = [
            TypeShare(type, len(same), sum(math.prod(c.shape) for c in same), n := sum(c.n_bytes for c in same),
                      n / self.n_bytes)
            for type, same in by_type.items()
        ]  # fmt: skip
        return sorted(shares, key=lambda share: -share.n_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Sizes, types and tensors, fit for JSON."""
        return {
            "recipe": self.recipe.to_dict(),
            "notes": list(self.notes),
            "n_bytes": self.n_bytes,
            "n_weights": self.n_weights,
            "bits_per_weight": self.bits_per_weight,
            "types": {share.type: share.n_bytes for share in self.shares()},
            "tensors": [change.to_dict() for change in self.changes],
        }


def make_plan(gguf: GGUF, recipe: Recipe, imatrix: Imatrix | None = None) -> QuantPlan:
    """What the recipe makes of a file. Raises ModelRefused for one without tensors, UnsupportedError."""
    tensors = matrices(gguf, imatrix=imatrix is not None)
    types = {matrix.name: recipe.type_of(matrix) for matrix in tensors}
    changes = [_change(tensor, types.get(tensor.name, tensor.type)) for tensor in gguf.tensors.values()]
    if not changes:
        raise ModelRefused(f"{gguf.path}: holds no tensors; give a model")
    return QuantPlan(recipe, tuple(changes), imatrix is not None, notes(recipe, tensors))


def recipe_for_size(
    plan_of: Callable[[Recipe], QuantPlan], size_of: Callable[[QuantPlan], int], n_bytes: int
) -> Recipe:
    """The finest of llama.cpp's mixtures whose file has at most n_bytes.

    Without an importance matrix the coarsest are K-quants, which do without. Raises ValueError if none is so small.
    """
    imatrix = plan_of(Recipe.named("Q8_0")).imatrix
    sizes = {name: size_of(plan_of(Recipe.named(name))) for name in (LADDER if imatrix else LADDER_WITHOUT_IMATRIX)}
    small = [name for name, size in sizes.items() if size <= n_bytes]
    if not small:
        least = min(sizes, key=sizes.__getitem__)
        more = "" if imatrix else "; with an importance matrix (--imatrix) there are smaller ones"
        raise ValueError(f"the smallest, {least}, takes {sizes[least]} bytes, and {n_bytes} are allowed{more}")
    return Recipe.named(small[-1])


def _change(tensor: TensorInfo, type: str) -> Change:
    if type == tensor.type:
        return Change(tensor.name, tensor.shape, type, type, tensor.n_bytes)
    if tensor.type not in FORMATS:
        raise UnsupportedError(
            f"tensor {quoted(tensor.name)}: {tensor.type} can't be read, and {type} is wanted; quantize the original "
            "model"
        )
    n_bytes = tensor.n_weights // FORMATS[type].block_size * FORMATS[type].block_bytes
    return Change(tensor.name, tensor.shape, tensor.type, type, n_bytes)

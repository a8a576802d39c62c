"""The matrices of a model that a search gives types to, each for itself, and the types that each may take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from subbyte.kernels import FORMATS
from subbyte.runtime.compare.groups import start_of
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.model import Model
from subbyte.runtime.quantize.encode import Weights
from subbyte.runtime.quantize.importances import importances_of, type_needs_importances
from subbyte.runtime.recipes.matrices import matrices
from subbyte.runtime.recipes.rule import QuantizableTensor

TYPES = (
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K", "IQ3_XXS", "IQ3_S", "Q3_K", "IQ4_XS", "Q4_K", "Q5_K",
    "Q6_K", "Q8_0",
)  # fmt: skip
SHORT_ROWS = ("IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""What a search chooses from where it is told nothing: what llama.cpp's releases have known since March 2024, floats
aside; and for rows that blocks of 256 weights do not fill."""

LONGEST = 8  # layers that are measured together at first
SMALL = 1e-4  # of a model's weights: a matrix of fewer is worth no measurement


@dataclass(frozen=True, eq=False)
class Group:
    """A matrix, or the experts of a kind in a layer, which take one type.

    tensor: in the base. start: the layer to begin with where it changes; None: with the embeddings. importances:
    float32 [experts, row length], None without any. n_bytes: by the types that it may take, few bytes first. is_run:
    whether the model computes with it; a layer that predicts further tokens is passed over.
    """

    matrix: QuantizableTensor
    tensor: TensorInfo
    start: int | None
    importances: Weights | None
    n_bytes: Mapping[str, int]
    is_run: bool

    @property
    def name(self) -> str:
        """Of its tensor."""
        return self.tensor.name

    @property
    def is_head(self) -> bool:
        """Whether logits are its product: the output, or embeddings that are the output, too."""
        context = self.matrix.context
        return context.kind == "output" or (context.kind == "token_embd" and context.tied)


def choices(model: Model, types: Sequence[str] | None) -> list[Sequence[str]]:
    """The types that matrices have to choose from: these, or by the length of a matrix's rows what is worth it."""
    if types is not None:
        return [types]
    own = {_worth_taking(matrix.context.row) for matrix in matrices(model.gguf, imatrix=True)}
    return [of for of in (TYPES, SHORT_ROWS) if of in own]


def _worth_taking(row: int) -> tuple[str, ...]:
    """What a matrix chooses from where a search is told nothing. row: weights in a row."""
    return SHORT_ROWS if row % 256 else TYPES


def find_groups(
    model: Model, imatrix: Imatrix | None, types: Sequence[str] | None, without: Collection[str] = ()
) -> list[Group]:
    """All matrices of a model that can take one of these types, those that change early layers first.

    types: None for all that are worth it; without: those that are not to be taken of them. A small matrix has no
    choice: it takes the finest. Raises ValueError where no matrix takes any.
    """
    tensors = model.gguf.tensors
    small = SMALL * sum(tensor.n_weights for tensor in tensors.values())
    run = {name for operation in model.plan.operations for name in operation.weights}
    groups = []
    for matrix in matrices(model.gguf, imatrix=imatrix is not None):
        tensor = tensors[matrix.name]
        importances = importances_of(tensor.name, tensor.shape, imatrix)
        sizes = {
            type: tensor.n_weights // FORMATS[type].block_size * FORMATS[type].block_bytes
            for type in types or _worth_taking(tensor.shape[0])
            if type not in without
            and tensor.shape[0] % FORMATS[type].block_size == 0
            and (importances is not None or not type_needs_importances(tensor.name, type))
        }
        ordered = sorted((n, type) for type, n in sizes.items() if n <= tensor.n_bytes)
        if ordered:
            kept = ordered[-1:] if tensor.n_weights < small else ordered
            start = start_of([tensor.name], model.plan.operations)
            n_bytes = {type: n for n, type in kept}
            groups.append(Group(matrix, tensor, start, importances, n_bytes, tensor.name in run))
    if not groups:
        raise ValueError(f"{model.path}: no matrix takes any of {', '.join(types or TYPES)}; allow other types")
    return sorted(groups, key=lambda group: -1 if group.start is None else group.start)


def bands(groups: Sequence[Group]) -> list[list[int]]:
    """Indices of groups that are measured together: of one kind, in layers behind one another. Only of those that run.

    At both ends, where layers differ most, a layer is alone; further inside there are 2, 4, at most LONGEST together.
    """
    by_kind: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        if group.is_run:
            by_kind[group.matrix.context.kind, group.matrix.layer is None].append(i)
    return [part for of_kind in by_kind.values() for part in banded(of_kind)]


def banded(indices: list[int]) -> list[list[int]]:
    """The bands of a kind that is in so many layers."""
    parts: list[list[int]] = []
    ends: list[list[int]] = []
    sizes = iter((1, 1, 2, 4))
    while indices:
        size = next(sizes, LONGEST)
        parts.append(indices[:size])
        indices = indices[size:]
        if indices:
            ends.append(indices[-size:])
            indices = indices[:-size]
    return parts + ends[::-1]

"""What a recipe says and a file does not get: rules that fit no tensor, block types that its rows do not fill."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from subbyte.kernels import FORMATS
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.recipes.rule import QuantizableTensor
from subbyte.runtime.text import printable

WHOLE_BLOCKS = 256  # weights in a row that the blocks of every type fill


def notes(recipe: Recipe, tensors: Sequence[QuantizableTensor]) -> tuple[str, ...]:
    """A sentence for each rule that fits none of a model's matrices, and for each type with another in its place."""
    return (*_unmatched(recipe, tensors), *_fallbacks(recipe, tensors))


def _unmatched(recipe: Recipe, tensors: Sequence[QuantizableTensor]) -> Iterator[str]:
    for i, rule in enumerate(recipe.rules, 1):
        anywhere = replace(rule, when=())  # conditions are there to hold for some models only
        if not any(anywhere.fits(matrix) for matrix in tensors):
            where = f", layers {rule.layers}" if rule.layers else ""
            yield f"rule {i} of {printable(recipe.name)} fits no tensor of the model: {rule.match}{where}"


def _fallbacks(recipe: Recipe, tensors: Sequence[QuantizableTensor]) -> Iterator[str]:
    """llama-quantize's substitutes, told from what the recipe gives a matrix of longer rows."""
    instead: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
    for matrix in tensors:
        filled = replace(matrix, context=replace(matrix.context, row=WHOLE_BLOCKS))
        wanted, type = recipe.type_of(filled), recipe.type_of(matrix)
        if wanted != type:
            instead[wanted, type, matrix.context.row].append(matrix.name)
    for (wanted, type, row), names in instead.items():
        several = (
            f"{len(names)} tensors, such as {printable(names[0])}, take"
            if names[1:]
            else f"{printable(names[0])} takes"
        )
        why = f"rows of {row} weights are no whole blocks of {FORMATS[wanted].block_size}"
        yield f"{several} {type} in place of {wanted}: {why}"

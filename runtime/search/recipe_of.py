"""A mixture, given tensor by tensor, as a recipe of few rules: kinds with ranges of layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.recipes.rule import QuantizableTensor, Rule


def recipe_of(
    name: str, types: Mapping[str, str], matrices: Sequence[QuantizableTensor], n_weights: Mapping[str, int]
) -> Recipe:
    """The recipe that gives each tensor its type. types: by tensor. n_weights: of each, for what most weights take."""
    weights = Counter[str]()
    for matrix in matrices:
        weights[types[matrix.name]] += n_weights[matrix.name]
    default = weights.most_common(1)[0][0]
    by_kind: defaultdict[str, list[QuantizableTensor]] = defaultdict(list)
    for matrix in matrices:
        by_kind[matrix.context.kind].append(matrix)
    rules: list[Rule] = []
    for kind, of_kind in by_kind.items():
        counts = Counter(types[matrix.name] for matrix in of_kind)
        most = counts.most_common(1)[0][0]
        for type in counts:
            layers = [matrix.layer for matrix in of_kind if types[matrix.name] == type and matrix.layer is not None]
            if type != most:
                rules.append(Rule(kind, type, ranges(layers)))
        if most != default:
            rules.append(Rule(kind, most))
    return Recipe(name, default, tuple(rules), pure=True)


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers as a recipe's layers: "0-3, 7"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)

"""The importances that a plan's tensors are quantized with: which need some, whether they fit, and which lack them."""

import math

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ModelRefused
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.quantize.plan import Change, QuantPlan
from subbyte.runtime.recipes.recipe import Recipe

# Of a matrix that is multiplied with in every layer; so coarse that without importances the model is lost.
NEED_IMATRIX = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"})
ENCODER_NEEDS_IMATRIX = frozenset({"IQ1_S", "IQ2_XXS", "IQ2_XS"})  # whatever the tensor; as libgguf says

_LOOKED_UP = ("token_embd.weight", "output.weight")  # embeddings, and what they may be tied to


def importances_of(name: str, shape: tuple[int, ...], imatrix: Imatrix | None) -> NDArray[np.float32] | None:
    """The importances of a tensor, float32 [experts, row length], of a dense one [1, row length]; None without any.

    Raises ModelRefused for an importance matrix of another model.
    """
    weights = imatrix.weights(name) if imatrix else None
    if weights is None:
        return None
    row, n_expert = shape[0], math.prod(shape[2:])
    if weights.size != row * n_expert:  # the older format has those of all experts in one row
        wanted = f"rows of {n_expert} experts" if n_expert > 1 else "rows"
        found = f"{wanted} have {row} weights, the importance matrix has {' x '.join(map(str, weights.shape))}"
        raise ModelRefused(f"tensor {name}: {found}; it was made from another model")
    return weights.reshape(n_expert, row)


def check_importances(plan: QuantPlan, imatrix: Imatrix | None) -> None:
    """Raises ModelRefused, which names the tensor, where its type lacks importances, or has some that do not fit."""
    for change in plan.changes:
        if change.was == change.type:
            continue
        weights = importances_of(change.name, change.shape, imatrix)
        if weights is not None and not np.isfinite(weights).all():
            raise ModelRefused(f"tensor {change.name}: importances that are not finite; make another importance matrix")
        if weights is None and needs_importances(change, plan.recipe):
            lacks = "none was given (--imatrix)" if imatrix is None else "the given one has none for this tensor"
            raise ModelRefused(
                f"tensor {change.name}: {change.type} needs an importance matrix, and {lacks}; "
                "make one with `subbyte imatrix`, or give the tensor another type"
            )


def needs_importances(change: Change, recipe: Recipe) -> bool:
    """llama-quantize's rule, and what the encoders ask for besides."""
    q2_k_s = change.type == "Q2_K" and recipe.default_type == "Q2_K_S"
    return type_needs_importances(change.name, change.type) or (q2_k_s and change.name not in _LOOKED_UP)


def type_needs_importances(name: str, type: str) -> bool:
    """Whether a tensor of this name takes the type only with importances, whatever the recipe."""
    return type in (ENCODER_NEEDS_IMATRIX if name in _LOOKED_UP else NEED_IMATRIX)

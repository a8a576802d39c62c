"""How much the same text's logits may differ when it is computed in other steps.

A token's logits depend on how the tokens were shared out to steps: one token, a few and a tile of them have kernels of
their own, and the tokens of a tile share the cuts of the keys that they see. Sums are in another order then, by an
amount that depends on the instruction set (a tile has 8 or 16 lanes); two ways that are alike in bits on one processor
need not be on another. So what compares two ways asks for nearness only, and all of it here. What is computed in the
same steps is the same bits everywhere, whatever the number of threads: such tests use np.array_equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import subbyte as sb
from subbyte.runtime.types import CacheType

Logits = NDArray[np.floating]

ANOTHER_ORDER = 1e-4
"""Of logits of about 1, from float weights over a float cache: only sums are rounded otherwise. Measured: some 1e-5."""
ANOTHER_ROUNDING = 1e-3
"""Where keys and values are rounded to F16 too, a sum may be rounded to the next one."""
DIVERGENCE = 1e-4
"""Mean, in nats, where activations are rounded to int8 in between and a few of them to the next one."""
OF_A_DIVERGENCE = 1e-2
"""Relative, of the divergence between two models."""


def assert_near(found: Logits, expected: Logits, bound: float = ANOTHER_ORDER) -> None:
    """Logits or log-probabilities of the same positions of the same text."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) < bound


def assert_same_greedy(
    model: sb.Model, prompt: list[int], found: tuple[int, ...], expected: tuple[int, ...], cache_type: CacheType
) -> None:
    """The same tokens, up to a place where the best two are as good as equal; what follows it is another text."""
    assert found and expected
    differing = [i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b]
    if not differing:
        assert len(found) == len(expected)
        return
    at = differing[0]
    with model.session(len(prompt) + at, cache_type) as session:
        logits = session.eval([*prompt, *expected[:at]])
    bound = ANOTHER_ORDER if cache_type == "f32" else ANOTHER_ROUNDING
    assert logits.max() - min(logits[found[at]], logits[expected[at]]) < 2 * bound, f"token {at} is another"

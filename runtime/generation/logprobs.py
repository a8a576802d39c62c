"""Log-probabilities of the tokens that come, and of those that might have."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import top_logprobs
from subbyte.runtime.generation.events import TokenLogprob, TopLogprob


def token_logprob(
    logits: NDArray[np.float32] | None, token: int, k: int, piece: Callable[[int], bytes]
) -> TokenLogprob:
    """A token that was drawn, with the k most probable ones, at most as many as there are.

    logits: the model's own, [n_vocab]; None: the token was forced. piece: the bytes of a token, or its name.
    """
    if logits is None:
        return TokenLogprob(token, piece(token), None, ())
    ids, logprobs = top_logprobs(logits, token, min(k, logits.size))
    (_, own, logprob), *top = zip(ids.tolist(), map(piece, ids.tolist()), logprobs.tolist(), strict=True)
    return TokenLogprob(token, own, logprob, tuple(TopLogprob(*each) for each in top))

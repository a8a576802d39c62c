"""Which losses a model can have: those of a chunk whose perplexity, and the squares in its errors, are float64."""

from pathlib import Path

import numpy as np

from subbyte.errors import NumericError
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.text import printable

MAX_MEAN_LOSS = 300.0  # nats a token of a chunk; to guess among all tokens costs 12
_ROUNDING = 1e-3  # by which a probability may seem to be above 1


def are_losses(nats: Floats) -> bool:
    """Whether these can be the losses of a chunk's tokens."""
    return bool(np.isfinite(nats).all() and (nats >= -_ROUNDING).all() and nats.mean() <= MAX_MEAN_LOSS)


def check_losses(path: Path, nats: Floats) -> None:
    """Raises NumericError for losses of a chunk that no perplexity can be made of. path: of the model."""
    if not are_losses(nats):
        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(nats.mean())
        raise NumericError(
            f"{printable(str(path))}: the mean loss of a chunk is {mean:.3g} nats a token, from 0 to "
            f"{MAX_MEAN_LOSS:.0f} are allowed: its logits are far too large; fetch the model again"
        )

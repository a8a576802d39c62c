"""How an error grows from layer to layer: the residual stream of models beside that of a base on the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subbyte.runtime.compare.lockstep import Tokens
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class LayerError(Record):
    """The residual stream h behind a layer (or behind the embeddings) of a model, against the base's b.

    relative: root mean square over the tokens of |h - b| / |b|; every token counts the same, else the few of enormous
    norm, such as the first of a text, would be all that is seen. cosine: mean over the tokens of h.b / |h||b|.
    """

    name: str
    relative: float
    cosine: float


def run_layers(forwards: Sequence[Forward], tokens: Tokens, pos: int, rows: Tokens) -> Floats:
    """Runs a batch through a base and models of its shape, layer by layer.

    rows: of the batch, int32 [n]. Returns the sums over them of (|h - b| / |b|)^2 and of the cosine, behind the
    embeddings and behind each layer: float64 [n models, 1 + n_layer, 2].
    """
    sums = []
    for forward in forwards:
        forward.embed(tokens, pos)
    sums.append(_sums(forwards, rows))
    for layer in range(forwards[0].n_layer):
        for forward in forwards:
            forward.run(tokens, pos, range(layer, layer + 1))
        sums.append(_sums(forwards, rows))
    by_model: Floats = np.array(sums).transpose(1, 0, 2)
    return by_model


def _sums(forwards: Sequence[Forward], rows: Tokens) -> list[tuple[float, float]]:
    base, *others = (forward.hidden[rows].astype(np.float64) for forward in forwards)
    norm = np.maximum((base * base).sum(axis=1), np.finfo(np.float64).tiny)
    sums = []
    for hidden in others:
        error = ((hidden - base) ** 2).sum(axis=1) / norm
        other = np.maximum((hidden * hidden).sum(axis=1), np.finfo(np.float64).tiny)
        cosine = (hidden * base).sum(axis=1) / (np.sqrt(norm) * np.sqrt(other))
        sums.append((float(error.sum()), float(cosine.sum())))
    return sums


def layer_errors(sums: Floats, n_rows: int) -> tuple[LayerError, ...]:
    """What the sums [1 + n_layer, 2] of one model over n_rows tokens say."""
    names = ["token_embd", *(f"blk.{layer}" for layer in range(len(sums) - 1))]
    return tuple(
        LayerError(name, float(np.sqrt(error / n_rows)), float(cosine / n_rows))
        for name, (error, cosine) in zip(names, sums, strict=True)
    )

"""Divergences of a model's variants from it, over passages: only layers behind a change are run.

A variant differs in some tensors from a reference, which is the model itself or what a search has found so far. The
reference's hidden states behind a layer are kept for all passages, so that a variant begins there. Divergences are
always from the model itself, the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError
from subbyte.kernels import compare_logits
from subbyte.runtime.evaluation.forward import Forward, Values, layer_starts
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.model import Model
from subbyte.runtime.search.passages import Passage
from subbyte.runtime.text import printable

Tensors = Mapping[str, TensorInfo]
LOGITS_BYTES = 2**29  # of the base's predictions, which are kept


def n_layers(model: Model) -> int:
    """Layers that a forward pass runs."""
    return len(layer_starts(model.plan.operations)) - 1


class Variants:
    """Measures variants of a model over the same passages."""

    def __init__(self, model: Model, passages: Sequence[Passage], options: EvalOptions) -> None:
        self._model, self._passages, self._options = model, passages, options
        self._n_ctx = max(len(passage.tokens) for passage in passages)
        self._base: list[Values] = []

    def divergences(
        self, reference: Tensors, changes: Iterable[tuple[int | None, Tensors]], chosen: Sequence[int]
    ) -> Iterator[Floats]:
        """KL(base || variant), nats, the mean over each passage's scored rows: float64 [chosen], for each variant.

        reference: tensors in place of the base's. changes: the layer to begin with and all tensors of the variant that
        differ from the base's; in the order of their layers, those that begin with the embeddings first. chosen:
        indices of the passages that are run. Raises ModelChanged, and NumericError where one is not finite.
        """
        if not self._base:
            forward = self._forward({})
            for passage in self._passages:
                self._base.append(self._logits(forward, passage, None, 0))
        passages = [self._passages[i] for i in chosen]
        base = [self._base[i] for i in chosen]
        hidden, behind = None, 0
        for start, tensors in changes:
            if start is not None:
                if hidden is None:
                    run = self._forward(reference)
                    hidden = [_embedded(run, passage) for passage in passages]
                for passage, states in zip(passages, hidden, strict=True):
                    for layer in range(behind, start):  # some layers read what an earlier one cached of this passage
                        _advance(run, passage, states, layer)
                behind = start
            forward, means = self._forward(tensors), []
            for i, (passage, p) in enumerate(zip(passages, base, strict=True)):
                q = self._logits(forward, passage, hidden[i] if start is not None and hidden else None, behind)
                means.append(self._mean_divergence(passage, p, q))
            self._model.gguf.check_unchanged()
            yield self._checked(np.array(means))

    def _forward(self, tensors: Tensors) -> Forward:
        plan = self._model.plan_with(tensors) if tensors else None
        return self._options.forward(self._model, self._n_ctx, plan)

    def _mean_divergence(self, passage: Passage, p: Values, q: Values) -> float:
        targets = passage.tokens[passage.rows + 1]
        figures = compare_logits(p, q, targets, n_threads=self._model.n_threads, isa=self._model.isa)
        return float(figures.divergence.mean())

    def _checked(self, means: Floats) -> Floats:
        if not np.isfinite(means).all():
            path = printable(str(self._model.path))
            raise NumericError(f"{path}: its predictions are not finite; fetch the model again")
        return means

    def _logits(self, forward: Forward, passage: Passage, hidden: Values | None, start: int) -> Values:
        """Of the scored rows, float32 [n, n_vocab]; hidden: what to begin with at the layer `start`."""
        found = []
        for tokens, pos in _batches(passage.tokens, forward.n_batch):
            if hidden is None:
                forward.run(tokens, pos)
            else:
                forward.hidden = hidden[pos : pos + len(tokens)]
                forward.run(tokens, pos, range(start, forward.n_layer))
            rows = passage.rows[(passage.rows >= pos) & (passage.rows < pos + len(tokens))] - pos
            if len(rows):
                found.append(forward.logits(rows))
        return np.concatenate(found)


def _embedded(forward: Forward, passage: Passage) -> Values:
    """The hidden state before the first layer, float32 [n, n_embd]."""
    parts = []
    for tokens, pos in _batches(passage.tokens, forward.n_batch):
        forward.embed(tokens, pos)
        parts.append(forward.hidden)
    return np.concatenate(parts)


def _advance(forward: Forward, passage: Passage, hidden: Values, layer: int) -> None:
    """Runs one layer over all of a passage's hidden state, in place."""
    for tokens, pos in _batches(passage.tokens, forward.n_batch):
        forward.hidden = hidden[pos : pos + len(tokens)]
        forward.run(tokens, pos, range(layer, layer + 1))
        hidden[pos : pos + len(tokens)] = forward.hidden


def _batches(tokens: NDArray[np.int32], n_batch: int) -> Iterator[tuple[NDArray[np.int32], int]]:
    for pos in range(0, len(tokens), n_batch):
        yield tokens[pos : pos + n_batch], pos

"""The divergences a search needs, measured once: what is kept is taken from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.model import Model
from subbyte.runtime.search.groups import Group
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures, digest_of
from subbyte.runtime.search.passages import Passage, digest
from subbyte.runtime.search.variants import Variants

Mixture = Mapping[int, str]
"""Types of groups by their index; the other groups are as in the base."""


@dataclass(frozen=True)
class Variant:
    """What to measure: a mixture. start: the layer from which it differs from the reference; None: all of it."""

    mixture: Mixture
    start: int | None


class Measured:
    """Divergences of mixtures from the base on some passages; n_new, n_reused count them."""

    def __init__(
        self,
        model: Model,
        groups: Sequence[Group],
        passages: Sequence[Passage],
        options: EvalOptions,
        encoded: EncodedTensors,
        figures: KeptFigures,
    ) -> None:
        self._groups, self._encoded, self._figures = groups, encoded, figures
        self._variants = Variants(model, passages, options)
        conditions = (digest(passages), options.activations, options.cache_type, version("subbyte"))
        self._conditions = digest_of(model.gguf.digest(), *conditions)
        self._n_passages = len(passages)
        self.n_new = self.n_reused = 0

    def divergences(self, reference: Mixture, variants: Sequence[Variant]) -> Iterator[Floats]:
        """KL(base || mixture) of each variant, nats, float64 [passages], in their order, which is that of `start`."""
        names = [self._digest(variant.mixture) for variant in variants]
        kept = [self._get(name) for name in names]
        missing = [variant for variant, known in zip(variants, kept, strict=True) if known is None]
        changes = ((variant.start, self.tensors(variant.mixture)) for variant in missing)
        new = self._variants.divergences(self.tensors(reference) if missing else {}, changes)
        for name, known in zip(names, kept, strict=True):
            if known is None:
                found = next(new)
                self._figures.put(name, found.tolist())
                self.n_new += 1
                yield found
            else:
                self.n_reused += 1
                yield known

    def tensors(self, mixture: Mixture) -> dict[str, TensorInfo]:
        """The mixture's tensors by name, encoded."""
        return {self._groups[i].name: self._encoded.get(self._groups[i], type) for i, type in mixture.items()}

    def whole(self, mixture: Sequence[str]) -> Floats:
        """KL(base || mixture of all groups), nats, float64 [passages]."""
        (found,) = self.divergences({}, [Variant(dict(enumerate(mixture)), None)])
        return found

    def _get(self, name: str) -> Floats | None:
        values = self._figures.get(name)
        return np.array(values) if values is not None and len(values) == self._n_passages else None

    def _digest(self, mixture: Mixture) -> str:
        of_tensors = sorted(self._encoded.digest(self._groups[i], type) for i, type in mixture.items())
        return digest_of(self._conditions, of_tensors)

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
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures, digest_of, model_digest
from subbyte.runtime.search.passages import Passage, digest
from subbyte.runtime.search.variants import Variants

SOME = 6  # passages, about, that tell a large difference

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
        self._all = tuple(range(len(passages)))
        self._some = some_of(passages)
        of_options = options.activations, options.cache_type, version("subbyte")
        self._conditions = {
            chosen: digest_of(model_digest(model.gguf), digest([passages[i] for i in chosen]), *of_options)
            for chosen in (self._all, self._some)
        }
        self.n_new = self.n_reused = 0

    def divergences(
        self, reference: Mixture, variants: Sequence[Variant], *, on_some: bool = False
    ) -> Iterator[Floats]:
        """KL(base || mixture) of each variant, nats, float64 [passages], in their order, which is that of `start`.

        on_some: only on some of the passages, from all domains.
        """
        chosen = self._some if on_some else self._all
        names = [self._digest(variant.mixture, chosen) for variant in variants]
        kept = [self._get(name, len(chosen)) for name in names]
        missing = [variant for variant, known in zip(variants, kept, strict=True) if known is None]
        changes = ((variant.start, self.tensors(variant.mixture)) for variant in missing)
        new = self._variants.divergences(self.tensors(reference) if missing else {}, changes, chosen)
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

    def _get(self, name: str, n: int) -> Floats | None:
        values = self._figures.get(name)
        return np.array(values) if values is not None and len(values) == n else None

    def _digest(self, mixture: Mixture, chosen: tuple[int, ...]) -> str:
        of_tensors = sorted(self._encoded.digest(self._groups[i], type) for i, type in mixture.items())
        return digest_of(self._conditions[chosen], of_tensors)


def some_of(passages: Sequence[Passage]) -> tuple[int, ...]:
    """Indices of about SOME passages, at least one of each domain."""
    some = {*range(0, len(passages), max(1, len(passages) // SOME))}
    seen = {passages[i].domain for i in some}
    for i, passage in enumerate(passages):
        if passage.domain not in seen:
            seen.add(passage.domain)
            some.add(i)
    return tuple(sorted(some))

"""How often each expert of a mixture was chosen, as an importance matrix has it, and which were never."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subbyte.errors import ModelRefused
from subbyte.runtime.gguf.names import is_routed, layer_of
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.records import Record

SHOWN = 8  # layers of a warning, and experts of each


@dataclass(frozen=True, slots=True)
class ExpertUse(Record):
    """The experts of one layer. counts: of each, how often a token was sent to it, weights of texts rounded up."""

    layer: int
    counts: tuple[int, ...]

    @property
    def never(self) -> tuple[int, ...]:
        """Those that no token was sent to."""
        return tuple(i for i, count in enumerate(self.counts) if not count)

    @property
    def shares(self) -> tuple[float, ...]:
        """What part of all choices fell on each expert; 1 / experts where all are alike."""
        total = sum(self.counts) or 1
        return tuple(count / total for count in self.counts)


def expert_use(imatrix: Imatrix) -> list[ExpertUse]:
    """The layers with experts, ascending; none for a dense model, or in the older format, which has no such counts."""
    layers: dict[int, ExpertUse] = {}
    for name, counts in imatrix.counts.items():
        layer = layer_of(name)
        if layer is not None and is_routed(name) and len(counts) > 1:
            layers.setdefault(layer, ExpertUse(layer, tuple(np.ceil(counts).astype(np.int64).tolist())))
    return [layers[layer] for layer in sorted(layers)]


def checked_use(imatrix: Imatrix, n_expert: int, model: str) -> list[ExpertUse]:
    """The layers with experts, for a model with so many of them.

    Raises ModelRefused for a dense model, and for an importance matrix without such counts, or of another model.
    """
    if not n_expert:
        raise ModelRefused(f"{model}: a dense model, which has no experts")
    layers = expert_use(imatrix)
    if not layers:
        raise ModelRefused("the importance matrix counts no experts; make one of this model with `subbyte imatrix`")
    if odd := [of for of in layers if len(of.counts) != n_expert]:
        found = f"layer {odd[0].layer} has {n_expert} experts, the importance matrix has {len(odd[0].counts)}"
        raise ModelRefused(f"{model}: {found}; it was made from another model")
    return layers


def never_chosen(imatrix: Imatrix) -> str | None:
    """A sentence that names the experts without importances: they were never chosen. None if there are none."""
    lacking = [of for of in expert_use(imatrix) if of.never]
    if not lacking:
        return None
    named = [f"layer {of.layer}: {_ids(of.never)} of {len(of.counts)}" for of in lacking[:SHOWN]]
    more = [f"{len(lacking) - SHOWN} more layers"] if len(lacking) > SHOWN else []
    return (
        "experts that were never chosen have no importances, so that all their columns will count alike: "
        f"{'; '.join([*named, *more])}; a longer or more varied text may reach them"
    )


def _ids(experts: tuple[int, ...]) -> str:
    more = f" and {len(experts) - SHOWN} more" if len(experts) > SHOWN else ""
    return ", ".join(map(str, experts[:SHOWN])) + more

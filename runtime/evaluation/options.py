"""How a text is evaluated: what all measurements over a text have in common."""

from dataclasses import dataclass
from typing import get_args

from subbyte.kernels import Plan
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType, SessionOptions


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """n_ctx: tokens of a chunk; None for 512, or for what a base file has. chunks: at most so many in all, None for
    the whole text. cache_type, activations: see `CacheType` and `Activations`; "int8x2" measures the file, not the
    rounding of activations, "int8" what chat and generation compute. special: text like <|im_end|> is read as the
    control token that it spells, as in conversations that were written out by a chat template.
    Raises ValueError for a value that makes no sense.
    """

    n_ctx: int | None = None
    chunks: int | None = None
    cache_type: CacheType = "f16"
    activations: Activations = "int8x2"
    special: bool = False

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            n_ctx = arguments.whole("n_ctx", self.n_ctx, 4, hint="a chunk has at least 4 tokens")
            object.__setattr__(self, "n_ctx", n_ctx)
        if self.chunks is not None:
            object.__setattr__(
                self, "chunks", arguments.whole("chunks", self.chunks, 1, hint="at least 1; None: the whole text")
            )
        arguments.flag("special", self.special)
        arguments.choice("cache_type", self.cache_type, get_args(CacheType))
        arguments.choice("activations", self.activations, get_args(Activations))

    def forward(self, model: Model, n_ctx: int, plan: Plan | None = None) -> Forward:
        """A forward pass of the model, or of another of its plans, over chunks of n_ctx tokens."""
        return Forward(model, self.session(n_ctx), plan)

    def session(self, n_ctx: int) -> SessionOptions:
        """Those of a session for chunks of n_ctx tokens."""
        return SessionOptions(n_ctx, self.cache_type, self.activations, 0)

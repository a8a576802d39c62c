"""What a conversation answers with, as a value to look at."""

from dataclasses import dataclass

from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.records import Record
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True, slots=True)
class ChatSettings(Record):
    """The settings of the next answer, those included that were not given: a built-in model may have its own.

    stop: the template's own strings too. max_tokens, reasoning_budget: None for no limit. thinking: None as trained.
    """

    sampling: Sampling
    activations: Activations
    cache_type: CacheType
    n_ctx: int
    max_tokens: int | None
    stop: tuple[str, ...]
    system: str | None
    thinking: bool | None
    reasoning_budget: int | None

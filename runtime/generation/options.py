"""Options of a generation, as a value."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from subbyte.runtime.generation.reasoning_parser import Tags, checked_budget
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.generation.stop_strings import stop_strings


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How an answer is made. Raises ValueError for a value that makes no sense."""

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None  # None: as many as fit into the context
    stop: Iterable[str] = ()  # strings that end the answer; kept as a tuple
    reasoning_budget: int | None = None  # tokens of reasoning after which its end is forced; None: no limit
    tags: Tags | None = None  # what surrounds the model's reasoning; None: all it writes is the answer
    opened: str | None = None  # what the prompt has behind the open tag that it begins in; None: its end tells

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 0:
            raise ValueError(
                f"max_tokens is {self.max_tokens}, but must be at least 0 (None: as many as fit into the context)"
            )
        checked_budget(self.reasoning_budget)
        object.__setattr__(self, "stop", stop_strings(self.stop))

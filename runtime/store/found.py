"""What a place that keeps models tells of one: its name, file and size."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installed:
    """A model that is here: the name `resolve` takes, its (first) file, the bytes of all its files, and whose place
    that is ("subbyte", "Hugging Face", "Ollama", "LM Studio", "llama.cpp").

    license: of a built-in model; it is not known of others (None).
    """

    name: str
    path: Path
    size: int
    place: str
    license: str | None = None

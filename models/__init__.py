"""The architectures subbyte runs: each file here without a leading underscore is one, named as GGUF names it."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from subbyte.errors import UnsupportedError
from subbyte.models._config import BaseConfig
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._unread import check_unread
from subbyte.models._weights import Weights

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "BaseConfig",
    "Graph",
    "Metadata",
    "Weights",
    "architecture",
    "check_unread",
]

ARCHITECTURES = tuple(sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py")))


class Architecture(Protocol):
    """What a model file defines: how its metadata is read, and its forward pass."""

    def configure(self, meta: Metadata, n_vocab: int) -> BaseConfig: ...
    def forward(self, g: Graph, c: Any, w: Weights) -> None: ...


def architecture(name: str) -> Architecture:
    """The model file for a `general.architecture`; UnsupportedError names those there are."""
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedError(f"architecture {name[:40]!r} is not supported; take a model of one of these: {known}")
    module: Any = import_module(f"subbyte.models.{name}")
    return module  # type: ignore[no-any-return]

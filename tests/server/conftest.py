"""Tiny models, and servers of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_server import LiveServer, live_server
from tiny_models import write_model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 512 positions."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_model(path, context_length=512)
    return path


@pytest.fixture(scope="module")
def server(tiny_path: Path) -> Iterator[LiveServer]:
    """A server of it, for all tests of a file."""
    with live_server({"tiny": tiny_path}) as running:
        yield running

"""Tiny models, and servers of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_server import LiveServer, live_server
from template_conversations import source
from tiny_models import write_model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 2048 positions, whose template knows tools."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_model(path, context_length=2048, strings={"tokenizer.chat_template": source("qwen2.5")})
    return path


@pytest.fixture(scope="module")
def server(tiny_path: Path) -> Iterator[LiveServer]:
    """A server of it, for all tests of a file."""
    with live_server({"tiny": tiny_path}) as running:
        yield running

"""What all tests of benchmarks need."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def sigterm_as_before() -> Iterator[None]:
    """A benchmark is a process and answers SIGTERM as it likes; called in the tests' process, it must not go on so."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)

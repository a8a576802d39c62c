"""What every test starts from."""

import signal
import sys
from pathlib import Path

import pytest

# A shell starts background jobs (`make test &`) with SIGINT ignored, and Python then raises no KeyboardInterrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def terminal(tmp_path):
    """Starts a program in a terminal, the fake chat if none is named; called again it starts another one."""
    from terminals import Terminal

    fake = [sys.executable, str(Path(__file__).parent / "support" / "fake_chat.py"), str(tmp_path)]
    started = []

    def start(command=fake, **options):
        started.append(Terminal(command, **options))
        return started[-1]

    yield start
    for one in started:
        one.child.close(force=True)


@pytest.fixture
def chat(terminal):
    """The fake chat, waiting for its first question."""
    screen = terminal()
    screen.prompt()
    return screen

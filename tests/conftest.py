"""What every test starts from, and which tests depend on the instruction set in use."""

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

COMPUTES = {"compare", "evaluation", "generation", "kernels", "models", "scoring"}
"""Folders whose tests are run under every instruction set (`SUBBYTE_ISA`), but for those that go through all of them by
a parameter `isa`: kernels do, and one forward pass."""
ALIKE = {"test_checkpoint.py", "test_statistics.py", "test_tables.py", "test_soak.py"}
"""Files there whose subject no instruction set changes."""

# The same examples in every run, however busy the machine; `pytest --hypothesis-profile default` looks for others.
# A fixture of a function serves all its examples: none of them changes it.
ALLOWED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=ALLOWED)
settings.load_profile("repeatable")

# A shell starts background jobs (`make test &`) with SIGINT ignored, and Python then raises no KeyboardInterrupt; nohup
# ignores SIGHUP, and so would the commands that tests end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in COMPUTES and item.path.name not in ALIKE and isinstance(item, pytest.Function):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            if "isa" not in parameters:
                item.add_marker("computes")


@pytest.fixture
def command_line(capsys):
    """Runs a command line of subbyte in this process; returns exit code, stdout, stderr."""
    from subbyte.cli.main import run

    def call(*args):
        code = run(args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


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

"""Ctrl-C from the first moment of a command to its last: exit code 130 and no traceback; signals that end it."""

import asyncio
import signal
import subprocess
import sys

import pytest

from subbyte.cli.terminal.interrupt import Terminated

# Sends SIGINT when a module is asked for; "exit" when the interpreter is torn down.
PROGRAM = """
import atexit, os, signal, sys

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == WHEN:
            interrupt()

WHEN, IGNORED = sys.argv.pop(1), sys.argv.pop(1)
if IGNORED == "ignored":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.meta_path.insert(0, Finder())
if WHEN == "exit":
    atexit.register(interrupt)
from subbyte.cli.entry import main
main()
"""


@pytest.mark.parametrize("ignored", ["", "ignored"])
@pytest.mark.parametrize(
    "when", ["subbyte.cli.main", "click", "subbyte.cli.commands.report", "subbyte.runtime.store.resolve", "exit"]
)
def test_ctrl_c_at_any_moment(when: str, ignored: str) -> None:
    line = [sys.executable, "-c", PROGRAM, when, ignored, "ls", "-o", "json"]
    ran = subprocess.run(line, capture_output=True, text=True, preexec_fn=restore_sigint)
    assert (ran.returncode, ran.stderr) == (0 if ignored else 130, "")


def restore_sigint() -> None:
    """A shell starts background jobs (`make test &`) with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_signal_that_ends_the_process_leaves_an_event_loop() -> None:
    """The prompt's, too, whatever task the signal comes in: a chat must not outlive its terminal."""

    async def task() -> None:
        raise Terminated(signal.SIGHUP)

    async def loop() -> None:
        tasks.append(asyncio.ensure_future(task()))
        await asyncio.wait(tasks)

    tasks: list[asyncio.Future[None]] = []
    with pytest.raises(Terminated):
        asyncio.run(loop())
    assert isinstance(tasks[0].exception(), Terminated)  # of which nobody asks for it, asyncio logs it in another test

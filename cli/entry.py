"""The console script `subbyte`: Ctrl-C ends it alike from its first moment to its last."""

import gc
import os
import signal
import sys
from types import FrameType

GARBAGE_THRESHOLD = 50_000
"""Objects made since the last collection of cycles before the next. With Python's own 700 (2000 from 3.12 on), a tenth
of the time to a chat's first token goes into looking through modules just imported, of which none is garbage."""
INTERRUPTED = 130  # exit code, the same as in main.py, which is still to be imported then


def main() -> None:
    """Runs the command line and ends the process."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts jobs in the background
        sys.exit(_run())
    signal.signal(signal.SIGINT, _leave)
    try:
        code = _run()
    except KeyboardInterrupt:  # a second one, while the first was answered
        code = INTERRUPTED
    signal.signal(signal.SIGINT, _leave)
    sys.exit(code)


def _run() -> int:
    from subbyte.cli.main import run  # which imports all commands: 0.1 s
    from subbyte.cli.terminal.interrupt import tidy_termination

    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tidy_termination():
        return run(sys.argv[1:])


def _leave(_: int, __: FrameType | None) -> None:
    """Ends the process while modules are imported or torn down, where an exception would be shown or swallowed."""
    os._exit(INTERRUPTED)

"""How long the chat takes from process start to the first token of its first answer, in a terminal and in a pipe.

    python benchmarks/start.py [MODEL] [--rounds 9] [--isa avx2]

The question is typed before the chat asks for it, as a person in a hurry does. `python -X importtime -c "import
subbyte.cli.commands.chat"` shows what imports take of it.
"""

import argparse
import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

QUESTION = b"What is the capital of France?"
COMMAND = ["-c", "from subbyte.cli.entry import main; main()", "chat"]
LONGEST = 60.0  # seconds


def main() -> None:
    """Prints the median and the range of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--isa", help="an instruction set below the machine's best")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:  # no history of anybody's is read or written
        env = os.environ | {"XDG_DATA_HOME": home, "TERM": "xterm-256color"}
        if a.isa:
            env["SUBBYTE_ISA"] = a.isa
        for name, measure in (("terminal", in_terminal), ("pipe", in_pipe)):
            measure(a.model, env)  # warms the page cache
            times = sorted(measure(a.model, env) for _ in range(a.rounds))
            print(f"{name}: {statistics.median(times):.3f} s [{times[0]:.3f} .. {times[-1]:.3f}] to the first token")


def in_pipe(model: str, env: dict[str, str]) -> float:
    """Seconds to the first byte of the answer on stdout."""
    start = time.perf_counter()
    command = [sys.executable, *COMMAND, model, "-n", "8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdin and child.stdout
        child.stdin.write(QUESTION)
        child.stdin.close()
        if not child.stdout.read(1):
            sys.exit("the chat gave no answer")
        seconds = time.perf_counter() - start
        child.stdout.read()
    return seconds


def in_terminal(model: str, env: dict[str, str]) -> float:
    """Seconds to the first text behind the question, as it was echoed by the chat's own prompt."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, *COMMAND, model, "-n", "8"], env)
    os.write(terminal, QUESTION + b"\r")
    try:
        return _first_text(terminal) - start
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _first_text(terminal: int) -> float:
    """When the answer began. The chat shows the cursor's line anew before it answers; its first word is "The"."""
    shown, end = b"", time.perf_counter() + LONGEST
    while time.perf_counter() < end:
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # it has ended
                break
            shown += part
            if b"\x1b[6n" in part:  # it asks where the cursor is
                os.write(terminal, b"\x1b[5;1R")
            if b"The capital" in shown or shown.endswith(b"The"):
                return time.perf_counter()
    sys.exit(f"the chat gave no answer: {shown[-200:]!r}")


if __name__ == "__main__":
    main()

"""One process that renders chat templates, and how to talk to it: JSON behind its length in four bytes, both ways."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from subbyte.errors import ResourceError
from subbyte.runtime.template.limits import IN_PROCESS, LARGEST, PROCESS_SECONDS, PYTHON, START_SECONDS, WAIT_SECONDS

# The worker's modules are imported from where this one is, and jinja2 from where this process would: neither needs an
# installation that a fresh Python finds. The packages stay empty: nothing else of them is needed.
_START = """
import sys
from types import ModuleType
folder, *path = sys.argv[1:]
sys.path = path if sys.flags.no_site else sys.path + path
sys.modules["subbyte"] = ModuleType("subbyte")
sys.modules["subbyte.runtime"] = ModuleType("subbyte.runtime")
sys.modules["subbyte.runtime.template"] = package = ModuleType("subbyte.runtime.template")
package.__path__ = [folder]
from subbyte.runtime.template.worker import main
main()
"""
_NEEDED = "chat templates run in a helper process"
_WAYS_OUT = f"name a Python in {PYTHON}, or set {IN_PROCESS}=1 to render in this process"
_NONSENSE = "its helper process replies with nonsense"


class Failure(Exception):
    """Rendering failed: why, in which line of the template, or None, and whether a bound was met."""

    def __init__(self, what: str, line: int | None, *, bound: bool) -> None:
        super().__init__(what)
        self.what, self.line, self.bound = what, line, bound


def _interpreter() -> tuple[str, bool]:
    """The Python to start, and whether it is this program's own, whose modules it may import.

    A program that is frozen, or has a Python within it, says in sys.executable what it is itself, or nothing. Then it
    is the Python of the installation that it uses, if there is one. Raises ResourceError.
    """
    if named := os.environ.get(PYTHON):
        return named, False
    given = "" if getattr(sys, "frozen", False) else sys.executable or ""
    installed = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    for path in (given if "py" in os.path.basename(given).lower() else "", installed, given):
        if path and os.access(path, os.X_OK):
            return path, True
    raise ResourceError(f"{_NEEDED}, but there is no Python to start; {_WAYS_OUT}")


class Process:
    """One process and the socket to it, which are in no known state after an error: `close` them then."""

    def __init__(self) -> None:
        self._python, own = _interpreter()
        # One that was named has packages of its own, perhaps the only jinja2 that there is as files.
        options = ["-I", *(["-S"] if own else []), *(["-B"] if sys.dont_write_bytecode else [])]
        path = [entry for entry in sys.path if isinstance(entry, str)]
        self._socket, theirs = socket.socketpair()
        self._is_ready = False
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [self._python, *options, "-c", _START, str(Path(__file__).parent), *path],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                self._socket.close()
                raise ResourceError(
                    f"{_NEEDED}, but {self._python} can't be started: {error.strerror}; {_WAYS_OUT}"
                ) from error

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: bytes) -> str:
        """The text that the worker renders for a request, which is JSON.

        Raises Failure if there is none, be it that the process had to be ended; ResourceError if it does not start.
        """
        try:
            reply = self._exchange(request)
        except (OSError, ValueError, RecursionError) as error:
            raise Failure(_reason(error, self.close()), None, bound=True) from error
        except BaseException:  # a KeyboardInterrupt leaves a reply on its way
            self.close()
            raise
        match reply:
            case {"text": str(text)}:
                return text
            case {"error": str(what), "line": (int() | None) as line, "bound": bool(bound)}:
                raise Failure(what, line, bound=bound)
        self.close()
        raise Failure(_NONSENSE, None, bound=True)

    def close(self) -> int:
        """End the process, which may have ended itself; its exit status, negative for a signal."""
        self._socket.close()
        self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """Let go of it in a process that was forked: it is the other one's."""
        self._socket.close()
        self._process.returncode = 0  # no child of this process: nothing to wait for

    def _exchange(self, request: bytes) -> Any:
        if not self._is_ready:
            self._await_ready()
        deadline = time.monotonic() + WAIT_SECONDS
        self._socket.settimeout(WAIT_SECONDS)
        self._socket.sendall(len(request).to_bytes(4, "big") + request)
        return self._receive(deadline, 8 * (LARGEST + len(request)))

    def _await_ready(self) -> None:
        try:
            self._receive(time.monotonic() + START_SECONDS, 2)
        except (OSError, ValueError) as error:
            how = "it takes too long" if isinstance(error, TimeoutError) else f"it ends with status {self.close()}"
            raise ResourceError(f"{_NEEDED}, but {self._python} does not get ready: {how}; {_WAYS_OUT}") from error
        self._is_ready = True

    def _receive(self, deadline: float, most: int) -> Any:
        """The next reply, of at most so many bytes."""
        size = int.from_bytes(self._read(4, deadline), "big")
        if size > most:
            raise ValueError(f"a reply of {size} bytes")
        return json.loads(self._read(size, deadline))

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._socket.recv(min(size - len(data), 1 << 20))
            if not chunk:
                raise ConnectionError("closed")
            data += chunk
        return bytes(data)


def _reason(error: Exception, status: int) -> str:
    """Why there is no reply, from the error that was met and the status that the process ended with."""
    if isinstance(error, TimeoutError):
        return f"it takes more than {WAIT_SECONDS:g} s"
    if not isinstance(error, OSError):
        return _NONSENSE
    if status == -signal.SIGPROF:
        return f"it takes more than {PROCESS_SECONDS:g} s of processor time"
    if status == -signal.SIGSEGV:
        return "it is nested too deeply"
    return f"its helper process ended with status {status}"

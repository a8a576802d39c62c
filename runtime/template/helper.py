"""The helper process that chat templates run in, so that a template out of a model file can't hurt the program.

`runtime/template/sandbox.py` measures what a template does and says in which line it asks for too much. This is the
wall around it: the process gives up files, processes and threads, the kernel bounds its memory and processor time, and
one that oversteps is killed and replaced at the next request. A request is complete in itself, so nothing is lost with
a process.

A program that can't start a process, since it has no interpreter, may ask with the environment variable
SUBBYTE_TEMPLATES_IN_PROCESS=1 that templates are rendered within it: then only the meters are left, for files that are
trusted.

One process serves all templates and threads of this one. It has a session of its own, so Ctrl-C at the terminal does
not reach it, and it ends when its socket is closed, thus with this process at the latest. A fork starts its own.
"""

import atexit
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from subbyte.errors import ResourceError
from subbyte.runtime.template.limits import IN_PROCESS, MAX_REQUEST, WAIT_SECONDS
from subbyte.runtime.template.process import Failure, Process

_lock = threading.RLock()
_helper: Process | None = None


def start() -> None:
    """Start the process if there is none, without waiting until it is ready. Raises ResourceError."""
    if _in_process():
        return
    with _lock:
        _running()


def ask(request: Mapping[str, Any]) -> str:
    """The text that the worker renders for a request, whose form is told there.

    Raises Failure if it renders none; ResourceError if no process can be started or the request is too large;
    ValueError if the request is not JSON.
    """
    global _helper
    try:
        data = json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a chat template's messages and variables must be JSON: {error}") from error
    if len(data) > MAX_REQUEST:
        raise ResourceError(f"{len(data) >> 20} MiB of messages; a chat template takes at most {MAX_REQUEST >> 20} MiB")
    with _lock:
        return _render_here(data) if _in_process() else _running().ask(data)


def _in_process() -> bool:
    return os.environ.get(IN_PROCESS) == "1"


def _render_here(data: bytes) -> str:
    from subbyte.runtime.template.worker import answer

    reply = answer(data)
    if "text" in reply:
        return str(reply["text"])
    raise Failure(reply["error"], reply["line"], bound=reply["bound"])


def _running() -> Process:
    global _helper
    if _helper is not None and not _helper.is_alive:
        _helper.close()
        _helper = None
    if _helper is None:
        _helper = Process()
    return _helper


def _after_fork() -> None:
    global _lock, _helper
    _lock = threading.RLock()
    if _helper is not None:
        _helper.forget()
        _helper = None


@atexit.register
def _at_exit() -> None:
    _lock.acquire(timeout=WAIT_SECONDS)  # and kept: daemon threads must not meet a process that is gone
    if _helper is not None:
        _helper.close()


os.register_at_fork(after_in_child=_after_fork)

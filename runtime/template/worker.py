"""The process in which chat templates run: reads requests from its standard input, a socket, and writes replies to it.

`runtime/template/helper.py` tells why, `runtime/template/process.py` starts it. A request has the template's `source`,
the `marks` for its control tokens, those for `roles`, and, if something is to be rendered, the variables as `context`
(with `messages`) and the time as `now`. The reply is the `text`, or an `error` with the template's `line`, or null, and
whether it met a `bound`.
"""

import json
import resource
import signal
from functools import lru_cache
from typing import Any, BinaryIO

import jinja2.debug  # noqa: F401  (jinja2 itself imports it when a template fails: too late, no file is opened then)
from jinja2.exceptions import TemplateSyntaxError

from subbyte.runtime.template.limits import PROCESS_MEMORY, PROCESS_SECONDS
from subbyte.runtime.template.sandbox import FILENAME, Sandbox, TooMuch
from subbyte.runtime.template.seccomp import only_compute

_LIMITS = {
    resource.RLIMIT_AS: PROCESS_MEMORY,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_NOFILE: 0,
    resource.RLIMIT_NPROC: 0,  # the system lets root pass this one
}


def main() -> None:
    """Answer requests until the other end is closed. The first reply, `{}`, says that the process is ready."""
    with open(0, "rb", closefd=False) as requests, open(0, "wb", closefd=False) as replies:
        Sandbox("{{ strftime_now('%d') }}", {}, {}).render({"messages": []}, "2000-01-01", 0)  # imports the rest
        _confine()
        _send(replies, {})
        while head := requests.read(4):
            signal.setitimer(signal.ITIMER_PROF, PROCESS_SECONDS)  # then SIGPROF ends the process
            _send(replies, answer(requests.read(int.from_bytes(head, "big"))))


def _confine() -> None:
    """Give up what rendering doesn't need, and whatever signal handling was inherited."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for kind, most in _LIMITS.items():
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(kind, (most, most))
    only_compute()  # where the system can: then some of the limits above are not needed


def _send(replies: BinaryIO, reply: object) -> None:
    data = json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")
    replies.write(len(data).to_bytes(4, "big") + data)
    replies.flush()


def answer(data: bytes) -> dict[str, Any]:
    """The reply to a request, which is JSON."""
    try:
        request = json.loads(data)
        sandbox = _compile(request["source"], tuple(request["marks"].items()), tuple(request["roles"].items()))
        return {"text": sandbox.render(request["context"], request["now"], len(data)) if "context" in request else ""}
    except Exception as error:
        bound = isinstance(error, (TooMuch, RecursionError, MemoryError))
        return {"error": _reason(error), "line": _line(error), "bound": bound}


@lru_cache(maxsize=4)  # the largest take 25 MiB each
def _compile(source: str, marks: tuple[tuple[str, str], ...], roles: tuple[tuple[str, str], ...]) -> Sandbox:
    return Sandbox(source, dict(marks), dict(roles))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):  # Python's parser says so, too
        return f"it takes more than {PROCESS_MEMORY >> 20} MiB of memory, or is nested too deeply"
    if isinstance(error, SyntaxError):  # of the code that jinja2 makes: Python's limits
        return error.msg
    return str(error) or type(error).__name__


def _line(error: Exception) -> int | None:
    """The line of the template that `error` comes from."""
    line = error.lineno if isinstance(error, TemplateSyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line

"""The process that templates run in: its walls, with the sandbox's meters off; its life beside this process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from chatml import HELLO, RENDERED, template, works
from fake_engine import FakeTokenizer
from template_helper_process import end_helper, helper_pid, memory_peak
from tiny_models import write_model

from subbyte.errors import ResourceError, TemplateError
from subbyte.runtime.template import helper as template_helper
from subbyte.runtime.template import process as template_process
from subbyte.runtime.template.chat_template import CHATML, ChatTemplate
from subbyte.runtime.template.limits import PROCESS_MEMORY

NO_METERS = """
from subbyte.runtime.template.sandbox import Sandbox
Sandbox.spend = lambda self, cost: None
Sandbox._check_format = lambda self, *_: None
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that starts another helper process, which runs some code first."""

    def start(code: str) -> None:
        end_helper()
        monkeypatch.setattr(
            template_process, "_START", template_process._START.replace("\nmain()", f"\n{code}\nmain()")
        )
        template_helper.start()
        monkeypatch.undo()

    yield start
    end_helper()


@pytest.fixture
def broken(worker: Callable[[str], None]) -> Callable[[str], ChatTemplate]:
    """A function that gives a template whose next rendering is replaced by some expression."""

    def prepare(expression: str) -> ChatTemplate:
        worker(f"""
import ctypes, os
from subbyte.runtime.template import worker as template_worker
answer = template_worker.answer
template_worker.answer = lambda data: ({expression}) if b'"context"' in data else answer(data)
""")
        return template()

    return prepare


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}"
BEYOND_METERS = {
    "time": (LOOP + "{% endfor %}{% endfor %}", "more than 2 s of processor time"),
    "text": (LOOP + "xxxx{% endfor %}{% endfor %}", "writes more than"),
    "text set apart": ("{% set x %}" + LOOP + "x" * 9999 + "{% endfor %}{% endfor %}{% endset %}", "2 s|512 MiB"),
    "product": ("{{ 'a' * 1000000000 }}", "in line 1: .*512 MiB"),
    "list": ("\n{{ [1] * 1000000000 }}", "in line 2: .*512 MiB"),
    "width": ("{{ '{:>1000000000}'.format(1) }}", "512 MiB"),
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "512 MiB",
    ),
    "large join": ("{% for i in range(200) %}" + "x" * 60_000 + "{% endfor %}", "writes more than"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
}


@pytest.mark.parametrize("name", BEYOND_METERS)
@pytest.mark.thorough
def test_the_walls_hold_what_the_meters_would_let_pass(name: str, worker: Callable[[str], None]) -> None:
    source, message = BEYOND_METERS[name]
    worker(NO_METERS)
    with pytest.raises(TemplateError, match=message):
        template(source).encode(HELLO)
    assert works() and memory_peak() <= PROCESS_MEMORY


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("ctypes.string_at(0)", "nested too deeply"),
        ("os._exit(7)", "ended with status 7"),
        ("os.close(0)", "ended with status"),
        ("[1]", "nonsense"),
        ("{'text': 1}", "nonsense"),
        ("{'error': 'x', 'line': 'y'}", "nonsense"),
        ("os.write(0, b'[' * 99999)", "nonsense"),
        ("os.write(0, b'\\0\\1\\0\\0' + b'[' * 65536)", "nonsense"),
        ("os.read(0, 1)", "takes more than 0.5 s"),
    ],
)
@pytest.mark.thorough
def test_a_helper_that_breaks_is_replaced(
    answer: str, message: str, broken: Callable[[str], ChatTemplate], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = broken(answer)
    monkeypatch.setattr(template_process, "WAIT_SECONDS", 0.5 if "read" in answer else 60)
    with pytest.raises(TemplateError, match=message):
        template.encode(HELLO)
    monkeypatch.undo()
    assert works()


CONFINED = """
import os, socket
from subbyte.runtime.template.worker import _confine
_confine()
"""
FILTERED = """
import os, socket
from subbyte.runtime.template.seccomp import only_compute
if not only_compute():
    print("no filter")
    os._exit(0)
"""
ATTEMPTS = """
for attempt in (ATTEMPTS):
    try:
        os.write(1, f"{attempt()} ".encode())
    except OSError:
        os.write(1, b"refused ")
os._exit(0)
"""


def test_code_let_loose_in_the_helper_opens_nothing() -> None:
    attempts = ATTEMPTS.replace("ATTEMPTS", "lambda: open('/etc/passwd'), os.pipe, socket.socket, socket.socketpair")
    assert run(CONFINED + attempts) == "refused " * 4


def test_code_let_loose_in_the_helper_reaches_nothing_else() -> None:
    attempts = "os.fork, lambda: os.execv('/bin/true', ['true']), lambda: os.kill(os.getppid(), 0), os.getcwd"
    out = run(FILTERED + ATTEMPTS.replace("ATTEMPTS", attempts))
    if out == "no filter\n":
        pytest.skip("this system has no filters of system calls")
    assert out == "refused " * 4


def run(code: str) -> str:
    """What a Python script prints that must end well and say nothing on stderr, warnings being errors."""
    line = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_helper_is_shared_and_replaced_only_when_it_is_gone() -> None:
    assert works()
    pid = helper_pid()
    assert works() and template("{{ messages[0].content }}").render(HELLO) == "Hello" and helper_pid() == pid
    with pytest.raises(TemplateError):
        template("{{ 'a' * 10**9 }}").render(HELLO)
    assert works() and helper_pid() == pid  # the meters were enough
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert works() and helper_pid() != pid


@pytest.mark.thorough
def test_helpers_that_are_replaced_leave_nothing_behind(broken: Callable[[str], ChatTemplate]) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    for _ in range(5):
        mine = broken("os._exit(1)")
        pid = helper_pid()
        with pytest.raises(TemplateError):
            mine.render(HELLO)
        assert open_files() <= before and not Path(f"/proc/{pid}").exists()


def test_threads_get_their_own_answers() -> None:
    sources = [CHATML + "{{ '" + "x" * i + "' }}" for i in range(12)]  # more than the helper keeps compiled
    wrong: list[str] = []

    def render(i: int) -> None:
        mine = template(sources[i])
        for turn in range(20):
            text = mine.render([{"role": "user", "content": f"{i} {turn}"}])
            if text != RENDERED.replace("Hello", f"{i} {turn}") + "x" * i:
                wrong.append(text)

    threads = [threading.Thread(target=render, args=(i,)) for i in range(len(sources))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_ctrl_c_does_not_reach_the_helper_and_ends_a_wait(broken: Callable[[str], ChatTemplate]) -> None:
    waiting = broken("os.read(0, 1)")
    assert os.getsid(helper_pid()) == helper_pid()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        waiting.render(HELLO)
    timer.join()
    assert works()


@pytest.mark.thorough
def test_fork_exit_and_daemon_threads_are_clean() -> None:
    code = f"""
import os, sys, threading
sys.path[:0] = {sys.path!r}
from template_helper_process import helper_pid
from chatml import HELLO, RENDERED, template
mine = template()
assert mine.render(HELLO) == RENDERED
before = helper_pid()
child = os.fork()
if child == 0:
    ok = mine.render(HELLO) == RENDERED and helper_pid() != before
    sys.exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert mine.render(HELLO) == RENDERED and helper_pid() == before
def forever():
    while True:
        mine.render(HELLO)
threading.Thread(target=forever, daemon=True).start()
print(before)
"""
    assert _is_gone(int(run(code)))


def test_the_helper_ends_with_a_process_that_is_killed() -> None:
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from template_helper_process import helper_pid
from chatml import works
assert works()
print(helper_pid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert _is_gone(int(done.stdout))


def _is_gone(pid: int) -> bool:
    """Whether a process ends, or is a zombie that nobody awaits, within a minute."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


NOT_PYTHON = ["", None, "/nowhere/python", "/bin/false", "/bin/cat", "/usr/bin/yes"]


@pytest.mark.parametrize("executable", NOT_PYTHON)
def test_a_program_with_a_python_in_it_uses_that_of_its_installation(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_helper()
    monkeypatch.setattr(sys, "executable", executable)
    assert works()


@pytest.mark.parametrize("executable", NOT_PYTHON)
def test_where_no_process_can_be_started_the_ways_out_are_told(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_helper()
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    ways = "name a Python in SUBBYTE_PYTHON, or set SUBBYTE_TEMPLATES_IN_PROCESS=1"
    with pytest.raises(ResourceError, match=f"^chat templates run in a helper process, but .*{ways}"):
        template()
    monkeypatch.undo()
    assert works()


def test_a_frozen_program_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    end_helper()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    with pytest.raises(ResourceError, match="no Python to start"):
        template()


def test_an_interpreter_that_is_named_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "interpreter"
    named.write_text(f'#!/bin/sh\necho used > {tmp_path}/used\nexec {sys.executable} "$@"\n')
    named.chmod(0o755)
    end_helper()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setenv("SUBBYTE_PYTHON", str(named))
    assert works() and (tmp_path / "used").exists()
    end_helper()
    monkeypatch.setenv("SUBBYTE_PYTHON", "/nowhere/python")
    with pytest.raises(ResourceError, match=r"/nowhere/python can't be started: No such file .*; name a Python"):
        template()


def test_a_program_may_render_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    end_helper()
    monkeypatch.setattr(template_helper, "Process", lambda: pytest.fail("a process is started"))
    monkeypatch.setenv("SUBBYTE_TEMPLATES_IN_PROCESS", "1")
    template_helper.start()
    assert works()
    with pytest.raises(TemplateError, match="in line 2: no"):
        template("\n{{ raise_exception('no') }}").encode(HELLO)
    with pytest.raises(TemplateError, match=r"builds too much|writes more than"):
        template("{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}").encode(HELLO)


@pytest.mark.thorough
def test_what_is_no_json_is_refused_and_what_is_too_large() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ({1, 2}, works, deep, b"bytes"):
        with pytest.raises(ValueError, match="must be JSON"):
            template().render(HELLO, extra=value)
    with pytest.raises(ResourceError, match="at most 32 MiB"):
        template().render([{"role": "user", "content": "x" * (33 << 20)}])
    assert works()


def test_text_arrives_as_it_is() -> None:
    text = "a\0\x1b\ud800 é 😀\r\n\u2028"
    assert template().render([{"role": "user", "content": text}]) == RENDERED.replace("Hello", text)


def test_time_is_the_callers() -> None:
    mine = template("{{ strftime_now('%d %b %Y %H:%M %z') }}")
    assert mine.render(HELLO, now=datetime(2026, 11, 22, 10, 30)) == "22 Nov 2026 10:30 "
    zone = timezone(timedelta(hours=2))
    assert mine.render(HELLO, now=datetime(2026, 11, 22, 10, 30, 5, 7, zone)) == "22 Nov 2026 10:30 +0200"


def test_a_mark_made_up_by_a_template_is_no_token() -> None:
    source = "{{ bos_token }}{{ bos_token | replace('.0.', '.7.') }}{{ bos_token | replace('.0.1', '.0.99999') }}end"
    vocabulary = FakeTokenizer(bos="<s>")
    ids = ChatTemplate(source, vocabulary).encode(HELLO)
    assert vocabulary.decode(ids, special=True) in ("<s>end", "<s><s>end")


@pytest.mark.thorough
def test_the_command_says_one_line_for_a_hostile_file(tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    for source, words in (("{{ 'a' * 10**10 }}", "in line 1: it takes"), ("\n{% if %}", "in line 2: ")):
        write_model(path, strings={"tokenizer.chat_template": source})
        line = [sys.executable, "-c", "from subbyte.cli.entry import main; main()"]
        done = subprocess.run([*line, "chat", str(path)], input="Hi", capture_output=True, text=True, timeout=300)
        assert done.returncode == 3 and done.stdout == ""
        assert words in done.stderr and len(done.stderr.splitlines()) == 1
        done = subprocess.run([*line, "generate", str(path), "-p", "Hi", "-n", "1"], capture_output=True, timeout=300)
        assert done.returncode == 0

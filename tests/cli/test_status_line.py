"""Lines rewritten in place: when they are shown, that they fit, that they go without a trace."""

import io

import pytest

from subbyte.cli.terminal import status_line
from subbyte.cli.terminal.status_line import PrefillStatus, StatusLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def able(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def test_a_line_is_rewritten_and_wiped():
    screen = Terminal()
    line = StatusLine(screen)
    line.clear()
    line.write("one")
    line.write("three")
    line.clear()
    line.clear()
    assert screen.getvalue() == "\r\x1b[2mone\x1b[0m\x1b[K\r\x1b[2mthree\x1b[0m\x1b[K\r\x1b[K"


def test_a_line_never_wraps(monkeypatch):
    monkeypatch.setattr(status_line, "terminal_width", lambda stream: 10)
    screen = Terminal()
    StatusLine(screen).write("0123456789")
    assert screen.getvalue() == "\r\x1b[2m012345678\x1b[0m\x1b[K"


def test_nothing_goes_to_a_pipe_or_a_terminal_that_can_not_rewrite(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setenv("TERM", "dumb")
    screen = Terminal()
    for stream in (pipe, screen):
        line = StatusLine(stream)
        line.write("text")
        line.clear()
    assert pipe.getvalue() == screen.getvalue() == ""


def test_reading_line_waits_a_second_and_wipes_itself():
    now = [0.0]
    screen = Terminal()
    line = PrefillStatus(screen, clock=lambda: now[0])
    line.update(256, 2048)
    line.clear()
    assert screen.getvalue() == ""
    now[0] = 2.0
    line.update(512, 2048)
    line.clear()
    assert screen.getvalue() == "\r\x1b[2mprefill: 512/2048 tokens, 6 s left\x1b[0m\x1b[K\r\x1b[K"

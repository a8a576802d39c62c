"""The end of the context in the chat: warnings, policies, /context, /forget and /pin, as transcripts."""

import io
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest
from fake_chat import FakeChat, as_chat, talk
from undecided_chat import END, FIRST, undecided

from subbyte.cli.chat.context import AtTheEnd, ReplContext
from subbyte.cli.chat.full_context import AT_THE_END, MAKES_ROOM, UncutAnswer, warn
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.cli.chat.keyboard import Keyboard
from subbyte.cli.repl.repl import run
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.generation.events import Done, TextDelta

ASKED = """(the context of 29 tokens is full; go on by)
  f  forgetting the oldest turns; the system text and pinned turns stay
  g  a larger context; the model was trained for up to 4000 tokens
  s  stopping here
"""
FORGOT = "(forgot the 2 oldest turns, 30 tokens; the system text and pinned turns stay)\n"


class Fingers(Keyboard):
    """A keyboard on which these keys are pressed when they are waited for."""

    is_there = True

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__(sys.stdin)
        self._keys = iter(keys)

    def wait_for(self, keys: Collection[str], ask: Callable[[], None]) -> str | None:
        ask()
        key = next(self._keys)
        return key if key in keys else None


def full() -> FakeChat:
    """A conversation whose context is full after an answer that was cut."""
    chat = FakeChat()
    chat.n_ctx = 29
    return chat


@pytest.mark.parametrize(
    ("keys", "end"),
    [
        ("f", f"{FORGOT}and so on\n\n"),
        ("g", "(the context holds 4000 tokens now)\nand so on\n\n"),
        ("s", f"(truncated: the context is full; {MAKES_ROOM})\n\n"),
    ],
)
def test_who_is_asked_chooses(tmp_path: Path, keys: str, end: str) -> None:
    assert talk(tmp_path, "cut", chat=full(), keyboard=Fingers(keys)) == f"You said: cut\n{ASKED}{end}"


def test_a_question_that_does_not_fit(tmp_path: Path) -> None:
    text = talk(tmp_path, "fail", keyboard=Fingers("f"))
    assert text.endswith(f"stopping here\n{FORGOT}You said: fail\n\n")
    text = talk(tmp_path, "fail", keyboard=Fingers("s"))
    assert text.endswith(f"stopping here\nerror: the context of 1000 tokens is full ({MAKES_ROOM})\n")


@pytest.mark.parametrize(
    ("policy", "said"),
    [("forget", FORGOT),
     ("grow", "(the context holds 4000 tokens now)\n")],
)  # fmt: skip
def test_a_policy_needs_no_question(tmp_path: Path, policy: AtTheEnd, said: str) -> None:
    text = talk(tmp_path, f"/context {policy}", "cut", chat=full())
    assert text == f"context: 0 of 29 tokens; {AT_THE_END[policy]}\nYou said: cut\n{said}and so on\n\n"


def test_what_does_not_help_is_offered_once(tmp_path: Path) -> None:
    """A question that no context holds: each way is tried at most once, and the chat goes on."""
    chat = undecided(FIRST, n_ctx=60)
    out = io.StringIO()
    context = ReplContext(
        chat, "fake", "", tmp_path, out, keyboard=Fingers("fg"), keeper=Keeper(tmp_path / FILE, saves=False)
    )
    lines = iter(["x" * 999, "hi"])
    run(context, lambda: next(lines, None) or _leave())
    text = out.getvalue()
    assert text.count("go on by") == 2 and text.count("  f  ") == 1 and text.count("  g  ") == 2
    assert text.count("(that did not make room enough)") == 1 and text.endswith("hello world\n\n")
    assert "the context holds 60 and can be made no larger than 240: " in text and chat.n_ctx == 60


def _leave() -> str:
    raise EOFError


def test_warnings_come_once_each(tmp_path: Path) -> None:
    chat, out = FakeChat(), io.StringIO()
    context = ReplContext(as_chat(chat), "fake", "", tmp_path, out, keeper=Keeper(tmp_path / FILE, saves=False))
    for n in (799, 800, 900, 950, 999, 10, 801):
        chat._messages = [Message("user", "word " * n)]
        warn(context)
    assert out.getvalue() == (
        "(the context is 80% full, 200 tokens left; at its end you are asked what to do)\n"
        "(the context is 95% full, 50 tokens left; at its end you are asked what to do)\n"
        "(the context is 80% full, 199 tokens left; at its end you are asked what to do)\n"
    )


def test_transcript_of_context_forget_and_pin(tmp_path: Path) -> None:
    out = io.StringIO()
    chat = undecided(FIRST, FIRST, FIRST, n_ctx=400)
    typed = [
        "/context 1000",
        "a",
        "/pin",
        "b",
        "c",
        "/forget 9",
        "/forget",
        "/context",
        "/pin off",
        "/context stop",
        "/context 20",
    ]
    lines = iter(typed)
    run(
        ReplContext(chat, "fake", "", tmp_path, out, keeper=Keeper(tmp_path / FILE, saves=False)),
        lambda: next(lines, None) or _leave(),
    )
    assert out.getvalue() == (
        "context: 0 of 1000 tokens; at its end you are asked what to do\n"
        "hello world\n\n(the last turn stays when others are forgotten)\nhello world\n\nhello world\n\n"
        "(forgot the oldest turn, 26 tokens)\n"
        "error: there is nothing to forget: the system text, pinned turns and the last turn stay\n"
        "context: 76 of 1000 tokens, 1 turn (26 tokens) forgotten, 1 turn pinned; at its end you are asked what to do\n"
        "(no turn is pinned)\n"
        "context: 76 of 1000 tokens, 1 turn (26 tokens) forgotten; /forget and /context N make room\n"
        "context: 20 of 20 tokens, 56 too few for the conversation, 1 turn (26 tokens) forgotten; "
        "/forget and /context N make room\n"
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/context more", "/context takes a number of tokens, or ask, forget, grow, stop, not 'more'"),
        ("/forget all", "/forget takes a number of turns, not 'all'"),
        ("/forget 0", "/forget takes a number of turns, not '0'"),
        ("/pin it", "/pin takes nothing, or off, not 'it'"),
        ("/pin", "there is nothing to pin: nothing was said yet"),
    ],
)
def test_what_the_commands_do_not_take(tmp_path: Path, line: str, error: str) -> None:
    assert talk(tmp_path, line) == f"error: {error}\n"


def test_a_question_from_a_pipe_goes_on_as_one_answer() -> None:
    chat: Chat = undecided([{"hello": 1.0}, {" ": 1.0}, {"wor": 1.0}, {"ld": 1.0}, {END: 1.0}], n_ctx=24)
    chat.context_policy, chat.n_ctx_train = "grow", 25
    answer = UncutAnswer(chat, chat.stream("hi"))
    events = list(answer)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.reply.text == "hello world"
    assert sum(isinstance(event, Done) for event in events) == 2 and chat.n_ctx == 25


def test_options_that_need_a_terminal(command_line) -> None:
    code, out, err = command_line("chat", "--context-policy", "ask")
    assert (code, out) == (2, "") and "needs a terminal to ask at; choose forget, grow or stop" in err
    code, out, err = command_line("chat", "--ab", "smollm2")
    assert (code, out) == (2, "") and "`subbyte compare` measures two models" in err

"""/tools in the chat: nothing is called without a yes, and whatever a tool does, the model gets a text."""

import os
import signal
from pathlib import Path

import pytest
from fake_chat import FakeChat, talk

from subbyte.cli.chat import tools
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.tools.call import ToolCall

ADD = '''
import os as _os
from pathlib import Path

def add(a: int, b: int) -> int:
    """Adds two numbers."""
    Path("called").touch()
    return a + b

def _not_this() -> None: ...
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "add.py").write_text(ADD)
    return tmp_path


def conversation(folder: Path, *lines: str, said: list[str], chat: FakeChat | None = None) -> str:
    answers = iter(said)

    def ask(question: str) -> str:
        asked.append(question)
        answer = next(answers)
        if answer == "^D":
            raise EOFError
        return answer

    asked: list[str] = []
    text = talk(folder, *lines, chat=chat, ask=ask)
    return text + "".join(f"{question}\n" for question in asked)


def test_a_call_is_made_after_a_yes(folder: Path) -> None:
    text = conversation(folder, "/tools add.py", 'call{"a": 1, "b": 2}', said=["y"])
    assert text == "add  Adds two numbers.\nadd(a=1, b=2)\n3\nI see 3\n\ncall add? [y/N/always] \n"
    assert (folder / "called").exists()


@pytest.mark.parametrize("said", ["", "n", "no", "yes please", "^D"])
def test_nothing_is_called_without_a_yes(folder: Path, said: str) -> None:
    text = conversation(folder, "/tools add.py", 'call{"a": 1, "b": 2}', said=[said])
    assert "I see The user did not allow this call." in text and not (folder / "called").exists()


def test_always_asks_once_until_other_tools_come(folder: Path) -> None:
    line = 'call{"a": 1, "b": 2}'
    text = conversation(folder, "/tools add.py", line, line, "/tools add.py", line, said=["always", "n"])
    assert text.count("I see 3") == 2 and text.count("call add?") == 2


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("raise KeyError('x')", "Error: KeyError: 'x'"),
        ("raise SystemExit(1)", "Error: SystemExit: 1"),
        ("return object", "\"<class 'object'>\""),
        ("return '\\x1b[2J'", "\\x1b[2J"),
        ("return 'x' * 20000", "(3616 more characters are left out)"),
        (
            "__import__('os').kill(__import__('os').getpid(), 2); return 1",
            "Stopped by the user before it had a result.",
        ),
    ],
)
def test_whatever_a_tool_does_is_a_text(folder: Path, body: str, seen: str) -> None:
    (folder / "t.py").write_text(f"def t():\n    {body}\n")
    chat = FakeChat()
    text = conversation(folder, "/tools t.py", "call", said=["y"], chat=chat)
    result = next(message.content for message in chat.messages if message.role == "tool")
    assert seen.replace("\\x1b", "\x1b") in result and (seen in text or len(result) > 200)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and os.getpid()


def test_wrong_arguments_go_to_the_model(folder: Path) -> None:
    assert "I see Error: ValueError: " in conversation(folder, "/tools add.py", 'call{"a": "x"}', said=["y"])


def test_arguments_are_shown_whole_and_clean(folder: Path) -> None:
    (folder / "t.py").write_text("def t(text: str) -> str:\n    return 'done'\n")
    text = conversation(folder, "/tools t.py", 'call{"text": "a\\u001b[2J\\nb   c"}', said=["n"])
    assert 't(text="a\\u001b[2J\\nb   c")\n' in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1", "it defines no function whose name has no _ in front"),
        ("from os.path import join", "it defines no function"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit()", "SystemExit"),
        ("def f(*args): ...", "error: "),
    ],
)
def test_a_file_without_tools_is_a_line(folder: Path, content: str, said: str) -> None:
    (folder / "t.py").write_text(content)
    text = conversation(folder, "/tools t.py", "/tools", said=[])
    assert text.startswith("error: ") and said in text and text.count("\n") == 2
    assert "error: none.py: no such file" in conversation(folder, "/tools none.py", said=[])


def test_tools_are_taken_away(folder: Path) -> None:
    text = conversation(folder, "/tools add.py", '/tools ""', "/tools", said=[])
    assert text.count("no tools; /tools FILE.py gives the model the functions of a file") == 2


def test_calls_of_a_loaded_conversation_are_never_made(folder: Path) -> None:
    chat = FakeChat()
    chat._messages = [Message("user", "q"), Message("assistant", "", "", (ToolCall("call00000", "add", {"a": 1}),))]
    conversation(folder, "/tools add.py", "go on", said=[], chat=chat)
    assert [m.content for m in chat.messages if m.role == "tool"] == [tools.LEFT]
    assert not (folder / "called").exists()


@pytest.mark.thorough
def test_the_question_at_a_terminal(terminal, folder) -> None:
    chat = terminal(columns=40, rows=12)
    chat.prompt()
    chat.keys("/tools add.py\r")
    chat.see("Adds two numbers.")
    chat.prompt()
    chat.keys('call{"a": 20, "b": 3}\r')
    chat.see("call add? [y/N/always]")
    chat.keys("y\r")
    chat.see("I see 23")


@pytest.mark.thorough
def test_keys_typed_before_the_question_do_not_answer_it(terminal, folder) -> None:
    chat = terminal()
    chat.prompt()
    chat.keys('/tools add.py\rcall{"a": 20, "b": 3}\ry\r')
    chat.see("call add? [y/N/always]")
    chat.keys("n\r")
    chat.see("You said: y")
    assert "I see The user did not allow this call." in chat.text and not (folder / "called").exists()

"""What goes to the model with a message: files by /read and @, texts of pipes, system prompts and schemas of files."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from fake_chat import FakeChat, talk
from tiny_models import MIXED, write_model

from subbyte.cli.chat.command_line import model_and_question
from subbyte.cli.chat.full_context import MAKES_ROOM
from subbyte.cli.message.files import MAX_FILE, read_file, with_files
from subbyte.cli.message.mentions import mentioned_files
from subbyte.cli.message.question import one_message
from subbyte.errors import ResourceError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "my notes.md").write_text("```\ncode\n```")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_read_file_goes_before_the_next_message_only(folder: Path) -> None:
    chat = FakeChat()
    text = talk(folder, "/read a.txt 'my notes.md'", "/read", "What is it?", "And?", chat=chat)
    waits = "a.txt (8 B), my notes.md (12 B) go before the next message\n"
    assert text.startswith(waits * 2)
    questions = [message.content for message in chat.messages if message.role == "user"]
    assert questions == [
        "a.txt:\n```\none\ntwo\n```\n\nmy notes.md:\n````\n```\ncode\n```\n````\n\nWhat is it?", "And?",
    ]  # fmt: skip


def test_files_wait_where_the_message_did_not_go(folder: Path) -> None:
    text = talk(folder, "/read a.txt", "fail", "/read", '/read ""', "/read")
    assert text.splitlines() == [
        "a.txt (8 B) goes before the next message",
        f"error: the context of 1000 tokens is full ({MAKES_ROOM})",
        "a.txt (8 B) goes before the next message",
        *["no file waits; /read FILE... adds some"] * 2,
    ]


def test_a_mentioned_file_goes_before_its_message(folder: Path) -> None:
    chat = FakeChat()
    text = talk(folder, "What is in @a.txt?", "mail me@a.txt or @you", chat=chat)
    assert text.startswith("read a.txt (8 B)\nYou said: a.txt:\n```\none\ntwo\n```\n\nWhat is in @a.txt?\n\n")
    assert text.endswith("You said: mail me@a.txt or @you\n\n")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/read picture.png", "picture.png: not a text in UTF-8, so it is not read"),
        ("/read a.tx", "a.tx: no such file (did you mean a.txt?)"),
        ("/tools tol.py", "tol.py: no such file (did you mean tool.py?); /tools takes a file of Python"),
        ("/tools a b", "/tools takes one file of Python; a name with spaces goes between quotes"),
        ("/read .", ".: a folder; give files of text"),
        ("/read /dev/zero", "/dev/zero: no file; give files of text"),
        ("/read pipe", "pipe: no file; give files of text"),
        ("/read 'a", "/read: No closing quotation; a name with spaces goes between quotes"),
        ("/read a.txt no\x1b", "'no\\x1b': no such file"),
        ("look at @a.tx!", "@a.tx!: no such file (did you mean a.txt?)"),
        ("look at @picture.png", "picture.png: not a text in UTF-8, so it is not read"),
    ],
)
def test_what_is_no_text_is_refused_in_a_line(folder: Path, line: str, answer: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "tool.py").touch()
    assert talk(folder, line, "/read") == f"error: {answer}\nno file waits; /read FILE... adds some\n"


def test_a_file_that_is_read_and_mentioned_comes_once(folder: Path) -> None:
    assert talk(folder, "/read a.txt", "see @a.txt").count("a.txt:") == 1


def test_a_file_that_is_too_long_is_not_cut(folder: Path) -> None:
    (folder / "long.txt").write_text("x" * (MAX_FILE + 1))
    with pytest.raises(ResourceError, match=r"long.txt: .*longer"):
        read_file("long.txt")


def test_files_are_read_as_text(folder: Path) -> None:
    (folder / "dos.txt").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_file("dos.txt").text == "a\nb"
    assert with_files([], "x") == "x" and mentioned_files("no @name here") == []
    assert [file.name for file in mentioned_files("@a.txt, (@a.txt) @./a.txt.")] == ["a.txt", "./a.txt"]


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_question_about_the_text_of_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "a text\n")
    assert one_message("Sum it up.") == "a text\n\nSum it up."
    pipe(monkeypatch, "")
    assert one_message("Hello @a.txt") == "a.txt:\n```\none\ntwo\n```\n\nHello @a.txt"
    pipe(monkeypatch, " alone \n")
    assert one_message(None) == "alone"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "m.gguf"
    write_model(path, shape=MIXED)
    return str(path)


def test_one_question_on_the_command_line(command_line, model, folder, monkeypatch) -> None:
    (folder / "system.txt").write_text("Be brief.\nBe kind.")
    pipe(monkeypatch, "some text")
    code, out, err = command_line(
        "chat", model, "what is it?", "-n", "3", "-c", "512", "-o", "json", "--system-file", "system.txt"
    )
    assert code == 0 and json.loads(out)["prompt"] == "some text\n\nwhat is it?", err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("q", "--system", "a", "--system-file", "a.txt"), "from --system or from --system-file, not from both"),
        (("q", "--system-file", "none"), "none: No such file"),
        (("q", "--json-schema", "a.txt"), "a.txt: schema is no JSON"),
        ((" ",), "the question is empty"),
        (("@a.tx",), "@a.tx: no such file (did you mean a.txt?)"),
    ],
)
def test_a_wrong_question_is_a_line(command_line, model, folder, monkeypatch, args, said) -> None:
    pipe(monkeypatch, "")
    code, out, err = command_line("chat", model, *args)
    assert code in (2, 4) and not out and said in err and err.count("\n") == 1


def test_which_argument_is_the_question(folder: Path) -> None:
    (folder / "my model").write_text("")
    for lone, is_question in {
        "what is it?": True, "smollm2": False, "hello": False, "my model": False, "my other.gguf": False, " ": False,
    }.items():  # fmt: skip
        assert model_and_question(lone, None) == ((None, lone) if is_question else (lone, None))
    assert model_and_question("a b", "c d") == ("a b", "c d") and model_and_question(None, None) == (None, None)


def test_an_answer_by_a_schema(command_line, model, folder, monkeypatch) -> None:
    pytest.importorskip("llguidance")
    (folder / "s.json").write_text('{"enum": ["yes", "no"]}')
    pipe(monkeypatch, "")
    code, out, err = command_line("chat", model, "is it?", "-c", "512", "--json-schema", "s.json")
    assert code == 0 and json.loads(out) in ("yes", "no"), err


@pytest.mark.thorough
def test_files_complete_behind_at(terminal, folder) -> None:
    chat = terminal(columns=40, rows=12)
    chat.prompt()
    chat.keys("see @my")
    chat.see("my notes.md")
    chat.keys("\x7f\x7fa")
    chat.see(" a.txt")
    chat.keys("\t\r")
    chat.see("You said: a.txt:")

"""`subbyte history`, and `subbyte chat` that goes on with what is kept."""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_models import MIXED, write_model

from subbyte.cli.chat.keeper import FILE
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations.recording import Recording
from subbyte.runtime.conversations.store import ConversationStore

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConversationStore]:
    """The user's, which is empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with ConversationStore(tmp_path / "subbyte" / FILE) as store:
        yield store


@pytest.fixture
def filled(store: ConversationStore) -> ConversationStore:
    for name, answers in {"rome": ["It is old.", "It is very old."], "paris": ["It is big."]}.items():
        recording = Recording(store, "tiny", "/models/tiny.gguf")
        recording.begin(name)
        for answer in answers:
            recording.keep([Message("user", f"What is {name}?"), Message("assistant", answer, "Hm.")], {"system": "S"})
            recording.keep([], {"system": "S"})
        recording.keep([Message("user", f"What is {name}?"), Message("assistant", answers[-1], "Hm.")], {"system": "S"})
    return store


def test_nothing_is_kept_yet(store: ConversationStore, command_line: Call) -> None:
    assert command_line("history") == (0, "", "")
    assert json.loads(command_line("history", "-o", "json")[1]) == {"conversations": []}
    assert command_line("history", "search", "rome") == (0, "", "")
    for command in ("show", "export", "delete"):
        code, out, err = command_line("history", command, "rome")
        assert (code, out) == (2, "") and err.startswith("subbyte: no conversation rome is kept (subbyte history ")
    assert not store.path.exists()


def test_list_and_search(filled: ConversationStore, command_line: Call) -> None:
    lines = [re.sub(r" {2,}", "|", line).split("|") for line in command_line("history")[1].splitlines()]
    assert [[*line[:1], *line[2:]] for line in lines] == [
        ["name", "model", "messages", "first words"],
        ["paris", "tiny", "2", "What is paris?"],
        ["rome", "tiny", "2", "What is rome?"],
    ]
    assert command_line("history", "-n", "1")[1].count("\n") == 2
    found = json.loads(command_line("history", "-o", "json")[1])["conversations"]
    assert [(each["name"], each["n_messages"], each["model"]) for each in found] == [
        ("paris", 2, "tiny"),
        ("rome", 2, "tiny"),
    ]
    lines = command_line("history", "search", "very", "ol")[1].splitlines()
    assert len(lines) == 2 and lines[1].startswith("rome ") and lines[1].endswith("It is very old.")
    (hit,) = json.loads(command_line("history", "search", "old", "very", "-o", "json")[1])["hits"]
    assert (hit["conversation"]["name"], hit["role"], hit["content"]) == ("rome", "assistant", "It is very old.")
    assert command_line("history", "search", "*")[0] == 2


def test_a_list_where_a_table_has_no_room(filled: ConversationStore, terminal, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", "history", "-n", "1"]
    screen = terminal(command, columns=40, rows=12, XDG_DATA_HOME=str(tmp_path))
    screen.see("1 more")
    assert [re.sub(r"\d{4}-\S+ \S+", "TIME", line) for line in screen.lines[:2]] == [
        "paris  TIME  (tiny, 2", "    messages)  What is paris?"
    ]  # fmt: skip


def test_show_and_export(filled: ConversationStore, command_line: Call, tmp_path: Path) -> None:
    answer = "It is very old."
    assert command_line("history", "show", "ROME")[1] == f"system: S\n\n>>> What is rome?\n{answer}\n"
    shown = json.loads(command_line("history", "show", "rome", "-o", "json")[1])
    assert [message["content"] for message in shown["messages"]] == ["What is rome?", answer] and shown["branches"] == 3
    assert "It is old." in command_line("history", "show", "rome", "--branch", "1")[1]
    code, _, err = command_line("history", "show", "rome", "--branch", "4")
    assert code == 2 and err.startswith("subbyte: --branch is 4, but rome has 3")
    text = command_line("history", "export", "rome")[1]
    assert text.startswith("<!-- a conversation of subbyte -->\n\n# rome\n\n## System\n\nS\n\n## You, ")
    file = tmp_path / "rome.json"
    assert command_line("history", "export", "rome", "-o", "json", "-f", str(file)) == (0, "", "")
    assert json.loads(file.read_text())["messages"][1]["content"] == answer and file.stat().st_mode & 0o077 == 0
    code, _, err = command_line("history", "export", "rome", "-o", "json", "-f", str(file))
    assert code == 4 and err.endswith("a saved conversation exists; --overwrite replaces it, or give another place\n")
    assert command_line("history", "export", "rome", "-o", "json", "-f", str(file), "--overwrite")[0] == 0
    assert "so it is never overwritten" in command_line("history", "export", "rome", "-f", str(file), "--overwrite")[2]


def test_delete_asks(filled: ConversationStore, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, left in (("n\n", 2), ("y\n", 1)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        code, out, err = command_line("history", "delete", "rome")
        assert (code, out) == (0, "") and "delete rome, 2 messages? [y/N]" in err and filled.count() == left
    assert json.loads(command_line("history", "delete", "paris", "--yes", "-o", "json")[1]) == {"deleted": ["paris"]}
    assert filled.count() == 0


def test_a_damaged_file_is_one_line(store: ConversationStore, command_line: Call) -> None:
    store.path.parent.mkdir()
    store.path.write_text("nothing of the kind" * 99)
    for command in (("history",), ("history", "search", "a"), ("history", "show", "a"), ("chat", "--continue")):
        code, out, err = command_line(*command)
        assert (code, out) == (4, "") and err == (
            f"subbyte: {store.path}: kept conversations can't be read: file is not a database\n"
        )


@pytest.fixture
def ask(tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Asks a tiny model one question by a pipe."""
    write_model(tmp_path / "tiny.gguf", shape={**MIXED, "n_layer": 1}, types=["Q8_0"])
    monkeypatch.chdir(tmp_path)

    def call(question: str, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(question.encode())))
        return command_line("chat", *options, "-n", "3", "--temp", "0")

    return call


def test_a_pipe_is_kept_when_asked_for(store: ConversationStore, ask: Call, tmp_path: Path) -> None:
    def questions(name: str) -> list[str]:
        return [each.message.content for each in store.messages(store.find(name))][::2]

    assert ask("not kept", "tiny.gguf")[0] == 0 and not store.path.exists()
    assert ask("one", "tiny.gguf", "--session", "mine", "--system", "S")[0] == 0
    assert ask("two", "--continue")[0] == 0  # its model, from any folder
    assert ask("", "--continue", "and then?")[0] == 0
    assert ask("three", "--session", "MINE", "--no-save")[0] == 0
    assert questions("mine") == ["one", "two", "and then?"]
    (found,) = store.recent()
    assert (found.model, found.path, found.settings["system"]) == (*[str(tmp_path / "tiny.gguf")] * 2, "S")
    assert ask("four", "tiny.gguf", "--save")[0] == 0 and questions("four") == ["four"]
    assert ask("five", "tiny.gguf", "--continue", "--system", "T")[0] == 0 and questions("four") == ["four", "five"]
    assert store.find("four").settings["system"] == "T"
    for options, message in (
        (("--continue", "--session", "mine"), "--continue goes on with the last conversation, --session with another"),
        (("--session", "a/b"), "the name is 'a/b', but must be 1 to 64 characters"),
    ):
        code, _, err = ask("x", "tiny.gguf", *options)
        assert code == 2 and err.startswith(f"subbyte: {message}")
    (tmp_path / "tiny.gguf").unlink()
    held = f"four was held with {tmp_path}/tiny.gguf; subbyte chat MODEL --session four goes on with another one\n"
    assert f"subbyte: {held}" in ask("six", "--continue")[2]

"""Kept conversations in the chat: exact transcripts without a terminal, and the screen of a real one."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fake_chat import FakeChat, as_chat, talk
from terminals import CTRL_C, CTRL_D

from subbyte.cli.chat.full_context import MAKES_ROOM
from subbyte.cli.chat.held_settings import take_up
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.runtime.conversations.store import ConversationStore
from subbyte.runtime.generation.events import PrefillProgress

pytestmark = pytest.mark.thorough

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    with ConversationStore(tmp_path / FILE) as store:
        yield store


def without_times(text: str) -> str:
    return re.sub(TIME, "TIME", text)


def test_a_conversation_is_there_tomorrow(tmp_path: Path) -> None:
    talk(tmp_path, "What is Rome?", "And Paris?", "/clear", "something else")
    assert without_times(talk(tmp_path, "/sessions", "/load 2", "/name", "more", "/name Europe", "/load")) == (
        "  1  something-else  TIME  (fake, 2 messages)  something else\n"
        "  2  what-is-rome  TIME  (fake, 4 messages)  What is Rome?\n"
        "/load NAME or NUMBER resumes one\n"
        ">>> What is Rome?\n"
        "You said: What is Rome?\n\n"
        ">>> And Paris?\n"
        "You said: And Paris?\n\n"
        "(goes on with what-is-rome)\n"
        "what-is-rome, fake, 4 messages\n"
        "You said: more\n\n"
        "named Europe\n"
        "* 1  Europe  TIME  (fake, 6 messages)  What is Rome?\n"
        "  2  something-else  TIME  (fake, 2 messages)  something else\n"
        "/load NAME or NUMBER resumes one\n"
    )
    assert talk(tmp_path, "/load europe").startswith("(2 earlier messages; /export md shows all)\n>>> And Paris?\n")


def test_a_conversation_goes_on_with_its_model_and_settings(tmp_path: Path, store: ConversationStore) -> None:
    talk(tmp_path, "What is Rome?", "/set temp=0.2 logit_bias=5-inf", "/think off")
    goes_on = "(goes on with what-is-rome; with temperature 0.2, logit_bias 5-inf, reasoning off, as before)\n"
    assert talk(tmp_path, "/load 1", "/set temp").endswith(f"{goes_on}temperature = 0.2\n")
    keeper = Keeper(tmp_path / FILE, given=["temperature", "thinking"])
    assert talk(tmp_path, "/load 1", keeper=keeper).endswith(
        "(goes on with what-is-rome; with logit_bias 5-inf, as before)\n"
    )
    with Keeper(tmp_path / FILE) as keeper:
        keeper.hold_with("other", "/models/other.gguf")
        chat = FakeChat()
        keeper.resume(as_chat(chat), store.find("what-is-rome"))
        assert (
            keeper.differs == "fake answered before: /model fake goes back to it" and chat.sampling.temperature == 0.8
        )
        keeper.keep(as_chat(chat))
        assert store.recent()[0].model == "fake"  # it was only looked at
        keeper.hold_with("third", "/models/third.gguf")
        keeper.keep(as_chat(chat))
        assert store.recent()[0].model == "third"


@pytest.mark.parametrize("held", [{}, {"sampling": 3}, {"sampling": {"top_k": "x", "new": 1, "logit_bias": [1]}},
                                  {"thinking": "x", "reasoning_budget": {}}])  # fmt: skip
def test_settings_that_make_no_sense_are_passed_over(held: dict[str, Any]) -> None:
    chat = FakeChat()
    assert take_up(as_chat(chat), held, []) == [] and chat.sampling == FakeChat().sampling


def test_long_messages_are_shown_by_their_beginnings(tmp_path: Path) -> None:
    talk(tmp_path, "\n".join(f"line {i}" for i in range(30)))
    text = talk(tmp_path, "/load 1")
    assert text.startswith(">>> line 0\n... line 1\n") and "... line 11\n(18 more lines)\n" in text
    talk(tmp_path, "words " * 500)
    assert len(talk(tmp_path, "/load 1").splitlines()[0]) < 1300
    talk(tmp_path, "a.txt:\n```\nText.\n```\n\nWhat is it?")
    assert talk(tmp_path, "/load what-is-it").startswith("(with the text of a.txt)\n>>> What is it?\n")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/sessions", "no conversation is kept yet\n"),
        ("/load", "no conversation is kept yet\n"),
        ("/load 3", "error: 3 is no number of the list, which has 0; /sessions shows it\n"),
        ("/name", "it gets a name by its first words, or by /name NAME\n"),
        ("/name 12", "error: the name is '12', but must be 1 to 64 characters with a letter among them, without / and "
                     "without - at the beginning\n"),
        ("/fork", "error: there is nothing to fork: nothing is kept of this conversation yet\n"),
        ("/branch", "error: there is no branch: nothing is kept of this conversation yet\n"),
        ("/delete", "error: /delete needs the name of a conversation, or its number in /sessions\n"),
        ("/delete rome", "error: no conversation rome is kept\n"),
        ("/undo", "error: there is nothing to take back: nothing was said yet\n"),
        ("/edit", "error: there is nothing to edit: nothing was said yet\n"),
        ("/export", "error: /export takes md or json, and a file behind it, not ''\n"),
        ("/export pdf", "error: /export takes md or json, and a file behind it, not 'pdf'\n"),
        ("/retry", "error: /retry takes settings, as in temp=0.9 top_k=20 think=off; /regen answers again with the "
                   "same\n"),
        ("/retry warm", "error: /retry takes settings as in temp=0.9 top_k=20 think=off, not 'warm'\n"),
        ("/retry tmep=1", "error: /retry takes settings as in temp=0.9 top_k=20 think=off, not 'tmep=1' (did you mean "
                             "temp?)\n"),
        ("/retry temp=hot", "error: temperature is a number, not 'hot'\n"),
        ("/retry 'temp", "error: /retry: No closing quotation; a text with spaces goes between quotes\n"),
        ("/retry think=2", "error: think is on or off, not '2'\n"),
    ],
)  # fmt: skip
def test_one_line_when_there_is_nothing_yet(tmp_path: Path, line: str, answer: str) -> None:
    assert talk(tmp_path, line) == answer
    assert not (tmp_path / FILE).exists()


def test_delete_asks(tmp_path: Path, store: ConversationStore) -> None:
    talk(tmp_path, "one", "/clear", "two")
    question = "delete one, fake, 2 messages? [y/N] \n"
    for no in ("", "n", KeyboardInterrupt(), "what?"):
        assert talk(tmp_path, "/delete one", no) == f"{question}one stays\n"
    assert talk(tmp_path, "/delete 2", "Y") == f"{question}one is deleted\n"
    text = talk(tmp_path, "/load two", "/delete two", "yes", "/undo", "three")
    assert text.endswith("two is deleted; a new conversation begins\n"
                         "error: there is nothing to take back: nothing was said yet\nYou said: three\n\n")  # fmt: skip
    assert [each.name for each in store.recent()] == ["three"]


def test_nothing_is_kept_with_no_save(tmp_path: Path, store: ConversationStore) -> None:
    talk(tmp_path, "kept")
    text = talk(
        tmp_path, "one", "/name x", "/fork", "/undo", "/load kept", "two", keeper=Keeper(tmp_path / FILE, saves=False)
    )
    assert text.count("error: this chat is not saved (--no-save)\n") == 2 and "took back one\n" in text
    assert "(goes on with kept)\nYou said: two\n" in text
    assert [each.n_messages for each in store.recent()] == [2]


def test_a_store_that_fails_is_one_line_and_the_chat_goes_on(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("not a database, but long enough to be looked at" * 99)
    reason = f"{tmp_path}/{FILE}: kept conversations can't be written: file is not a database"
    assert talk(tmp_path, "one", "two", "/clear", "three", "/sessions") == (
        f"(not saved: {reason}; the chat goes on)\n"
        "You said: one\n\nYou said: two\n\nconversation cleared\nYou said: three\n\n"
        f"error: {reason.replace('written', 'read')}\n"
    )


def test_what_was_not_saved_is_saved_as_soon_as_that_works(tmp_path: Path, store: ConversationStore) -> None:
    class Repairing(FakeChat):
        def clear(self) -> None:
            super().clear()
            folder.rmdir()

    folder = tmp_path / FILE
    folder.mkdir()

    def repaired(self: FakeChat, text: str, stream=FakeChat.stream, **options):  # type: ignore[no-untyped-def]
        if text == "two":
            folder.rmdir()
        return stream(self, text, **options)

    chat = type("Repaired", (FakeChat,), {"stream": repaired})()
    text = talk(tmp_path, "one", "two", chat=chat)
    assert text.startswith("(not saved: ") and "(saved again)\nYou said: two\n" in text
    assert [each.n_messages for each in store.recent()] == [4]


def test_undo_fork_and_branches(tmp_path: Path) -> None:
    text = without_times(talk(
        tmp_path, "one", "two", "/undo", "three", "/branch", "/branch 1", "/fork side", "four", "/branch", "/load one",
        "/branch 7",
    ))  # fmt: skip
    assert text == (
        "You said: one\n\nYou said: two\n\n"
        "took back two; /branch goes back to it\n"
        "You said: three\n\n"
        "  1  TIME  (4 messages)  two  You said: two\n"
        "* 2  TIME  (4 messages)  three  You said: three\n"
        ">>> one\nYou said: one\n\n>>> two\nYou said: two\n\n(goes on with one)\n"
        "in side from now on; one stays as it is\n"
        "You said: four\n\n"
        "* 1  TIME  (6 messages)  four  You said: four\n"
        ">>> one\nYou said: one\n\n>>> two\nYou said: two\n\n(goes on with one)\n"
        "error: /branch takes a number from 1 to 2, not '7'\n"
    )
    assert without_times(talk(tmp_path, "/sessions")).splitlines()[:2] == [
        "  1  side  TIME  (fake, 6 messages, a copy of one)  one",
        "  2  one  TIME  (fake, 4 messages)  one",
    ]


def test_edit_answers_again_from_there(
    tmp_path: Path, store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\n[ -n "$1" ] && sed -i s/one/uno/ "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    chat = FakeChat()
    text = talk(tmp_path, "one", "two", "/edit", "/edit 2", "/edit 3", "/edit 0", chat=chat)
    assert text.endswith(
        "not changed\n>>> uno\nYou said: uno\n\n"
        "error: /edit takes 1, your last message, to 1, your first, not '3'\n"
        "error: /edit takes 1, your last message, to 1, your first, not '0'\n"
    )
    assert [message.content for message in chat.messages] == ["uno", "You said: uno"]
    assert len(store.branches(store.find("one"))) == 2


def test_an_edit_that_cannot_be_answered_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "sed -i s/one/fail/")
    chat = FakeChat()
    text = talk(tmp_path, "one", "two", "/edit 2", chat=chat)
    assert text.endswith(f"error: the context of 1000 tokens is full ({MAKES_ROOM})\n")
    assert [message.content for message in chat.messages][::2] == ["one", "two"]
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    text = talk(tmp_path, "one", "/edit")
    assert "error: /no/such/editor: Editing failed" in text and text.endswith("; set EDITOR to another one\n")


def test_an_answer_that_is_made_the_same_again_says_why(tmp_path: Path) -> None:
    why = "(the same again: temperature 0 leaves no choice; /retry temp=0.8 does)\n"
    text = talk(tmp_path, "hi", "/regen", "/regen", "/set temp 0", "/regen")
    assert text.count(why) == 1 and text.endswith(why)


def test_retry_answers_with_other_settings_for_once(tmp_path: Path, store: ConversationStore) -> None:
    chat = FakeChat()
    text = talk(
        tmp_path, "hi", "/retry temp=0.125 top_k=7 think=on", "/set temperature", "/retry think=off bad=1", chat=chat
    )
    assert text.startswith("You said: hi\n\nYou said: again: hi\n\ntemperature = 0.8\nerror: ")
    assert chat.thinking is None
    (one, other) = store.branches(found := store.find("hi"))
    settings = store.messages(found, other.head)[-1].settings
    assert (settings["sampling"]["temperature"], settings["sampling"]["top_k"], settings["thinking"]) == (
        0.125,
        7,
        True,
    )
    assert store.messages(found, one.head)[-1].settings["sampling"]["temperature"] == 0.8


class Stopped(FakeChat):
    """Ctrl-C comes while questions are read that begin with "stop", and in answers to "half"."""

    def _events(self, text):  # type: ignore[no-untyped-def]
        yield PrefillProgress(1, 2)
        if text.startswith("stop") or text == "again: half":
            os.kill(os.getpid(), signal.SIGINT)
        yield from super()._events(text)

    def _words(self, text):  # type: ignore[no-untyped-def]
        yield "You said: "
        if text == "half":
            os.kill(os.getpid(), signal.SIGINT)
        yield text


def test_a_stop_says_what_is_kept(tmp_path: Path, store: ConversationStore) -> None:
    chat = Stopped()
    assert talk(tmp_path, "one", "stop it", "/regen", "half", "/regen", chat=chat) == (
        "You said: one\n\n"
        "(stopped while the question was read; it is kept: /regen answers it)\n\n"
        "You said: again: stop it\n\n"
        "You said: \n(stopped; what came is kept: /continue goes on, /undo takes it back)\n\n"
        "(stopped before anything came; the old answer is kept)\n\n"
    )
    assert [message.content for message in chat.messages][-2:] == ["half", "You said: "]
    kept = store.messages(store.find("one"))
    assert [each.message for each in kept] == chat.messages


def test_a_question_that_was_not_answered_is_kept(tmp_path: Path) -> None:
    talk(tmp_path, "one", "stop", chat=Stopped())
    assert talk(tmp_path, "/load one", "/regen").endswith(">>> stop\n(goes on with one)\nYou said: again: stop\n\n")


def test_export(tmp_path: Path, store: ConversationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    text = talk(tmp_path, "/system Be brief.", "think", "/export md", f"/export json {tmp_path}/talk.json")
    assert without_times(text).endswith(
        "<!-- a conversation of subbyte -->\n\n# think\n\n## System\n\nBe brief.\n\n## You, TIME\n\nthink\n\n"
        "## fake, TIME\n\n<details><summary>Reasoning</summary>\n\nLet me see\\x1b[31m.\n\nDone.\n\n</details>\n\n"
        f"You said: think\nsaved to {tmp_path}/talk.json\n"
    )
    assert talk(tmp_path, f"/load {tmp_path}/talk.json").endswith("loaded 2 messages from " + f"{tmp_path}/talk.json\n")
    assert store.count() == 1  # no copy of what was only loaded
    monkeypatch.chdir(tmp_path)
    assert talk(tmp_path, "/load talk.json").endswith("loaded 2 messages from talk.json\n")
    assert talk(tmp_path, f"/load {tmp_path}/talk.json", "more").endswith("You said: more\n\n")
    assert [each.n_messages for each in store.recent()] == [4, 2]
    assert "# conversation\n" in talk(tmp_path, "hi", "/export md", keeper=Keeper(tmp_path / FILE, saves=False))
    (tmp_path / "mine.md").write_text("# mine")
    assert "is not an exported conversation, so it is never" in talk(tmp_path, "hi", f"/export md {tmp_path}/mine.md")
    monkeypatch.setattr("subbyte.runtime.conversations.export.atomic_write", Mock(side_effect=OSError(28, "No space")))
    error = "error: a.md: the conversation can't be written: No space\n"
    assert talk(tmp_path, "ho", "/export md a.md").endswith(error)
    monkeypatch.undo()
    file = tmp_path / "a.md"
    assert talk(tmp_path, "hi", f"/export md {file}").endswith(f"saved to {file}\n")
    question = f"{file} is an exported conversation; write over it? [y/N] \n"
    assert talk(tmp_path, "ha", f"/export md {file}", "").endswith(f"{question}{file} stays\n")
    assert file.read_text().startswith("<!-- a conversation of subbyte -->\n\n# hi-2\n")
    assert talk(tmp_path, "ha", f"/export md {file}", "y").endswith(f"{question}saved to {file}\n")
    assert file.read_text().startswith("<!-- a conversation of subbyte -->\n\n# ha-2\n")


# ---- at a terminal


@pytest.mark.parametrize(
    ("columns", "rows", "term"), [(80, 24, "xterm"), (40, 12, "xterm"), (200, 50, "xterm"), (80, 24, "dumb")]
)
def test_resumed_at_a_terminal(terminal, columns: int, rows: int, term: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for keys in (["remember me\r"], ["/sessions\r", "/load remember-me\r"]):
        screen = terminal(columns=columns, rows=rows, TERM=term)
        screen.see(">>>")
        for line in keys:
            screen.keys(line)
            screen.see("remember-me" if line.startswith("/s") else "You said: remember me")
        screen.see("You said: remember me")
        if len(keys) > 1:
            screen.see("(goes on with remember-me)")
        screen.keys(CTRL_D)
        assert screen.end() == 0


def test_a_question_of_the_program_at_a_terminal(chat, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    chat.keys("hello\r")
    chat.see("You said: hello")
    chat.prompt()
    question = "delete hello, smollm2, 2 messages? [y/N]"
    for answer, end in (("n\r", "hello stays"), (CTRL_C, "hello stays"), ("y\r", "hello is deleted")):
        chat.keys("/delete hello\r")
        chat.wait(lambda: [line for line in chat.lines if line][-1:] == [question], "the question")
        chat.keys(answer)
        chat.see(end)
        chat.prompt()
        chat.keys("\x0c")  # a clear screen
        chat.prompt()
    chat.keys(CTRL_D)
    assert chat.end() == 0


def test_an_editor_gets_the_terminal_as_it_was(terminal, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    editor = tmp_path / "editor.py"
    editor.write_text("import sys\nprint('EDITOR', flush=True)\nopen(sys.argv[1], 'w').write(input('new: '))\n")
    screen = terminal(VISUAL=f"{sys.executable} {editor}")
    screen.prompt()
    screen.keys("hello\r")
    screen.see("You said: hello")
    screen.prompt()
    screen.keys("/edit\r")
    screen.see("new:")
    screen.keys("changed\r")
    screen.see("new: changed")  # it echoes, and Enter ends its line
    screen.see(">>> changed\nYou said: changed")
    screen.prompt()
    screen.keys(CTRL_D)
    assert screen.end() == 0


def test_killed_at_the_terminal_only_the_running_answer_is_lost(chat, tmp_path: Path, store: ConversationStore) -> None:  # type: ignore[no-untyped-def]
    chat.keys("one\r")
    chat.see("You said: one")
    chat.prompt()
    chat.keys("slow two\r")
    chat.see("slow two 0 1 2")
    os.killpg(chat.child.pid, signal.SIGKILL)
    assert [m.message.content for m in store.messages(store.find("one"))] == ["one", "You said: one", "slow two"]

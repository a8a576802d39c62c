"""The file of kept conversations: searched, damaged, foreign, shared by processes, killed while it is written."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from permissions import ordinary_permissions

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations import database as database_module
from subbyte.runtime.conversations import store as store_module
from subbyte.runtime.conversations.recording import Recording
from subbyte.runtime.conversations.store import ConversationStore

TALKS = {
    "rome": ("Tell me of Rome.", "Rome was a républic."),
    "paris": ("And Paris?", "The Seine flows through Paris."),
    "both": ("Rome or Paris?", "100 % “Rome” OR paris*"),
}


def fill(path: Path) -> ConversationStore:
    store = ConversationStore(path)
    for name, (question, answer) in TALKS.items():
        recording = Recording(store, "tiny", "")
        recording.begin(name)
        recording.keep([Message("user", question), Message("assistant", answer)], {})
    return store


def found(store: ConversationStore, words: str) -> set[str]:
    return {hit.conversation.name for hit in store.search(words)}


@pytest.mark.parametrize("fts5", [True, False])
def test_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fts5: bool) -> None:
    if not fts5:
        monkeypatch.setattr(database_module, "_has_fts5", lambda _: False)
    store = fill(tmp_path / "db")
    assert found(store, "rome") == {"rome", "both"} and found(store, "ROME par") == {"both"}
    assert found(store, 'paris "or') == ({"both"} if fts5 else set())
    assert found(store, "athens") == set() and len(store.search("rome", 1)) == 1
    assert [hit.excerpt(["seine"]) for hit in store.search("seine")] == ["The Seine flows through Paris."]
    talk = "首都は東京です🎉 שלום"
    Recording(store, "", "").keep([Message("user", talk)], {})
    for words in ("東京", "🎉", "東京 首都", "ום"):
        assert [hit.content for hit in store.search(words)] == [talk]
    assert found(store, "東京 rome") == set()
    for nothing in ("", " ", '"', "*", "\0"):
        with pytest.raises(ValueError, match="there is no word to look for"):
            store.search(nothing)
    store.delete(store.find("both"))
    assert found(store, "rome") == {"rome"}
    if fts5:
        assert found(store, "republic") == {"rome"}
        Recording(store, "", "").keep([Message("user", "x AND (y NEAR z) -a")], {})
        assert found(store, "AND (y -a") == {"x-and-y-near-z-a"}
    store.close()


def test_an_index_that_was_not_kept_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "db").close()
    with monkeypatch.context() as without:
        without.setattr(database_module, "_has_fts5", lambda _: False)
        store = ConversationStore(tmp_path / "db")
        Recording(store, "", "").keep([Message("user", "Athens")], {})
        store.delete(store.find("rome"))
        store.close()
    store = ConversationStore(tmp_path / "db")
    assert found(store, "athens") == {"athens"} and found(store, "rome") == {"both"}
    store.close()


def test_what_is_deleted_is_in_no_byte_of_the_files(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "db")
    secret = [Message("user", "xyzzysecret " * 2000), Message("assistant", "plughsecret")]
    Recording(store, "tiny", "").keep(secret, {"system": "quuxsecret"})
    assert any(b"xyzzysecret" in file.read_bytes() for file in tmp_path.iterdir())
    store.delete(store.recent()[0])
    for file in tmp_path.iterdir():
        assert b"secret" not in file.read_bytes(), file.name
    assert store.recent() == []
    store.close()


def test_lists_go_by_the_index_and_no_further_than_they_must(tmp_path: Path) -> None:
    """So that 10 000 conversations are listed as fast as twenty."""
    with fill(tmp_path / "db") as store:
        assert [each.name for each in store.recent()] == ["both", "paris", "rome"]
        assert [each.name for each in store.recent(1, begins="RO")] == ["rome"]
    database = sqlite3.connect(tmp_path / "db")
    plan = database.execute("EXPLAIN QUERY PLAN " + store_module.RECENT, ("", 20)).fetchall()
    steps = [step[-1] for step in plan]
    assert any("conversation_by_change" in step for step in steps)
    assert not any("USE TEMP B-TREE" in step or step.startswith("SCAN m") for step in steps), steps
    database.close()


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.close()
    with pytest.raises(ResourceError, match="db: a database of another program; move it away"):
        ConversationStore(path).recent()
    path.unlink()
    fill(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(ResourceError, match="of version 2, but this subbyte knows 1; get a newer one"):
        ConversationStore(path).recent()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(range(256)) * 64, b"\0" * 8192])
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    for use in (
        ConversationStore(path).recent,
        lambda: Recording(ConversationStore(path), "", "").keep([QUESTION], {}),
    ):
        with pytest.raises(ResourceError, match="db: ") as error:
            use()
        assert str(error.value).count("\n") == 0
    assert path.read_bytes() == content


QUESTION = Message("user", "hi")


def test_a_folder_and_a_place_without_permission_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "db"):
        with pytest.raises(ResourceError, match="kept conversations can't be written: "):
            Recording(ConversationStore(path), "", "").keep([QUESTION], {})


def test_damaged_bytes_never_do_harm(tmp_path: Path) -> None:
    """Any bytes in any place: what is read is right or refused."""
    fill(tmp_path / "db").close()
    sound = (tmp_path / "db").read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        content = bytearray(sound)
        for _ in range(dice.choice((1, 8, 64))):
            content[dice.randrange(len(content))] = dice.randrange(256)
        path = tmp_path / "damaged"
        path.write_bytes(content)
        store = ConversationStore(path)
        try:
            for conversation in store.recent():
                store.branches(conversation)
                store.messages(conversation)
            store.search("rome")
            Recording(store, "", "").keep([QUESTION], {})
        except SubbyteError as error:
            assert str(error)
        store.close()
        for file in tmp_path.glob("damaged*"):
            file.unlink()


@pytest.mark.parametrize("column", ["content", "calls", "role", "created", "settings", "name", "parent", "head"])
def test_rows_that_hold_something_else(tmp_path: Path, column: str) -> None:
    fill(tmp_path / "db").close()
    database = sqlite3.connect(tmp_path / "db")
    table = {"settings": "setup", "head": "conversation", "name": "conversation"}.get(column, "message")
    value = {
        "parent": "9223372036854775807",
        "head": "'x'",
        "calls": "'{'",
        "settings": "'['",
        "name": "CAST(id AS BLOB)",
    }.get(column, "x'ff00'")
    database.execute("DROP TRIGGER words_changed")
    database.execute(f"UPDATE {table} SET {column} = {value}")
    database.commit()
    database.close()
    store = ConversationStore(tmp_path / "db")
    try:
        for conversation in store.recent():
            store.messages(conversation)
    except SubbyteError as error:
        assert "damaged" in str(error) or "can't be read" in str(error)
    else:
        assert column in ("parent", "head")
    store.close()


WRITER = """
import sys
from pathlib import Path
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations.recording import Recording
from subbyte.runtime.conversations.store import ConversationStore

recording = Recording(ConversationStore(Path(sys.argv[1])), "tiny", "")
recording.begin(sys.argv[2])
messages = []
for i in range(int(sys.argv[3])):
    for role in ("user", "assistant"):
        messages.append(Message(role, f"{role} {i} " + "word " * 200))
        recording.keep(messages, {"temperature": i % 3})
        print(len(messages), flush=True)
"""


def write(path: Path, name: str, n: int = 10**6) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(n)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_at_once(tmp_path: Path) -> None:
    writers = [write(tmp_path / "db", f"w{i}", 15) for i in range(4)]
    assert [writer.communicate()[0].split()[-1] for writer in writers] == ["30"] * 4
    store = ConversationStore(tmp_path / "db")
    assert {each.name: each.n_messages for each in store.recent()} == {f"w{i}": 30 for i in range(4)}
    assert len(store.search("assistant 14 word")) == 4
    store.close()


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_no_more_than_the_running_message_is_lost(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    for i in range(kills):
        with write(tmp_path / "db", f"run{i}") as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(dice.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
            written = 1 + len(writer.stdout.read().split())
        store = ConversationStore(tmp_path / "db")
        kept = store.messages(store.find(f"run{i}"))
        assert written <= len(kept) <= written + 1
        assert [each.message.content.split()[:2] for each in kept] == [
            [("user", "assistant")[k % 2], str(k // 2)] for k in range(len(kept))
        ]
        store.close()
    database = sqlite3.connect(tmp_path / "db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    database.close()


@pytest.mark.parametrize("of", ["file", "folder"])
def test_what_can_not_be_written_is_read(tmp_path: Path, of: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    fill(folder / "db").close()
    place, mode = (folder / "db", 0o400) if of == "file" else (folder, 0o500)
    with ordinary_permissions(), ConversationStore(folder / "db") as store:
        place.chmod(mode)
        recording = Recording(store, "", "")
        assert len(store.recent()) == 3 and found(store, "rome") == {"rome", "both"}
        with pytest.raises(ResourceError, match=r"can't be written: it, or its folder, is read-only$"):
            recording.keep([QUESTION], {})
        assert len(store.messages(store.find("both"))) == 2
        if of == "folder":  # of a file the log beside it is read-only, too
            place.chmod(0o700)
            recording.keep([QUESTION], {})
            assert len(store.recent()) == 4


def test_a_log_that_can_not_be_read_is_not_passed_over(tmp_path: Path) -> None:
    store, folder = fill(tmp_path / "db"), tmp_path / "copy"
    folder.mkdir()
    for name in ("db", "db-wal"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    with ordinary_permissions(), ConversationStore(folder / "db") as store:
        folder.chmod(0o500)
        with pytest.raises(ResourceError, match="part of them is in db-wal"):
            store.recent()
        folder.chmod(0o700)
        assert len(store.recent()) == 3

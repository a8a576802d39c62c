"""The statements that write a conversation, each within a transaction that is open."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from subbyte.runtime.chat.messages import Message, clean
from subbyte.runtime.conversations import rows
from subbyte.runtime.conversations.names import first_words, made_name
from subbyte.runtime.conversations.records import Conversation

_MESSAGE = "role, content, thinking, calls, pinned, forgotten, setup, created"


def setup(database: sqlite3.Connection, model: str, path: str, settings: Mapping[str, Any]) -> int:
    """The id of what messages are written with."""
    columns = (clean(model), clean(path), rows.settings_column(settings))
    database.execute("INSERT OR IGNORE INTO setup (model, path, settings) VALUES (?, ?, ?)", columns)
    found = database.execute("SELECT id FROM setup WHERE (model, path, settings) = (?, ?, ?)", columns)
    return int(found.fetchone()[0])


def exists(database: sqlite3.Connection, id: int) -> bool:
    """Whether there is a conversation with that id."""
    return bool(database.execute("SELECT count(*) FROM conversation WHERE id = ?", (id,)).fetchone()[0])


def conversation(database: sqlite3.Connection, name: str | None, messages: Sequence[Message], setup: int) -> int:
    """A new conversation without messages, named by the first of `messages` if no name is given; its id."""
    text = next((message.content for message in messages if message.role == "user"), "")
    name = _free_name(database, made_name(text) if name is None else name)
    return _conversation(database, name, first_words(text), setup, None)


def _conversation(database: sqlite3.Connection, name: str, first: str, setup: int, fork_of: int | None) -> int:
    columns = "name, first, created, changed, n_messages, setup, fork_of"
    values = (name, first, time.time(), time.time(), 0, setup, fork_of)
    return _insert(database, f"INSERT INTO conversation ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def message(database: sqlite3.Connection, conversation: int, parent: int | None, of: Message, setup: int) -> int:
    """A new message behind another one; its id."""
    statement = f"INSERT INTO message (conversation, parent, {_MESSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    return _insert(database, statement, (conversation, parent, *rows.message_columns(of), setup, time.time()))


def follows(database: sqlite3.Connection, conversation: int, message: int) -> bool:
    """Whether something stands behind that message, on whatever branch."""
    query = "SELECT count(*) FROM message WHERE conversation = ? AND parent = ?"
    return bool(database.execute(query, (conversation, message)).fetchone()[0])


def change(database: sqlite3.Connection, id: int, message: Message, setup: int) -> None:
    """A message gets another text."""
    columns = "role = ?, content = ?, thinking = ?, calls = ?, pinned = ?, forgotten = ?, setup = ?"
    database.execute(f"UPDATE message SET {columns} WHERE id = ?", (*rows.message_columns(message), setup, id))


def mark(database: sqlite3.Connection, id: int, message: Message) -> None:
    """A message is pinned and forgotten as this one is."""
    database.execute("UPDATE message SET pinned = ?, forgotten = ? WHERE id = ?", (*rows.marks(message), id))


def turn_to(database: sqlite3.Connection, id: int, head: int | None, n_messages: int) -> None:
    """The conversation goes on behind that message of its own."""
    columns = "head = ?, n_messages = ?, changed = ?"
    database.execute(f"UPDATE conversation SET {columns} WHERE id = ?", (head, n_messages, time.time(), id))


def hold_with(database: sqlite3.Connection, id: int, setup: int) -> None:
    """What the conversation is held with from now on."""
    database.execute("UPDATE conversation SET setup = ?, changed = ? WHERE id = ?", (setup, time.time(), id))


def copy(
    database: sqlite3.Connection, origin: Conversation, name: str | None, messages: Sequence[int]
) -> tuple[int, list[int]]:
    """A conversation with copies of these messages, one behind the other: its id, and theirs."""
    (setup,) = database.execute("SELECT setup FROM conversation WHERE id = ?", (origin.id,)).fetchone()
    id = _conversation(database, _free_name(database, name or origin.name), origin.first, setup, origin.id)
    statement = (
        f"INSERT INTO message (conversation, parent, {_MESSAGE}) SELECT ?, ?, {_MESSAGE} FROM message WHERE id = ?"
    )
    copies: list[int] = []
    for old in messages:
        copies.append(_insert(database, statement, (id, copies[-1] if copies else None, old)))
    turn_to(database, id, copies[-1] if copies else None, len(copies))
    return id, copies


def _insert(database: sqlite3.Connection, statement: str, values: Sequence[Any]) -> int:
    id = database.execute(statement, values).lastrowid
    assert id is not None  # of an INSERT
    return id


def _free_name(database: sqlite3.Connection, name: str) -> str:
    """The name, or where it is taken the first free one of name-2, name-3, …"""
    taken = {other.casefold() for (other,) in database.execute(_LIKE, (f"{name}-", f"{name}.", name))}
    if name.casefold() not in taken:
        return name
    number = 2
    while f"{name}-{number}".casefold() in taken:
        number += 1
    return f"{name}-{number}"


_LIKE = "SELECT name FROM conversation WHERE name >= ? COLLATE NOCASE AND name < ? COLLATE NOCASE OR name = ?"

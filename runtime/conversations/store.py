"""All kept conversations: listed, found by name, searched, read, renamed, deleted."""

import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from subbyte.errors import SubbyteError
from subbyte.runtime.chat.messages import clean
from subbyte.runtime.conversations import rows
from subbyte.runtime.conversations.database import (
    has_index,
    is_writable,
    open_database,
    open_unwritable,
    store_errors,
    writing,
)
from subbyte.runtime.conversations.names import checked_name
from subbyte.runtime.conversations.records import Branch, Conversation, Hit, KeptMessage
from subbyte.runtime.text import did_you_mean

RECENT = rows.CONVERSATION + (
    "WHERE ?1 = '' OR substr(c.name, 1, length(?1)) = ?1 COLLATE NOCASE ORDER BY c.changed DESC, c.id DESC LIMIT ?2"
)
_N_NAMES = 1000  # the newest names, which a wrong one is compared with
_BRANCH = """
WITH RECURSIVE branch (id, parent, depth) AS (
  SELECT id, parent, 0 FROM message WHERE id = ? AND conversation = ?
  UNION ALL SELECT m.id, m.parent, depth + 1 FROM branch b JOIN message m ON m.id = b.parent AND m.id < b.id
)
"""  # a parent is older than what follows it: no circle, whatever the file holds


class ConversationStore:
    """The conversations in the file at `path`, which is opened when first needed and made when first written to.

    Several processes may use it at once. A context manager, which closes it. All methods raise ResourceError for what
    SQLite or the system refuses, and SubbyteError for rows that hold something else than conversations.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._reads_only = False

    def __enter__(self) -> "ConversationStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file, if it is open."""
        if self._database is not None:
            self._database.close()
            self._database, self._reads_only = None, False

    def recent(self, n: int | None = None, *, begins: str = "") -> list[Conversation]:
        """Conversations whose names begin so, in capitals or not, those that changed last first; at most n."""
        return [rows.conversation_of(row) for row in self._all(RECENT, clean(begins), -1 if n is None else n)]

    def count(self) -> int:
        """How many there are."""
        found = self._all("SELECT count(*) FROM conversation")
        return int(found[0][0]) if found else 0

    def names(self, n: int) -> list[str]:
        """Names of those that changed last; at most n."""
        return [name for (name,) in self._all("SELECT name FROM conversation ORDER BY changed DESC LIMIT ?", n)]

    def named(self, name: str) -> Conversation | None:
        """The conversation of that name, in capitals or not; None where there is none."""
        found = self._all(rows.CONVERSATION + "WHERE c.name = ?", " ".join(clean(name).split()))
        return rows.conversation_of(found[0]) if found else None

    def with_id(self, id: int) -> Conversation | None:
        """The conversation with that id; None where it was deleted."""
        found = self._all(rows.CONVERSATION + "WHERE c.id = ?", id)
        return rows.conversation_of(found[0]) if found else None

    def find(self, name: str) -> Conversation:
        """The conversation of that name. Raises ValueError where there is none, with names like it."""
        found = self.named(name)
        if found is None:
            raise ValueError(f"no conversation {name} is kept{did_you_mean(name, self.names(_N_NAMES))}")
        return found

    def head(self, conversation: Conversation) -> int | None:
        """The last message of the branch in use, by its id; None where there is none."""
        found = self._all("SELECT head FROM conversation WHERE id = ?", conversation.id)
        return found[0][0] if found else None

    def messages(self, conversation: Conversation, head: int | None = None) -> list[KeptMessage]:
        """Its messages in their order, of the branch in use or of that which ends at `head`."""
        head = self.head(conversation) if head is None else head
        query = (
            _BRANCH + f"SELECT {rows.MESSAGE} FROM branch b JOIN message m ON m.id = b.id "
            "JOIN setup s ON s.id = m.setup ORDER BY b.depth DESC"
        )
        return rows.kept_of(conversation.name, self._all(query, head, conversation.id))

    def system(self, conversation: Conversation, kept: Sequence[KeptMessage]) -> str | None:
        """The system text of a conversation, or of the branch of it that has these messages."""
        in_use = not kept or kept[-1].id == self.head(conversation)
        text = (conversation if in_use else kept[-1]).settings.get("system")
        return text if isinstance(text, str) else None

    def branches(self, conversation: Conversation) -> list[Branch]:
        """Its branches in the order of their last messages."""
        ends = self._all(
            "SELECT m.id, m.id IS c.head FROM message m JOIN conversation c ON c.id = m.conversation WHERE c.id = ? "
            "AND m.id NOT IN (SELECT parent FROM message WHERE conversation = c.id AND parent > 0) ORDER BY m.id",
            conversation.id,
        )
        found = []
        for head, in_use in ends:
            kept = self.messages(conversation, head)
            if not kept:
                raise SubbyteError(f"the kept conversation {conversation.name} is damaged: a branch has no messages")
            question = next((each.message.content for each in reversed(kept) if each.message.role == "user"), "")
            last = kept[-1].message
            answer = last.content if last.role == "assistant" else ""
            found.append(Branch(head, len(kept), question, answer, kept[-1].time, bool(in_use)))
        return found

    def search(self, words: str, n: int | None = None) -> list[Hit]:
        """Conversations with a message that has all these words, or words that begin so; the newest first, at most n.

        Words may begin anywhere where SQLite has no FTS5, and so may those of Chinese, Hebrew and the like everywhere.
        Raises ValueError where there is no word.
        """
        wanted = clean(words).split()
        if not any(character.isalnum() or _is_within_words(character) for character in words):
            raise ValueError("there is no word to look for")
        found: dict[int, tuple[Any, ...]] = {}
        with self._reading() as database:
            for row in _matches(database, wanted) if database is not None else ():
                found.setdefault(row[0], row)
                if len(found) == n:
                    break
        hits = ((self.with_id(id), *rest) for id, *rest in found.values())
        return [Hit(conversation, *rest) for conversation, *rest in hits if conversation is not None]

    def free_name(self, name: str) -> str:
        """The name as it would be kept. Raises ValueError for an unfit name and one that is taken."""
        new = checked_name(name)
        if (other := self.named(new)) is not None:
            raise ValueError(f"there is a conversation {other.name} already; give another name, or delete that one")
        return new

    def rename(self, conversation: Conversation, name: str) -> str:
        """Gives it a name, which is returned as it is kept. Raises ValueError for an unfit or taken one."""
        found = self.named(name)
        new = checked_name(name) if found is not None and found.id == conversation.id else self.free_name(name)
        with self.writing() as database:
            database.execute("UPDATE conversation SET name = ? WHERE id = ?", (new, conversation.id))
        return new

    def delete(self, conversation: Conversation) -> None:
        """Removes it with all of its branches; copies made by a fork stay."""
        with self.writing() as database:
            database.execute("DELETE FROM conversation WHERE id = ?", (conversation.id,))
            database.execute(
                "DELETE FROM setup WHERE id NOT IN (SELECT setup FROM message UNION SELECT setup FROM conversation)"
            )
            if has_index(database):
                database.execute("INSERT INTO words (words) VALUES ('optimize')")  # else it would keep its words
        with store_errors(self.path, "written"):
            self._writable().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still had its text

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the file, which is made where it is missing."""
        with store_errors(self.path, "written"), writing(database := self._writable()):
            yield database

    def _writable(self) -> sqlite3.Connection:
        """The open file, to write to it."""
        if self._database is None or self._reads_only:
            self.close()
            self._database, self._reads_only = open_database(self.path), not is_writable(self.path)
        return self._database

    def _readable(self) -> sqlite3.Connection:
        """The open file, which may be one that can only be read."""
        if self._database is not None:
            return self._database
        try:
            return self._writable()
        except sqlite3.OperationalError:
            if is_writable(self.path):
                raise
            self._database, self._reads_only = open_unwritable(self.path), True
            return self._database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The open file; None where there is none."""
        with store_errors(self.path, "read"):
            if self._database is None and not self.path.exists():
                yield None
                return
            yield self._readable()

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading() as database:
            return [] if database is None else database.execute(query, values).fetchall()


def _matches(database: sqlite3.Connection, words: list[str]) -> Iterator[tuple[Any, ...]]:
    """Conversation, role, content and time of the messages with these words, the newest first."""
    indexed = [word for word in words if has_index(database) and not _is_within_words(word)]
    others = [word for word in words if word not in indexed]
    source, order, values = "message m", "m.id", [*others]
    conditions = ["instr(lower(m.content), lower(?)) > 0"] * len(others)
    if indexed:
        source, order = "words w JOIN message m ON m.id = w.rowid", "w.rowid"
        conditions.append("words MATCH ?")
        values.append(" ".join('"' + word.replace('"', '""').replace("\0", "") + '"*' for word in indexed))
    return database.execute(
        f"SELECT m.conversation, m.role, m.content, m.created FROM {source} WHERE {' AND '.join(conditions)} "
        f"ORDER BY {order} DESC", values,
    )  # fmt: skip


def _is_within_words(text: str) -> bool:
    """Whether text is looked for anywhere: emoji, and letters without case, whose scripts often have no spaces."""
    return any(unicodedata.category(character) in ("Lo", "So") for character in text)

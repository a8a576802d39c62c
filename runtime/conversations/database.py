"""The SQLite file that conversations are kept in: its schema, how it is opened, and its errors as ours."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from subbyte.errors import ResourceError
from subbyte.runtime.text import printable

_APPLICATION = 0x53554243  # "SUBC", in the file's header: no other program's file is taken for ours
_VERSION = 1
_PATIENCE = 2.0  # seconds that a write of another process may take

# A conversation is a tree of messages, each behind its `parent`; `head` is the last one of the branch in use.
# `setup` is what a message was written with: most answers share one.
_SCHEMA = """
CREATE TABLE setup (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, path TEXT NOT NULL, settings TEXT NOT NULL,
  UNIQUE (model, path, settings)
);
CREATE TABLE conversation (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, first TEXT NOT NULL,
  created REAL NOT NULL, changed REAL NOT NULL, head INTEGER, n_messages INTEGER NOT NULL,
  setup INTEGER NOT NULL, fork_of INTEGER REFERENCES conversation (id) ON DELETE SET NULL
);
CREATE INDEX conversation_by_change ON conversation (changed);
CREATE INDEX conversation_by_origin ON conversation (fork_of);
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE, parent INTEGER,
  role TEXT NOT NULL, content TEXT NOT NULL, thinking TEXT NOT NULL, calls TEXT NOT NULL,
  pinned INTEGER NOT NULL, forgotten INTEGER NOT NULL, created REAL NOT NULL, setup INTEGER NOT NULL
);
CREATE INDEX message_by_conversation ON message (conversation);
"""

# The full-text index, where SQLite has FTS5. Triggers keep it, and they are what tells that it is whole.
_INDEX = """
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
  content, content = 'message', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER words_added AFTER INSERT ON message BEGIN
  INSERT INTO words (rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER words_removed AFTER DELETE ON message BEGIN
  INSERT INTO words (words, rowid, content) VALUES ('delete', old.id, old.content);
END;
CREATE TRIGGER words_changed AFTER UPDATE OF content ON message BEGIN
  INSERT INTO words (words, rowid, content) VALUES ('delete', old.id, old.content);
  INSERT INTO words (rowid, content) VALUES (new.id, new.content);
END;
INSERT INTO words (words) VALUES ('rebuild');
"""
_TRIGGERS = ("words_added", "words_removed", "words_changed")


@contextmanager
def store_errors(path: Path, what: str) -> Iterator[None]:
    """Within, what SQLite and the system refuse is a ResourceError. what: "read" or "written"."""
    try:
        yield
    except (sqlite3.Error, UnicodeError, OSError) as error:  # Unicode: of a damaged file, in a message of SQLite's
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, sqlite3.OperationalError) and not is_writable(path):
            reason = "it, or its folder, is read-only"
        raise ResourceError(f"{printable(str(path))}: kept conversations can't be {what}: {reason}") from error


def is_writable(path: Path) -> bool:
    """Whether file and folder may be written to, as far as the system tells before."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(each, os.W_OK, effective_ids=effective) for each in (path.parent, path) if each.exists())


def open_database(path: Path) -> sqlite3.Connection:
    """The file, made where there is none, readable by its owner only; to be used within `store_errors`.

    A write-ahead log: a killed process loses nothing that was written, and readers don't wait for writers.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        _prepare(database, path)
    except BaseException:
        database.close()
        raise
    return database


def open_unwritable(path: Path) -> sqlite3.Connection:
    """The file in a folder that can't be written to, only to be read; to be used within `store_errors`.

    SQLite shares a write-ahead log through a file beside it, which can't be made there. Without a log nobody writes,
    and none is needed; raises ResourceError where there is one, whose changes would be missed.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise ResourceError(
            f"{printable(str(path))}: kept conversations can't be read: part of them is in {log.name}, for which the "
            "folder must be writable; copy the folder elsewhere"
        )
    database = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    try:
        _checked_version(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Makes the schema where there is none, and refuses a file that is not ours or newer than we are."""
    version = _checked_version(database, path)
    if database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        with suppress(sqlite3.OperationalError):  # another process is about to do it, or the file is read-only
            database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if version == 0:
        with writing(database):
            if _checked_version(database, path) == 0:  # else another process was faster
                run_all(database, _SCHEMA)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {_VERSION}")
    _keep_index(database)


def _checked_version(database: sqlite3.Connection, path: Path) -> int:
    """The schema's version, 0 for a new file.

    One statement asks for all: between several, another process might have made the schema.
    """
    application, version, tables = database.execute(
        "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id a, pragma_user_version v"
    ).fetchone()
    if application != _APPLICATION and (application or version or tables):
        raise ResourceError(f"{printable(str(path))}: a database of another program; move it away")
    if version > _VERSION:
        raise ResourceError(
            f"{printable(str(path))}: kept conversations of version {version}, but this subbyte knows {_VERSION}; "
            "get a newer one"
        )
    return int(version)


def has_index(database: sqlite3.Connection) -> bool:
    """Whether the full-text index is whole, and this SQLite has FTS5 to read it."""
    return _has_fts5(database) and _has_triggers(database)


def _has_fts5(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT count(*) FROM pragma_module_list WHERE name = 'fts5'").fetchone()[0])


def _has_triggers(database: sqlite3.Connection) -> bool:
    found = f"SELECT count(*) FROM sqlite_master WHERE name IN ({', '.join('?' * len(_TRIGGERS))})"
    return bool(database.execute(found, _TRIGGERS).fetchone()[0] == len(_TRIGGERS))


def _keep_index(database: sqlite3.Connection) -> None:
    """Makes the full-text index, or stops keeping it where SQLite could not, until one that can makes it anew."""
    able = _has_fts5(database)
    if _has_triggers(database) == able:
        return
    with writing(database):
        for trigger in _TRIGGERS:
            database.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        if able:
            run_all(database, _INDEX)


def run_all(database: sqlite3.Connection, statements: str) -> None:
    """Runs statements within the transaction that is open; `executescript` would end it."""
    part = ""
    for line in statements.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            database.execute(part)
            part = ""


@contextmanager
def writing(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction: all of the block is written, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # what failed may have ended it
            database.execute("ROLLBACK")
        raise

"""Files written whole or not at all, and locks between processes."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_MAX_NAME = 48  # characters of a file's name that its temporary file has too: a name is 255 bytes at most


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, sync: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """An empty temporary file beside `path`, which replaces it when the block ends; after an exception it is removed.

    A block that removes the temporary file leaves `path` as it was. A link stays a link: what it points to is replaced.
    sync: wait until the data is on the disk. mode: permissions, less the umask. Raises OSError, also for a path that is
    no regular file, such as a device: it would be replaced by one.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not is_replaceable(target):
        raise OSError("is no plain file, and would be replaced")
    temporary = target.with_name(f".{target.name[:_MAX_NAME]}.{os.urandom(4).hex()}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    try:
        yield temporary
        if temporary.exists():
            publish(temporary, target, sync=sync)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, target: Path, *, sync: bool) -> None:
    """Gives a file that is complete its name; one of that name is replaced. sync: as for `atomic_write`."""
    if sync:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    temporary.replace(target)


def is_replaceable(path: Path) -> bool:
    """Whether a file may take this place: nothing is there, or a regular file."""
    return path.is_file() or not path.exists()


def try_lock(file: IO[bytes]) -> bool:
    """Locks an open file against other processes until it is closed; False where another one has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

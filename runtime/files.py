"""Regular files read with a limit, files written whole or not at all, and locks between processes."""

import errno
import fcntl
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

from subbyte.errors import FileExists, ResourceError
from subbyte.runtime.text import did_you_mean, printable

_HEAD = 4096  # bytes that tell a file's kind
_AT_ONCE = 1 << 20  # bytes read, so that a limit costs no memory
_MAX_NAMES = 10_000  # of a folder that are looked through for one that was meant
_MAX_NAME = 48  # characters of a file's name that its temporary file has too: a name is 255 bytes at most


class UnfitFile(OSError):
    """No regular file, or one longer than what is read of its kind: whatever it is, not what was looked for."""


def open_regular(path: str | os.PathLike[str]) -> io.FileIO:
    """A regular file opened for reading, without a buffer; close it.

    A pipe would wait for its writer, a device may never end, and reading from one may do something. Raises UnfitFile
    for those, other OSErrors as `open`, also for a path with a zero byte, and TypeError for a descriptor's number.
    """
    name = os.fspath(Path(path))
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer. A regular file doesn't mind.
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise FileNotFoundError(errno.ENOENT, "a path can't hold a zero byte", name) from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UnfitFile(errno.EINVAL, "a socket, not a regular file", name) from None
        raise
    if not stat.S_ISREG(mode := os.fstat(fd).st_mode):
        os.close(fd)
        raise UnfitFile(errno.EINVAL, f"{kind_of(mode)}, not a regular file", name)
    return io.FileIO(fd)


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The whole of a regular file. Raises as `open_regular`, and UnfitFile for one longer than `limit` bytes."""
    with open_regular(path) as file:
        return read_limited(file, limit)


def read_limited(file: BinaryIO, limit: int) -> bytes:
    """The rest of an open file. Takes memory for what is there. Raises UnfitFile for more than `limit` bytes."""
    content = io.BytesIO()
    while part := file.read(min(_AT_ONCE, limit + 1 - content.tell())):
        content.write(part)
        if content.tell() > limit:
            most = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
            raise UnfitFile(errno.EFBIG, f"longer than {most}, the most that is read")
    return content.getvalue()


def kind_of(mode: int) -> str:
    """What st_mode says is no regular file, for people."""
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


@dataclass(frozen=True)
class FileKind:
    """What a writer writes: its name for people, and how the first bytes tell it. A file's own name tells nothing."""

    name: str
    is_head: Callable[[bytes], bool]


def check_place(path: str | os.PathLike[str], kind: FileKind, *, overwrite: bool = False) -> Path:
    """Where a file of that kind may be written, links followed; to be called before the work, and again after it.

    That is where nothing is, an empty file, or with overwrite a file of the same kind. Raises FileExists for any other
    file, ResourceError for what is no regular file (root could replace a device by one) and for errors of the system.
    """
    name = printable(str(path))
    try:
        target = Path(os.path.realpath(Path(path)))
    except ValueError:
        raise ResourceError(f"{name}: a path can't hold a zero byte; give another place") from None
    if not os.path.isdir(target.parent):
        folder = printable(str(target.parent))
        raise ResourceError(f"{name}: there is no folder {folder}; make it or give another place")
    try:
        mode = os.stat(path).st_mode  # not of target: what /dev/stdout leads to may have no path
        if not stat.S_ISREG(mode):
            raise ResourceError(f"{name}: {kind_of(mode)}, which no file replaces; give another place")
        with open_regular(target) as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return target
    except OSError as error:
        raise write_failure(path, error) from error
    if not head:
        return target
    if not kind.is_head(head):
        raise FileExists(f"{name}: exists and is not {kind.name}, so it is never overwritten; give another place")
    if not overwrite:
        raise FileExists(f"{name}: {kind.name} exists; overwrite=True replaces it, or give another place")
    return target


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], kind: FileKind, *, overwrite: bool = False, sync: bool = False, mode: int = 0o666
) -> Iterator[Path]:
    """An empty temporary file beside `path`, which takes its name when the block ends; after an exception it goes.

    A block that removes the temporary file leaves `path` as it was. A link stays a link: what it points to is replaced.
    kind, overwrite, and errors: as for `check_place`, which is asked before and after the block. sync: wait until the
    data is on the disk. mode: permissions, less the umask.
    """
    target = check_place(path, kind, overwrite=overwrite)
    temporary = target.with_name(f".{target.name[:_MAX_NAME]}.{os.urandom(4).hex()}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    try:
        yield temporary
        if temporary.exists():
            publish(temporary, path, kind, overwrite=overwrite, sync=sync)
    finally:
        temporary.unlink(missing_ok=True)


def publish(
    temporary: Path, path: str | os.PathLike[str], kind: FileKind, *, overwrite: bool = False, sync: bool = False
) -> None:
    """Gives a file that is complete its name; arguments and errors as for `atomic_write`."""
    if sync:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    target = check_place(path, kind, overwrite=overwrite)
    if target.exists() or not _link(temporary, target):
        temporary.replace(target)


def write_failure(path: str | os.PathLike[str], error: OSError) -> ResourceError:
    """What is raised for an error of the system while a file is written."""
    return ResourceError(f"can't write {printable(str(path))}: {error.strerror or error}; give another place")


def _link(temporary: Path, target: Path) -> bool:
    """Gives a file a name that is free, however short ago another one took it; False on file systems without links."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise FileExists(f"{printable(str(target))}: was made while this was computed; give another place") from None
    except OSError:
        return False
    temporary.unlink()
    return True


def try_lock(file: IO[bytes]) -> bool:
    """Locks an open file against other processes until it is closed; False where another one has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def similar_files(name: str | os.PathLike[str], suffix: str = "") -> str:
    """Which files may have been meant by a name that is none, in its folder: " (did you mean a.txt?)", or nothing."""
    path = Path(os.path.expanduser(name))
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _MAX_NAMES) if entry.name.endswith(suffix)]
    except (OSError, ValueError):
        return ""
    return printable(did_you_mean(path.name, names)) if names else ""

"""One file of a GGUF model: opened, mapped read-only and parsed."""

from __future__ import annotations

import errno
import logging
import os
import stat
import weakref
from pathlib import Path

from subbyte.errors import FormatError, ModelChanged, ModelNotFound, ModelRefused, ResourceError, UnsupportedError
from subbyte.kernels import MappedFile
from subbyte.runtime.gguf.cursor import DAMAGED, Cursor
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.sniff import SNIFF_BYTES, identify
from subbyte.runtime.gguf.tensors import MAX_TENSORS, MIN_INFO_BYTES, read_tensors
from subbyte.runtime.gguf.values import MAX_KEYS, MIN_PAIR_BYTES, read_values
from subbyte.runtime.text import printable

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT, MAX_ALIGNMENT = 32, 1 << 16

_GIVE = "give the path of a .gguf file"
_log = logging.getLogger(__name__)
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_OPEN_HINTS = {errno.EACCES: "make it readable (chmod u+r)", errno.EMFILE: "allow more open files (ulimit -n)"}


class Shard:
    """A mapped and checked GGUF file: the whole model, or one shard of it.

    The map lives as long as any view of it, a tensor's data; `close` only lets go of ours. Metadata is copied.
    As a context manager it raises ModelChanged at the end if it was cut short and read meanwhile.
    identity: bytes, time of the last change and inode of the file as it was mapped.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, printable(str(path))
        fd = _open(path, self.file)
        self._close_fd = weakref.finalize(self, os.close, fd)
        self._fd = fd
        status = os.fstat(fd)
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{self.file}: {_kind(status.st_mode)}, not a regular file; {_GIVE}")
        self._map = _map(fd, self.size, self.file)
        try:
            self._parse(memoryview(self._map))
        finally:
            self.check_readable()

    def _parse(self, data: memoryview) -> None:
        cursor = Cursor(data, self.file)
        self.version, n_tensors, n_keys = _read_header(cursor)
        self.metadata = Metadata(self.file, read_values(cursor, n_keys))
        alignment = self.metadata.u32("general.alignment", DEFAULT_ALIGNMENT, lo=8, hi=MAX_ALIGNMENT)
        if alignment & (alignment - 1):
            raise FormatError(
                f"{self.file}: metadata 'general.alignment' is {alignment}, a power of two is needed; {DAMAGED}"
            )
        self.tensors = read_tensors(cursor, n_tensors, alignment)
        if self.tensors and cursor.left >= alignment:
            _log.info("%s: %d bytes after the last tensor are not used", self.file, cursor.left)

    def check_unchanged(self) -> None:
        """Raises ModelChanged when the mapped file was written to or cut since it was opened; takes a microsecond."""
        try:
            status = os.fstat(self._fd)
        except OSError as error:
            raise ModelChanged(f"{self.file}: can't be reached any more ({error.strerror}); load it again") from None
        if (status.st_size, status.st_mtime_ns, status.st_ino) != self.identity:
            was, now = self.size, status.st_size
            change = f"from {was} to {now} bytes" if was != now else "in place"
            raise ModelChanged(f"{self.file}: was changed {change} while in use; load it again")
        self.check_readable()

    def check_readable(self) -> None:
        """Raises ModelChanged when something was read that was cut off, by any thread: it got zeros.

        Comes after what was read, and also where that failed: whatever is wrong with zeros, this is why.
        """
        if self._map.unreadable:
            problem = "was cut short, or could not be read, while in use; load it again"
            raise ModelChanged(f"{self.file}: {problem}") from None

    def close(self) -> None:
        """Closes the file; the map stays while a view of it is held."""
        self._close_fd()

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self.check_readable()


def _open(path: Path, file: str) -> int:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer. A regular file doesn't mind.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise ModelNotFound(f"{file}: a path can't hold a zero byte; {_GIVE}") from None
    except OSError as error:
        if error.errno in _ABSENT:
            raise ModelNotFound(f"{file}: {error.strerror}; {_GIVE}") from None
        if error.errno == errno.ENXIO:
            raise FormatError(f"{file}: a socket, not a regular file; {_GIVE}") from None
        hint = _OPEN_HINTS.get(error.errno or 0, "check the disk")
        raise ResourceError(f"{file}: can't be opened: {error.strerror}; {hint}") from None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _map(fd: int, size: int, file: str) -> MappedFile:
    if size == 0:
        raise FormatError(f"{file}: header, byte 0: the file is empty; fetch it again")
    try:
        return MappedFile(fd, size)
    except (OSError, OverflowError, ValueError) as error:
        raise ResourceError(f"{file}: {size} bytes can't be mapped into memory: {error}") from None


def _read_header(cursor: Cursor) -> tuple[int, int, int]:
    """Reads the version and the numbers of tensors and keys; refuses other files and counts that can't fit."""
    head = bytes(cursor.data[:SNIFF_BYTES])
    if not head.startswith(MAGIC[: len(head)]):
        raise cursor.error(f"not GGUF, but {identify(head)}", 0)
    cursor.skip(len(MAGIC), "the magic 'GGUF'")
    version = cursor.u32("the version")
    _check_version(cursor, version)
    n_tensors, n_keys = cursor.u64("the number of tensors"), cursor.u64("the number of metadata keys")
    for at, n, limit, what in [(8, n_tensors, MAX_TENSORS, "tensors"), (16, n_keys, MAX_KEYS, "metadata keys")]:
        if n > limit:
            raise cursor.error(f"{n} {what} are declared, at most {limit} are allowed; {DAMAGED}", at)
    least = n_keys * MIN_PAIR_BYTES + n_tensors * MIN_INFO_BYTES
    if least > cursor.left:
        found = f"{n_keys} metadata keys and {n_tensors} tensors need at least {least} bytes"
        raise cursor.error(f"{found}, {cursor.left} are left; {DAMAGED}", 8)
    return version, n_tensors, n_keys


def _check_version(cursor: Cursor, version: int) -> None:
    if version in (2, 3):
        return
    kind: type[ModelRefused] = UnsupportedError
    if version == 0:
        kind, problem = FormatError, f"version 0 does not exist; {DAMAGED}"
    elif version == 1:
        problem = "GGUF version 1 (August 2023), versions 2 and 3 are read; convert the model again"
    elif version & 0xFFFF == 0:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        problem = f"a big-endian file (version {swapped}), little-endian ones are read; get or convert one"
    else:
        problem = f"GGUF version {version}, versions 2 and 3 are read; update subbyte"
    raise cursor.error(problem, 4, kind)

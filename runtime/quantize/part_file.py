"""A file that grows tensor by tensor beside its final place, and takes that place only when it is whole.

Its name has a fingerprint of all that decides about its bytes. So a run that was interrupted, or killed, is taken up by
the same command at the first tensor that is not complete, and never by another one.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from glob import escape
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO

from subbyte.errors import FileExists, ResourceError
from subbyte.runtime.files import FileKind, check_place, open_regular, publish, try_lock, write_failure
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.shard import MAGIC
from subbyte.runtime.gguf.writer import Layout
from subbyte.runtime.imatrix.imatrix import IMATRIX_FILE
from subbyte.runtime.text import printable

MODEL_FILE = FileKind("a GGUF model", lambda head: head.startswith(MAGIC) and not IMATRIX_FILE.is_head(head))
_log = logging.getLogger(__name__)


class PartFile:
    """A context manager for one writer; n_done tensors are there already when it begins.

    What is there stays after an interruption or a failure of the disk; after other errors it goes. All errors of the
    system are raised as ResourceError.
    """

    def __init__(self, out: Path, layout: Layout, fingerprint: str, *, overwrite: bool = False) -> None:
        self.out, self._layout, self._overwrite = out, layout, overwrite
        self.path = out.with_name(f"{out.name}.{fingerprint[:16]}.part")
        self.n_done = 0

    def __enter__(self) -> PartFile:
        self.n_done = 0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file: BinaryIO = os.fdopen(os.open(self.path, flags, 0o666), "r+b")
        except OSError as error:
            raise self._failure(error) from error
        try:
            if not try_lock(self._file):
                raise ResourceError(f"{self.path}: is being written by another run; wait for it")
            self._take_up()
            self._warn_of_others()
        except BaseException as error:
            self._file.close()
            raise (self._failure(error) if isinstance(error, OSError) else error) from None
        return self

    def _warn_of_others(self) -> None:
        """Says what other commands left of the same file: hours of work, or gigabytes that nobody asks for any more."""
        for other in self._others():
            size = other.stat().st_size / 1e6
            _log.warning("%s (%.0f MB) is what another command left of the same file; it goes when this one is done",
                         other, size)  # fmt: skip

    def _others(self) -> list[Path]:
        pattern = f"{escape(self.out.name)}.{'[0-9a-f]' * 16}.part"
        return sorted(other for other in self.out.parent.glob(pattern) if other != self.path)

    def write(self, data: bytes) -> None:
        """Appends some of a tensor's data."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failure(error) from error

    def end_tensor(self) -> None:
        """All data of a tensor was written."""
        self.n_done += 1
        self.write(bytes(self._ends[self.n_done] - self._file.tell()))

    def sync(self, like: os.stat_result | None = None) -> None:
        """Waits until all that was written is on the disk. like: whose permissions, and maybe owner, the file gets."""
        try:
            self._file.flush()
            if like is not None:
                with suppress(PermissionError):
                    os.fchown(self._file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(self._file.fileno(), S_IMODE(like.st_mode))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def publish(self) -> None:
        """Gives the file, which is complete, its name; errors as for `files.publish`. What other runs left goes."""
        try:
            self._file.flush()
            publish(self.path, self.out, MODEL_FILE, overwrite=self._overwrite, sync=True)
        except OSError as error:
            raise self._failure(error) from error
        for other in self._others():
            _remove_if_unused(other)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        lasting = self.n_done and (isinstance(error, ResourceError) or not isinstance(error, Exception))
        if kind is not None and not lasting:
            self.path.unlink(missing_ok=True)
        elif kind is not None:
            n = len(self._layout.offsets)
            _log.warning("%d of %d tensors are in %s; the same command goes on from there", self.n_done, n, self.path)
        try:
            self._file.close()
        except OSError as failure:  # a full disk, told when the last bytes are flushed
            if kind is None:
                raise self._failure(failure) from failure

    @property
    def n_missing(self) -> int:
        """Bytes that are still to be written."""
        try:
            return max(self._layout.end - self.path.stat().st_size, 0)
        except OSError:
            return self._layout.end

    @property
    def _ends(self) -> tuple[int, ...]:
        """Where the head ends, and each tensor with what fills it up."""
        return (*self._layout.offsets, self._layout.end)

    def _take_up(self) -> None:
        """Finds the tensors that are complete, cuts off what follows them, and sees that the rest has room."""
        size, head = os.fstat(self._file.fileno()).st_size, self._layout.head
        free = shutil.disk_usage(self.path.parent).free
        if free < self._layout.end - size:
            if size == 0:
                self.path.unlink()
            found = f"{self._layout.end / 1e6:.0f} MB are needed and {(free + size) / 1e6:.0f} MB are free"
            raise ResourceError(f"{self.out}: {found}; make room or give another place")
        begun = self._file.read(len(head))
        if not head.startswith(begun):
            raise FileExists(f"{self.path}: exists and was not begun by this command; remove it or give another place")
        if begun == head:
            self.n_done = sum(end <= size for end in self._ends[1:])
            self._file.truncate(self._ends[self.n_done])
            self._file.seek(0, os.SEEK_END)
        else:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(head)

    def _failure(self, error: OSError) -> ResourceError:
        return ResourceError(f"can't write {self.path}: {error.strerror or error}; give another place")


def check_room(parts: Sequence[PartFile]) -> None:
    """Raises ResourceError where the disk has no room for files of one folder together."""
    folder, needed = parts[0].path.parent, sum(part.n_missing for part in parts)
    if (free := shutil.disk_usage(folder).free) < needed:
        found = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
        raise ResourceError(f"{printable(str(folder))}: {found}; make room or give another place")


def check_out(out: Path, gguf: GGUF, *, overwrite: bool) -> Path:
    """Where OUT may be written, links followed: the part beside a link might be on another file system.

    Refuses an OUT that a model can't be written to, or that the model is read from, before hours of work.
    """
    try:
        target = check_place(out, MODEL_FILE, overwrite=True)
        if target.exists():
            status = target.stat()
            if (status.st_size, status.st_mtime_ns, status.st_ino) in gguf.identity:
                raise FileExists(
                    f"{printable(str(out))}: is the model itself, which is never overwritten; give another place"
                )
        return check_place(out, MODEL_FILE, overwrite=overwrite)
    except OSError as error:
        raise write_failure(out, error) from error


def _remove_if_unused(path: Path) -> None:
    try:
        with open_regular(path) as file:
            if try_lock(file):
                path.unlink()
    except OSError:  # it is gone
        return

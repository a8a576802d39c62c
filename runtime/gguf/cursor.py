"""A read cursor over a file's bytes: each value is checked against the bytes that are left before it is touched."""

import struct
from typing import Any

from subbyte.errors import FormatError, ModelRefused
from subbyte.runtime.text import quoted

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
DAMAGED = "the file is cut short or damaged: fetch it again"


class Cursor:
    """Reads little-endian values of `data` one after another; raises FormatError instead of passing the end.

    file:  the file's name, as messages show it
    place: what is being read ("header", "metadata 'general.name'"), set by whoever reads
    pos:   the next byte
    """

    __slots__ = ("data", "file", "place", "pos", "size")

    def __init__(self, data: memoryview, file: str) -> None:
        self.data, self.file, self.size = data, file, len(data)
        self.place, self.pos = "header", 0

    @property
    def left(self) -> int:
        """The number of bytes not yet read."""
        return self.size - self.pos

    def error(self, problem: str, at: int | None = None, kind: type[ModelRefused] = FormatError) -> ModelRefused:
        """The error for `problem` at a byte offset (by default the next byte to be read)."""
        return kind(f"{self.file}: {self.place}, byte {self.pos if at is None else at}: {problem}")

    def skip(self, n_bytes: int, what: str) -> int:
        """Passes `n_bytes`; their first offset."""
        start = self.pos
        if n_bytes > self.size - start:
            raise self.error(f"{what} needs {n_bytes} bytes, {self.size - start} are left; {DAMAGED}")
        self.pos = start + n_bytes
        return start

    def take(self, n_bytes: int, what: str) -> memoryview:
        """Passes `n_bytes`; a copy of them: the file may be written to later, what was checked stays as it is."""
        start = self.skip(n_bytes, what)
        return memoryview(bytes(self.data[start : self.pos]))

    def unpack(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        """Reads values of a fixed layout."""
        return layout.unpack_from(self.data, self.skip(layout.size, what))

    def u32(self, what: str) -> int:
        """Reads an unsigned 32-bit integer."""
        value: int = self.unpack(_U32, what)[0]
        return value

    def u64(self, what: str) -> int:
        """Reads an unsigned 64-bit integer."""
        value: int = self.unpack(_U64, what)[0]
        return value

    def string(self, what: str, longest: int) -> memoryview:
        """Reads a length and that many bytes; at most `longest`."""
        start = self.pos
        n_bytes = self.u64(f"the length of {what}")
        if n_bytes > longest and n_bytes <= self.left:
            raise self.error(f"{what} is {n_bytes} bytes long, at most {longest} are allowed", start)
        return self.take(n_bytes, what)

    def name(self, what: str, longest: int) -> str:
        """Reads a string that names something: 1 to `longest` bytes of UTF-8."""
        start = self.pos
        text = self.string(what, longest)
        if not text:
            raise self.error(f"{what} is empty; {DAMAGED}", start)
        try:
            return str(text, "utf-8")
        except UnicodeDecodeError:
            raise self.error(f"{what} is {quoted(text)}, which is not UTF-8; {DAMAGED}", start) from None

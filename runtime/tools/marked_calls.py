"""What formats have in common whose calls begin with a mark of their own, alone or as a section of several."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from subbyte.runtime.tools.reader import Reader, Reading
from subbyte.runtime.tools.tool import Tool


class MarkedCalls(ABC):
    """Base of such formats. open: what stands before each call. section: what stands around all calls, if anything."""

    __slots__ = ()

    open: str
    section: tuple[str, str]
    starts = ()

    @property
    def trigger(self) -> str:
        """What a call begins with."""
        return (self.section[0] or self.open).split()[0]

    def is_certain(self, text: str) -> bool:
        """Whether a text without a trigger is meant as a call: there is none."""
        return False

    def read(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads what an open mark begins: a call, or a section's calls up to its end."""
        yield from reader.mark(self.section[0])
        while True:
            yield from reader.mark(self.open)
            yield from reader.spaces()
            yield from self._call(reader, tools)
            reader.take()
            if not self.section[1]:
                return
            yield from reader.spaces()
            if (yield from reader.skip(self.section[1])):
                reader.take()
                return

    @abstractmethod
    def _call(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads a call behind its open mark, the close mark included."""

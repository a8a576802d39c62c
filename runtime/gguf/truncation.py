"""Guards reads of a mapped file that may be truncated meanwhile (SIGBUS), by a new download or an editor."""

from collections.abc import Iterator
from contextlib import contextmanager

from subbyte.errors import ModelChanged
from subbyte.kernels import Guard


@contextmanager
def guard_truncation(file: str, *maps: memoryview) -> Iterator[None]:
    """Raises ModelChanged where the process would be killed (SIGBUS): reading a map behind the end of its file.

    file: as the message names it. Whatever else is raised inside, because zeros were read, gives way to that error.
    """
    guard = Guard(*maps)
    try:
        with guard:
            yield
    finally:
        if guard.unreadable:
            problem = "was cut short, or could not be read, while being opened; load it again"
            raise ModelChanged(f"{file}: {problem}") from None

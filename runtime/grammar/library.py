"""llguidance, imported when a constraint is first made, and how its work is kept within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from subbyte.errors import ResourceError

T = TypeVar("T")

MAX_SOURCE = 256 << 10  # bytes of a schema, an expression or a grammar
_STACK_FLOOR, _STACK_PER_BYTE = 16 << 20, 2 << 10  # rules that refer to each other in a chain are compiled recursively
_PAGE = 1 << 12
_starting = threading.Lock()  # the size of stacks is one for the process


def llguidance() -> ModuleType:
    """The library. Raises ResourceError where it is not installed."""
    try:
        import llguidance
    except ImportError as error:
        found = f"constraints need llguidance, which can't be imported ({error})"
        raise ResourceError(f"{found}; install it with: pip install 'subbyte[json]'") from None
    return llguidance


def with_deep_stack(n_bytes: int, work: Callable[[], T]) -> T:
    """The result of `work` over a source of n_bytes, done on a stack that no chain in such a source overflows.

    The library compiles recursively, and on a stack of the usual size a chain of some hundred definitions ends the
    process. The stack is address space; what is not used of it takes no memory.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    size = _STACK_FLOOR + -(-n_bytes * _STACK_PER_BYTE // _PAGE) * _PAGE
    thread = threading.Thread(target=run, name="subbyte grammar", daemon=True)
    with _starting:
        before = threading.stack_size(size)
        try:
            thread.start()
        except RuntimeError:
            raise ResourceError("no thread, or no address space, for a constraint; end other programs") from None
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

"""Handles: objects that stand for memory, a file or a running computation, of which a copy can't be a second one."""

from typing import ClassVar, NoReturn, SupportsIndex


class Handle:
    """Base of what can't be copied or pickled: `copy.copy`, `copy.deepcopy` and `pickle` raise TypeError.

    A copy would share the memory of the first while both go on as if it were their own. instead: what to do for another
    one.
    """

    instead: ClassVar[str]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be copied or pickled: {self.instead}")

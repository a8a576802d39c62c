"""Arguments of public functions, checked at the call and in one way: what was given, and what is taken.

Each function returns the value as Python's own type (numpy's numbers are numbers), or raises `WrongKind` for something
else and ValueError for a value out of range; the message begins with the argument's name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from subbyte import kernels
from subbyte.runtime.text import quoted

T = TypeVar("T")
C = TypeVar("C", bound="Callable[..., Any] | None")

PATH = "a path or a model's name (str or os.PathLike)"


class WrongKind(TypeError, ValueError):
    """An argument of another kind than the function takes; a ValueError too, as all wrong arguments are."""


def wrong_kind(name: str, value: object, taken: str) -> WrongKind:
    """The error for an argument that is no `taken`."""
    return WrongKind(f"{name} is {shown(value)}, but must be {taken}")


def whole(name: str, value: object, low: int | None = None, hint: str = "") -> int:
    """A whole number, of at least low; no bool."""
    taken = "a whole number" + ("" if low is None else f" from {low}") + (f" ({hint})" if hint else "")
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise wrong_kind(name, value, taken)
    if low is not None and value < low:
        raise ValueError(f"{name} is {shown(value)}, but must be {taken}")
    return int(value)


def number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """A finite number from low to high; no bool."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise wrong_kind(name, value, "a finite number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} is {shown(value)}, but must be a finite number")
    if not low <= result <= high:
        limits = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
        raise ValueError(f"{name} is {result:g}, but must be {limits}")
    return result


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise wrong_kind(name, value, "True or False")
    return bool(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """One of some words."""
    words = " or ".join(map(repr, allowed))
    if not isinstance(value, str):
        raise wrong_kind(name, value, words)
    if value not in allowed:
        raise ValueError(f"{name} is {shown(value)}, but must be {words}")
    return value


def text(name: str, value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise wrong_kind(name, value, "a text (str)")
    return value


def raw_text(name: str, value: object) -> str | bytes:
    """A text, or its bytes as UTF-8."""
    if not isinstance(value, str | bytes):
        raise wrong_kind(name, value, "a text (str, or bytes of UTF-8)")
    return value


def raw_texts(name: str, value: object) -> list[str | bytes]:
    """One text or several."""
    if isinstance(value, str | bytes):
        return [value]
    return [raw_text(f"{name}[{i}]", each) for i, each in enumerate(items(name, value, "a text or a list of texts"))]


def strings(name: str, value: object) -> tuple[str, ...]:
    """Several texts, none of them empty."""
    taken = "a list of non-empty strings"
    found = items(name, value, taken)
    if not all(isinstance(each, str) and each for each in found):
        raise wrong_kind(name, found, taken)
    return tuple(found)


def path(name: str, value: object, taken: str = "a path (str or os.PathLike)") -> str:
    """A path; no bytes and no file descriptor."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise wrong_kind(name, value, taken)
    if "\0" in found:
        raise ValueError(f"{name} is {shown(found)}, but must be {taken}, which has no null character")
    return found


def token_ids(name: str, value: object, n_vocab: int) -> NDArray[np.int32]:
    """Token ids below n_vocab, int32 [n]."""
    try:
        return kernels.token_ids(cast(Any, value), n_vocab)
    except TypeError as error:
        raise WrongKind(f"{name}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def optional_path(name: str, value: object) -> str | None:
    """A path, or None."""
    return None if value is None else path(name, value)


def callback(name: str, value: C) -> C:
    """Something to call, or None."""
    if value is not None and not callable(value):
        raise wrong_kind(name, value, "a function, or None")
    return value


def functions(name: str, value: object) -> tuple[Callable[..., Any], ...]:
    """Several things to call."""
    taken = "a list of functions"
    found = items(name, value, taken)
    if not all(map(callable, found)):
        raise wrong_kind(name, found, taken)
    return tuple(found)


def mapping(name: str, value: object) -> Mapping[Any, Any]:
    """A dict, or what is like one."""
    if not isinstance(value, Mapping):
        raise wrong_kind(name, value, "a dict")
    return value


def instance(name: str, value: object, kind: type[T]) -> T:
    """An object of a class."""
    if not isinstance(value, kind):
        raise wrong_kind(name, value, f"a {kind.__name__}")
    return value


def items(name: str, value: object, taken: str) -> list[Any]:
    """What a list, or anything else to go through but texts and dicts, holds."""
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise wrong_kind(name, value, taken)
    return list(value)


def shown(value: object) -> str:
    """A value as messages show it: its repr, shortened and fit for a terminal."""
    if isinstance(value, int) and not -(10**60) < value < 10**60:
        return "a number of more than 60 digits"
    try:
        shown = repr(value)
    except Exception:
        shown = f"a {type(value).__name__}"
    return quoted(shown)[1:-1]

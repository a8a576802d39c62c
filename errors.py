"""Every error subbyte raises on purpose, as one tree under `SubbyteError`.

A message is one line that says where (file, place), what was found, what was allowed and what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

# C0 and C1 controls, line separators, and what turns the order of text around: names and texts from a file must not
# steer the terminal, nor look like another line of a log, nor read otherwise than they are.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
CONTROLS |= {code: f"\\u{code:04x}" for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))}
_IN_ONE_LINE = {**CONTROLS, **dict.fromkeys(map(ord, "\n\t"), " ")}


class SubbyteError(Exception):
    """Base of all errors raised by subbyte; `exit_code` is what the command line ends with.

    A message may quote names from a file as they are: control characters in it are spelt out here,
    and it is one line.
    """

    exit_code = 5

    def __init__(self, message: str = "") -> None:
        super().__init__(message.translate(_IN_ONE_LINE))


class ModelRefused(SubbyteError):
    """A model file was read and can't be used as it is."""

    exit_code = 3


class FormatError(ModelRefused):
    """The bytes of a GGUF file, or values in it, break the format's rules."""


class UnsupportedError(ModelRefused):
    """The file is sound, but holds an architecture, block type or tokenizer that subbyte does not know."""


class TokenizerError(ModelRefused):
    """The vocabulary in the file can't be used."""


class TemplateError(ModelRefused):
    """The chat template in the file can't be parsed, fails, or breaks its bounds."""


class ModelNotFound(SubbyteError):
    """No model of that name or path."""

    exit_code = 4


class ResourceError(SubbyteError):
    """Memory, threads, disk or network are short of what was asked."""

    exit_code = 4


class FileExists(SubbyteError):
    """A file is where one was to be written: of the same kind and not to be overwritten unasked, or of another kind."""

    exit_code = 4


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """A context, or a decorator, in which MemoryError becomes ResourceError. what: was being done, for the message."""
    try:
        yield
    except MemoryError:
        raise ResourceError(f"not enough memory to {what}; end other programs or ask for less at once") from None


class ContextOverflow(SubbyteError):
    """More tokens than the session's context holds."""


class NumericError(SubbyteError):
    """The model's output is not finite."""


class ConstraintError(SubbyteError):
    """An answer can't go on under its constraint."""


class UnfitAnswer(SubbyteError):
    """An answer is not the object that was asked for: it was cut, or its type refuses the value. text: the answer's."""

    def __init__(self, message: str = "", text: str = "") -> None:
        super().__init__(message)
        self.text = text


class SessionBusy(SubbyteError):
    """A session is in use by another thread."""


class StepCancelled(SubbyteError):
    """A step was cancelled from another thread; the sequences are as before it."""


class QueueFull(SubbyteError):
    """As many requests are waiting as may; ask again later."""


class ModelChanged(SubbyteError):
    """The model's file was changed or cut short while in use."""

"""Rules of a recipe: which tensors they match, by kind, name, layer, and context in the model."""

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Any

from subbyte.errors import ResourceError
from subbyte.kernels import FORMATS
from subbyte.runtime.recipes.file_types import TensorContext
from subbyte.runtime.text import did_you_mean

CONDITIONS: Mapping[str, Callable[[TensorContext], bool]] = {
    "early": lambda context: context.early,
    "late": lambda context: context.late,
    "use_more_bits": lambda context: context.use_more_bits,
    "gqa_ge_4": lambda context: context.gqa_ge_4,
    "tied": lambda context: context.tied,
    "is_70b": lambda context: context.is_70b,
    "eight_experts": lambda context: context.eight_experts,
    "imatrix": lambda context: context.imatrix,
}
"""What `when` may ask, each also with "not " before it; they are llama.cpp's own questions, see `TensorContext`."""

MAX_PATTERNS = 4096  # of all rules together: it must not take long to ask them of every tensor
MAX_MATCH = 1000  # characters
MAX_REGEX_BYTES = 1 << 16  # of memory that one takes, compiled
MAX_PROGRAM = 1 << 17  # instructions of all regular expressions together: a search in a name takes 2 ms then
_ALLOWED = frozenset(string.ascii_letters + string.digits + "._-*?[]!, ")
_PART = re.compile(r"(?P<end>first|last) (?P<percent>\d{1,3})%|(?P<from>\d{1,4})(?:-(?P<to>\d{1,4}))?")


@dataclass(frozen=True)
class QuantizableTensor:
    """A tensor that can take another type. layer: of its name; None for one of the whole model."""

    name: str
    layer: int | None
    n_layer: int
    context: TensorContext


@dataclass(frozen=True)
class Rule:
    """One line of a recipe; see the head of recipe.py. Raises ValueError for what can't be a rule."""

    match: str
    type: str
    layers: str | None = None
    when: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_type(self.type)
        if len(self.match) > MAX_MATCH or not (
            self.is_regex or (self.match.strip() and _ALLOWED.issuperset(self.match))
        ):
            raise ValueError(
                f"{self.match[:60]!r} is no pattern; write kinds such as attn_v, or names such as blk.0.attn_v.weight, "
                "with *, ? and [0-9] as in file names, and commas between several; or a regular expression as /…/"
            )
        _ = self.patterns
        _ = self.spans
        for condition in self.when:
            if condition.removeprefix("not ") not in CONDITIONS:
                hint = did_you_mean(condition.removeprefix("not "), CONDITIONS)
                raise ValueError(
                    f"no condition {condition!r}{hint}; allowed are {', '.join(CONDITIONS)}, also with not"
                )

    @property
    def is_regex(self) -> bool:
        """Whether `match` is one regular expression: `/…/`."""
        return len(self.match) > 2 and self.match[0] == self.match[-1] == "/" and self.match.isprintable()

    @cached_property
    def patterns(self) -> list[tuple[bool, Callable[[str], object]]]:
        """What `match` asks for: whether of the whole name, or of the kind, and what finds it there."""
        if self.is_regex:
            return [(True, self._regex.search)]
        globs = [glob.strip() for glob in self.match.split(",")]
        return [("." in glob, re.compile(translate(glob)).match) for glob in globs]

    @cached_property
    def program_size(self) -> int:
        """Instructions of the compiled regular expression, which a search goes by for each character; 0 of others."""
        return int(self._regex.programsize) if self.is_regex else 0

    @cached_property
    def _regex(self) -> Any:
        return _compile(self.match[1:-1])

    @cached_property
    def spans(self) -> list[re.Match[str]]:
        """The parts of `layers`."""
        parts = [] if self.layers is None else [_PART.fullmatch(part.strip()) for part in self.layers.split(",")]
        if len(parts) > MAX_PATTERNS or not all(parts):
            found = repr(self.layers and self.layers[:60])
            raise ValueError(f"{found} are no layers; write numbers, ranges, first P% or last P%, with commas")
        return [part for part in parts if part]

    def fits(self, matrix: QuantizableTensor) -> bool:
        """Whether the rule decides about a matrix."""
        kind, name = matrix.context.kind, matrix.name
        if not any(finds(name if whole else kind) for whole, finds in self.patterns):
            return False
        if self.layers is not None and not self._holds_layer(matrix):
            return False
        context = matrix.context
        return all(CONDITIONS[word.removeprefix("not ")](context) != word.startswith("not ") for word in self.when)

    def _holds_layer(self, matrix: QuantizableTensor) -> bool:
        layer, n_layer = matrix.layer, matrix.n_layer
        if layer is None:
            return False
        for part in self.spans:
            if part["from"] is not None:
                first, last = int(part["from"]), int(part["to"] or part["from"])
            else:
                n = n_layer * int(part["percent"]) // 100
                first, last = (0, n - 1) if part["end"] == "first" else (n_layer - n, n_layer - 1)
            if first <= layer <= last:
                return True
        return False


def _compile(regex: str) -> Any:
    """A regular expression of RE2, whose searches take time by the length of name and program, whatever they are."""
    try:
        import re2
    except ImportError as error:
        needed = f"regular expressions in recipes need google-re2, which is not installed ({error})"
        raise ResourceError(f"{needed}; install it with: pip install 'subbyte[quantize]'") from None
    options = re2.Options()
    options.log_errors, options.max_mem = False, MAX_REGEX_BYTES
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        (reason,) = error.args
        raise ValueError(f"/{regex[:60]}/ is no regular expression that RE2 takes: {reason.decode()}") from None


def check_type(type: str) -> None:
    """Raises ValueError for what is no block type."""
    if type not in FORMATS:
        raise ValueError(f"no block type {type!r}{did_you_mean(type, FORMATS)}; allowed are {', '.join(FORMATS)}")


def parse_override(text: str) -> Rule:
    """`PATTERN=TYPE`, as `match` and `type` of a rule. Raises ValueError."""
    match, equals, type = text.rpartition("=")
    if not (match and equals):
        raise ValueError(f"{text!r} is not PATTERN=TYPE, such as ffn_down=Q6_K")
    return Rule(match, type.upper())

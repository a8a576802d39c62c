"""Running a chat template out of a model file: Hugging Face's jinja2 environment, with bounds.

jinja2's sandbox keeps a template from Python's internals, not from using up time and memory. Here everything a template
builds is measured: strings, lists, loops and calls all spend from one budget, and filters and methods are those that
templates need. So what takes too much is told with its line; a single step that is too large for the memory, or takes
long, meets the walls of the process that this runs in (`runtime/template/helper.py`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from time import thread_time
from typing import Any

from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.ext import LoopControlExtension
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from subbyte.runtime.template.limits import BUDGET, LARGEST, SECONDS
from subbyte.runtime.template.rewriter import GenerationTag, Rewriter

FILENAME = "<chat template>"  # in tracebacks
_FILTERS = (
    "abs attr capitalize count d default dictsort e escape first float indent int items last length list lower map max "
    "min reject rejectattr reverse round safe select selectattr sort string title trim unique upper"
).split()
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        "strip lstrip rstrip split rsplit splitlines partition rpartition startswith endswith find rfind index rindex "
        "count upper lower title capitalize swapcase casefold removeprefix removesuffix isalnum isalpha isascii "
        "isdecimal isdigit islower isnumeric isspace istitle isupper replace join format".split()
    ),
    dict: frozenset("get items keys values copy".split()),
    list: frozenset("index count copy".split()),
    tuple: frozenset("index count".split()),
    int: frozenset(),
    float: frozenset(["is_integer"]),
}


class TooMuch(TemplateRuntimeError):
    """A template that meets a bound."""


class Role(str):
    """A role's name: compares as the plain name, but is written into text as a mark."""

    mark: str

    def __str__(self) -> str:
        return self.mark


class Sandbox(ImmutableSandboxedEnvironment):
    """One compiled template and its environment. Raises whatever jinja2 or Python does, when made and when rendered.

    marks: what stands for control tokens in the template's own texts. roles: what stands for the names of roles.
    """

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, source: str, marks: Mapping[str, str], roles: Mapping[str, str]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension, GenerationTag])
        self.finalize = self.text
        self.filters = {name: self._measured(FILTERS[name]) for name in _FILTERS}
        self.filters |= {"tojson": self._tojson, "join": self._join, "replace": self._replace}
        self.filters |= {"<each>": self._each, "<concat>": self._concat, "<measured>": self._charged}
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _raise_exception
        self._reset(0)  # jinja2 computes constants when it compiles
        self._roles = {name: Role(name) for name in roles}
        for name, role in self._roles.items():
            role.mark = roles[name]
        tree = Rewriter(marks).visit(self.parse(source))
        tree.set_environment(self)
        code = self.compile(tree, filename=FILENAME)
        self._template = self.template_class.from_code(self, code, self.make_globals(None))

    def render(self, context: Mapping[str, Any], now: str, n_input: int) -> str:
        """The text for `context`, which holds `messages`, at the time `now` (ISO format).

        n_input: characters of the request, by which the bounds grow.
        """
        self._reset(n_input)
        time = datetime.fromisoformat(now)
        messages = [{**message, "role": self._role(message.get("role"))} for message in context["messages"]]
        names = {**context, "messages": messages, "strftime_now": lambda format: _strftime(time, format)}
        text, n = [], 0
        for piece in self._template.generate(names):
            text.append(piece)
            n += len(piece)
            if n > self._largest:
                raise TooMuch(f"it writes more than {self._largest} characters")
        return "".join(text)

    def _role(self, name: Any) -> Any:
        return self._roles.get(name, name) if isinstance(name, str) else name

    def _reset(self, n_input: int) -> None:
        self._largest = LARGEST + 4 * n_input
        self._left = BUDGET * self._largest
        self._deadline = thread_time() + SECONDS

    def spend(self, cost: int) -> None:
        """Take `cost` (characters, items) off the budget."""
        self._left -= cost
        if cost > self._largest or self._left < 0 or thread_time() > self._deadline:
            raise TooMuch("it builds too much: texts or lists too large, or too many steps")

    def text(self, value: object) -> str:
        """`str(value)`, paid for: what `{{ }}` writes."""
        if not isinstance(value, str):
            self.spend(self._size(value))
        text = str(value)
        self.spend(len(text))
        return text

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, macro or method: methods only by the list."""
        method = getattr(obj, "__wrapped__", obj)  # jinja2 wraps str.format
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        for kind, allowed in _METHODS.items():
            if isinstance(owner, kind) and name not in allowed:
                raise SecurityError(f"{kind.__name__}.{name} is not available to chat templates")
        if isinstance(owner, str):
            if name == "join":
                (values,) = args
                return self._join(values, owner)
            if name == "replace":
                return self._replace(owner, *args)
        return self._charged(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`+ * ** %`, refused where the result is large, or would take long to compute."""
        if operator == "**" and (abs(left) > 1 << 32 or not abs(right) <= 64):
            raise TemplateRuntimeError("it raises a number to a large power")
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            left, right = str(left), str(right)  # a role writes its mark
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > 4096:
            raise TemplateRuntimeError("it computes with too large numbers")
        return self._charged(result)

    def _size(self, value: Any) -> int:
        """Characters and items of `value`, those of its parts included as often as they occur."""
        if isinstance(value, str):
            return len(value)
        if isinstance(value, Namespace):
            raise TemplateRuntimeError("it puts a namespace into a text or a list")
        parts: Iterable[Any] = ()
        if isinstance(value, dict):
            parts = (part for pair in value.items() for part in pair)
        elif isinstance(value, (list, tuple)):
            parts = value
        total = 1
        for part in parts:
            total += 1 + self._size(part)
            if total > self._largest:
                break
        return total

    def _charged(self, value: Any) -> Any:
        self.spend(16 if isinstance(value, Namespace) else 16 + self._size(value))
        return value

    def _measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            return self._charged(function(*args, **kwargs))

        return run

    def _each(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.spend(16)
            yield item

    def _concat(self, values: Iterable[Any]) -> str:
        return "".join([self.text(value) for value in values])

    def _join(self, values: Iterable[Any], d: object = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            values = map(make_attrgetter(self, attribute), values)
        return self.text(str(d).join([self.text(value) for value in values]))

    def _replace(self, text: object, old: object, new: object, count: int | None = None) -> str:
        if isinstance(text, str) and str(old) in text:
            text = text[:]  # of a role its name: what is made of it is no longer the mark that it writes
        return self.text(str(text).replace(str(old), str(new), -1 if count is None else count))

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        encoder = json.JSONEncoder(
            ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, check_circular=False
        )
        return self._concat(encoder.iterencode(value))


def _strftime(now: datetime, format: str) -> str:
    if len(format) > 256:
        raise TemplateRuntimeError("its date format is longer than 256 characters")
    return now.strftime(format)


def _raise_exception(message: object) -> None:
    raise TemplateRuntimeError(str(message))

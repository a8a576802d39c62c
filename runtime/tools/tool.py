"""A tool: a function that the model may call, as its chat template wants it described."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from subbyte.runtime import arguments
from subbyte.runtime.text import quoted
from subbyte.runtime.tools.signature import Parameters, read_signature

ToolSource: TypeAlias = "Tool | Callable[..., Any] | Mapping[str, Any]"
"""What a tool is made of: a function, or its description in the form of OpenAI's API."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAKEN = "a function, a Tool, or a mapping with a name and parameters, as OpenAI's API takes it"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call: name, description and the JSON schema of its arguments.

    function: what is called with the arguments; None where only the description was given. `of` makes one.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    function: Callable[..., Any] | None = None
    signature: Parameters | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            taken = "1 to 64 letters, digits, or _ . -"
            raise ValueError(f"a tool's name is {arguments.shown(self.name)}, but must be {taken}")
        where = f"tool {self.name}"
        arguments.text(f"{where}: description", self.description)
        arguments.mapping(f"{where}: parameters", self.parameters)
        if self.parameters.get("type", "object") != "object":
            kind = arguments.shown(self.parameters["type"])
            raise ValueError(f"{where}: its parameters are of type {kind}, but must be those of an object")
        if not isinstance(self.parameters.get("properties", {}), Mapping):
            raise ValueError(f'{where}: "properties" of its parameters must be a mapping of names to schemas')
        required = self.parameters.get("required", [])
        if not isinstance(required, list | tuple) or not all(isinstance(each, str) for each in required):
            raise ValueError(f'{where}: "required" of its parameters must be a list of names')
        try:
            json.dumps(self.parameters)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{where}: its parameters are no JSON schema: {error}") from None

    @classmethod
    def of(cls, source: ToolSource) -> "Tool":
        """The tool of a Python function, by its name, docstring and type hints, or of a description.

        The function's docstring gives the description, its first paragraph, and those of parameters, as Google's style
        (`Args:`) or Sphinx's (`:param x:`) has them. A description is `{"type": "function", "function": {"name": …,
        "description": …, "parameters": schema}}`, or what is under "function" alone. Raises ValueError for a function
        whose parameters have no names that a call could give, or a type that JSON has no values for.
        """
        if isinstance(source, Tool):
            return source
        if isinstance(source, Mapping):
            return _described(source)
        if not callable(source):
            raise arguments.wrong_kind("a tool", source, _TAKEN)
        name = getattr(source, "__name__", type(source).__name__)
        signature = read_signature(name, source)
        return cls(name, signature.description, signature.schema, source, signature)

    def __call__(self, **values: Any) -> Any:
        """Calls the function with arguments as a `ToolCall` has them, turned into the types of its hints.

        Raises ValueError, with what is wrong in one line, for arguments that it does not take, which a model may write,
        and for a tool without a function.
        """
        if self.function is None or self.signature is None:
            raise ValueError(f"tool {self.name} was given as a description: there is no function to call")
        return self.function(**self.signature.convert(self.name, values))

    def to_template(self) -> dict[str, Any]:
        """The tool as chat templates take it, in the form of OpenAI's API."""
        parameters = {"type": "object", "properties": {}, **self.parameters}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def tools_by_name(sources: Iterable[ToolSource]) -> dict[str, Tool]:
    """The tools of a list, by name. Raises ValueError where two have one name."""
    tools: dict[str, Tool] = {}
    for i, source in enumerate(arguments.items("tools", sources, "a list of functions, Tools or mappings")):
        try:
            tool = Tool.of(source)
        except ValueError as error:
            raise ValueError(f"tools[{i}]: {error}") from None
        if tool.name in tools:
            raise ValueError(f"tools has two of the name {tool.name}; give each a name of its own")
        tools[tool.name] = tool
    return tools


def _described(source: Mapping[str, Any]) -> Tool:
    inner = source.get("function", source)
    if source.get("type", "function") != "function" or not isinstance(inner, Mapping) or "name" not in inner:
        raise ValueError(f"a tool is {quoted(repr(source))}, but must be {_TAKEN}")
    given = {key: inner[key] for key in ("description", "parameters") if inner.get(key) is not None}
    return Tool(inner["name"], **given)

"""Tools of functions and of descriptions: schemas, names, and calls with what a model gave."""

import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from subbyte.runtime.tools.tool import Tool, tools_by_name


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    name: str
    north: float = 0.0


def weather(
    city: str,
    days: int = 3,
    *,
    unit: Unit = Unit.C,
    kind: Literal["rain", "sun"] | None = None,
    places: list[Place] | None = None,
    note=None,  # type: ignore[no-untyped-def]
) -> str:
    """Tells the weather
    of some days.

    More than that it does not know.

    Args:
        city (str): the city,
            in its own language
        days: how many
    Returns:
        text: a forecast
    """
    return f"{city} {days + 1} {unit.name} {kind} {[p.north for p in places or ()]} {note}"


def test_a_function_is_described_by_its_hints_and_docstring() -> None:
    tool = Tool.of(weather)
    assert (tool.name, tool.description) == ("weather", "Tells the weather of some days.")
    schema = tool.to_template()["function"]["parameters"]
    assert schema["type"] == "object" and schema["required"] == ["city"]
    properties = schema["properties"]
    assert properties["city"] == {"type": "string", "description": "the city, in its own language"}
    assert properties["days"] == {"type": "integer", "description": "how many", "default": 3}
    assert properties["note"] == {"default": None} and "default" not in properties["unit"]
    assert properties["unit"]["$ref"] == "#/$defs/Unit" and set(schema["$defs"]) == {"Unit", "Place"}


def test_other_docstrings() -> None:
    def f(a: Annotated[str, "x"], b: float) -> None:
        """Does it.

        :param a: the first
        :param float b: the second
        """

    properties = Tool.of(f).parameters["properties"]
    assert [properties[name]["description"] for name in "ab"] == ["the first", "the second"]

    def plain() -> None: ...

    tool = Tool.of(plain)
    assert tool.description == "" and tool.parameters == {"type": "object", "properties": {}, "required": []}


def test_a_call_gives_the_function_its_own_types() -> None:
    tool = Tool.of(weather)
    values = {"city": "Oslo", "days": "2", "unit": "fahrenheit", "places": [{"name": "x", "north": 59}]}
    assert tool(**values) == "Oslo 3 F None [59.0] None"
    for wrong, message in (
        ({}, "weather wants the argument city, which the call does not have"),
        ({"city": 1}, "weather: argument city: Expected `str`, got `int`"),
        ({"city": "x", "day": 1}, "weather has no parameter 'day'; it takes city, days, unit"),
    ):
        with pytest.raises(ValueError, match=message):
            tool(**wrong)
    with pytest.raises(ValueError, match="no function to call"):
        Tool("f")()


def test_a_description_is_taken_as_openai_has_it() -> None:
    inner = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}}
    for source in (inner, {"type": "function", "function": inner}):
        assert Tool.of(source).to_template() == {"type": "function", "function": inner}
    assert Tool.of({"name": "f", "parameters": None}).to_template()["function"]["parameters"] == {
        "type": "object", "properties": {},
    }  # fmt: skip


def keyed(**values: int) -> None: ...


def positional(a: int, /) -> None: ...


def odd(a: int, b: type(NotImplemented)) -> None: ...  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (weather, "tools is .*, but must be a list"),
        ([1], "a tool is 1, but must be a function"),
        ([{}], "a tool is '{}', but must be a function"),
        ([{"type": "web_search"}], "a tool is .*, but must be a function"),
        ([{"name": "a b"}], "a tool's name is 'a b', but must be 1 to 64 letters"),
        ([lambda: 1], "a tool's name is '<lambda>'"),
        ([{"name": "f", "parameters": {"type": "array"}}], "tool f: its parameters are of type 'array'"),
        ([{"name": "f", "parameters": {"properties": 1}}], 'tool f: "properties" of its parameters must be a mapping'),
        ([{"name": "f", "parameters": {"properties": {"a": object()}}}], "tool f: its parameters are no JSON schema"),
        ([{"name": "f", "parameters": {"required": True}}], 'tool f: "required" of its parameters must be a list'),
        ([{"name": "f", "description": 1}], "tool f: description is 1"),
        ([weather, Tool("weather")], "tools has two of the name weather"),
        ([keyed], r"tool keyed: parameter \*\*values"),
        ([positional], "tool positional: parameter a: int can't be given by name"),
        ([odd], "tool odd: "),
    ],
)
def test_tools_are_checked(sources: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tools_by_name(sources)
    assert "\n" not in str(caught.value)

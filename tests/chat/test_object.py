"""Answers as values of types and JSON schemas, by a model of random weights."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest
from tiny_models import write_model

import subbyte as sb

Short = Annotated[str, msgspec.Meta(max_length=4)]
Digit = Annotated[int, msgspec.Meta(ge=0, le=9)]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class City:
    name: Short
    size: Digit
    twins: Annotated[list["City"], msgspec.Meta(max_length=1)] = field(default_factory=list)


class Car(TypedDict, total=False):
    colour: Colour
    doors: Literal[2, 4]


class Point(msgspec.Struct):
    x: Digit
    y: Digit | None


class Model:
    """What a pydantic model looks like from outside."""

    def __init__(self, n: int) -> None:
        self.n = n

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["n"],
        }

    @classmethod
    def model_validate_json(cls, text: str) -> "Model":
        value = msgspec.json.decode(text)["n"]
        if value > 100:
            raise ValueError("n\n is too large")
        return cls(value)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("objects") / "tiny.gguf"
    write_model(path)
    with sb.load(path, threads=1) as model:
        yield model


@pytest.fixture
def chat(model: sb.Model) -> Iterator[sb.Chat]:
    likely = {token: 4.0 for token in model.tokenize('"]}')}
    with model.chat(n_ctx=2000, sampling=sb.Sampling(temperature=2.0, top_k=0, seed=3, logit_bias=likely)) as chat:
        yield chat


def test_an_answer_is_a_value_of_its_type(chat: sb.Chat) -> None:
    city = chat.object("Which city?", City)
    assert isinstance(city, City) and 0 <= city.size <= 9
    assert chat.messages[-1].content.startswith("{")
    car = chat.object("Which car?", Car)
    assert set(car) <= {"colour", "doors"} and isinstance(car.get("colour", Colour.RED), Colour)
    point = chat.object("Where?", Point)
    assert isinstance(point, Point)
    assert all(
        isinstance(each, Point) for each in chat.object("Where?", Annotated[list[Point], msgspec.Meta(max_length=2)])
    )
    assert isinstance(chat.object("How many?", Model), Model)
    assert chat.object("Yes or no?", Literal["yes", "no"]) in ("yes", "no")  # type: ignore[call-overload]
    assert chat.object("Which?", {"enum": [{"a": 1}, [2]]}) in ({"a": 1}, [2])
    assert chat.object("Which?", '{"const": 3}') == 3


def test_an_object_has_no_members_but_those_of_its_type(chat: sb.Chat) -> None:
    for _ in range(3):
        chat.object("Where?", Point)
        assert set(msgspec.json.decode(chat.messages[-1].content)) == {"x", "y"}


def test_an_answer_that_was_cut_says_so_and_has_its_text(chat: sb.Chat) -> None:
    chat.max_tokens = 5
    with pytest.raises(sb.UnfitAnswer, match="the answer ended before its JSON was whole: max_tokens") as cut:
        chat.object("Which city?", City)
    assert cut.value.text == chat.messages[-1].content and '{"name"'.startswith(cut.value.text[:2])
    assert len(str(cut.value).splitlines()) == 1
    chat.max_tokens, chat.stop = None, ('"',)
    with pytest.raises(sb.UnfitAnswer, match="a stop string ended it"):
        chat.object("Which city?", City)


def test_a_value_that_its_type_refuses_is_told(chat: sb.Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "model_json_schema", lambda: {"type": "object", "properties": {"n": {"const": 101}},
                                                             "required": ["n"]})  # fmt: skip
    with pytest.raises(sb.UnfitAnswer, match="the answer is no valid Model: n  is too large") as refused:
        chat.object("How many?", Model)
    assert msgspec.json.decode(refused.value.text) == {"n": 101}


@pytest.mark.parametrize("schema", [3, object, sb.Model, [1], {"not": {}}, "{"])
def test_what_is_no_schema_is_refused_before_anything_is_said(chat: sb.Chat, schema: Any) -> None:
    with pytest.raises(ValueError) as error:
        chat.object("Which?", schema)
    assert "\n" not in str(error.value)
    assert chat.messages == [] and chat.unanswered is None


def test_the_constraint_of_an_answer_holds_where_it_goes_on_or_is_made_again(chat: sb.Chat) -> None:
    constraint = sb.Constraint.regex("(ab|cd){6}")
    chat.max_tokens = 3
    first = chat.send("Say it.", constraint=constraint)
    assert first.stop_reason == "length" and 2 <= len(first.text) <= 6
    chat.max_tokens = None
    whole = chat.continue_answer().run()
    assert whole.text.startswith(first.text) and len(whole.text) == 12 and whole.stop_reason == "eog"
    again = chat.regenerate().run()
    assert len(again.text) == 12 and set(again.text) <= set("abcd")
    begun = chat.send("Say it.", prefill="abc", constraint=constraint)
    assert begun.text.startswith("abcd") and len(begun.text) == 12
    with pytest.raises(ValueError, match="the beginning of the answer does not fit"):
        chat.send("Say it.", prefill="ac", constraint=constraint)
    assert chat.messages[-1].content == begun.text
    assert [type(event) for event in chat.stream("And now?", constraint=sb.Constraint.choice(["ab"]))][-1] is sb.Done
    assert chat.messages[-1].content == "ab"


def test_a_conversation_s_constraint_holds_for_answers_to_what_was_said_before(chat: sb.Chat) -> None:
    chat.constraint = sb.Constraint.regex("(ab|cd){6}")
    chat.resume([{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}])
    assert set(chat.regenerate().run().text) <= set("abcd")
    chat.resume([{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "abc"}])
    assert len(chat.continue_answer().run().text) == 12
    assert chat.send("And now?", constraint=sb.Constraint.choice(["no"])).text == "no" == chat.regenerate().run().text
    chat.resume([{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It"}])
    with pytest.raises(ValueError, match="the beginning of the answer does not fit"):
        chat.continue_answer().run()
    with chat.fork() as other:
        assert set(other.send("Again.").text) <= set("abcd")


def test_raw_text_is_constrained_too(model: sb.Model) -> None:
    reply = model.generate("the", constraint=sb.Constraint.gbnf('root ::= "in" [0-9]')).run()
    assert reply.text[:2] == "in" and reply.text[2].isdigit() and reply.stop_reason == "eog"
    with pytest.raises(TypeError, match="constraint is 3, but must be a Constraint"):
        model.generate("the", constraint=3)  # type: ignore[arg-type]

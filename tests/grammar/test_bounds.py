"""Schemas, expressions and grammars made to hang, to crash or to take all memory: refused, or done in bounded time."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from confined import confined
from fake_engine import FakeTokenizer

import subbyte as sb
from subbyte.runtime.grammar.bounds import MAX_GROUPS, MAX_REPEATED, check_repetitions
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.grammar.library import MAX_SOURCE

TOKENIZER = FakeTokenizer()
SECONDS, MEMORY = 15, 400 << 20


def chain(n: int, rule: str) -> str:
    """Rules of which each names the next one."""
    return "\n".join(rule.format(i, i + 1) for i in range(n)) + f'\n{rule.split(":")[0].format(n, 0)}: "a"'


def nested(n: int, outer: str, inner: Any = True) -> Any:
    for _ in range(n):
        inner = {outer: inner}
    return inner


def definitions(n: int, definition: Callable[[str], Any]) -> dict[str, Any]:
    return {"$ref": "#/$defs/0", "$defs": {str(i): definition(f"#/$defs/{(i + 1) % n}") for i in range(n)}}


HOSTILE: dict[str, Callable[[], Constraint]] = {
    "deep schema": lambda: Constraint.json_schema('{"items":' * 10_000 + "true" + "}" * 10_000),
    "deep mapping": lambda: Constraint.json_schema(nested(5_000, "items")),
    "chain of references": lambda: Constraint.json_schema(
        {"$ref": "#/$defs/0", "$defs": {**{str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(7000)}, "7000": True}}
    ),
    "circle of references": lambda: Constraint.json_schema(definitions(3, lambda ref: {"$ref": ref})),
    "reference to itself": lambda: Constraint.json_schema({"$ref": "#"}),
    "circle beside other keys": lambda: Constraint.json_schema(
        definitions(2, lambda ref: {"$ref": ref, "type": "null"})
    ),
    "circle of alternatives": lambda: Constraint.json_schema({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
    "object without an end": lambda: Constraint.json_schema(
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    ),
    "doubling": lambda: Constraint.json_schema(definitions(60, lambda ref: {"allOf": [{"$ref": ref}, {"$ref": ref}]})),
    "product of alternatives": lambda: Constraint.json_schema(
        {"allOf": [{"anyOf": [{"properties": {f"p{i}": {"const": j}}} for j in range(2)]} for i in range(24)]}
    ),
    "huge enum": lambda: Constraint.json_schema({"enum": [f"value {i * 7919 % 100_003}" for i in range(10_000)]}),
    "too huge enum": lambda: Constraint.json_schema({"enum": [f"value {i}" for i in range(200_000)]}),
    "many choices": lambda: Constraint.choice(f"value {i}" for i in range(10_000)),
    "many members": lambda: Constraint.json_schema(
        {"type": "object", "properties": {f"p{i}": {} for i in range(1500)}}
    ),
    "huge lengths": lambda: Constraint.json_schema({"type": "string", "minLength": 10**9, "maxLength": 10**12}),
    "huge lists": lambda: Constraint.json_schema(nested(4, "items", {"minItems": 10**9, "type": "array"})),
    "huge numbers": lambda: Constraint.json_schema({"type": "integer", "minimum": -(10**300), "maximum": 10**300}),
    "huge multiple": lambda: Constraint.json_schema({"type": "number", "multipleOf": 1e-300}),
    "pattern of patterns": lambda: Constraint.json_schema({"type": "string", "pattern": "((a{1000}){1000}){1000}"}),
    "expression of expressions": lambda: Constraint.regex("(((a|b){99}){99}){99}"),
    "deep expression": lambda: Constraint.regex("(" * 50_000 + "a" + ")" * 50_000),
    "alternatives that are alike": lambda: Constraint.regex("(a|aa|aaa)*(a|b|ab)*c(a|b){500}(x+x+)+y"),
    "wide expression": lambda: Constraint.regex("(a{0,100}b){0,900}"),
    "chain of rules": lambda: Constraint.lark("start: r0\n" + chain(15_000, "r{}: r{}")),
    "chain of terminals": lambda: Constraint.lark("start: R0\n" + chain(8_000, 'R{}: ((R{}|"c"))')),
    "doubling terminals": lambda: Constraint.lark("start: R0\n" + chain(40, "R{0}: R{1} R{1}")),
    "deep grammar": lambda: Constraint.lark("start: " + "(" * 50_000 + '"a"' + ")" * 50_000),
    "ambiguous grammar": lambda: Constraint.lark('start: e\ne: e e | "a" |'),
    "rule of itself": lambda: Constraint.lark("start: start"),
    "deep gbnf": lambda: Constraint.gbnf("root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000),
}


def walk(make: Callable[[], Constraint]) -> str:
    """The error that comes of making the constraint and following it for a while, "" for none."""
    try:
        matcher = make().matcher(TOKENIZER)
        for n in range(200):
            words = matcher.mask()
            tokens = [id for id in range(TOKENIZER.n_vocab) if words[id // 32] >> id % 32 & 1]
            if matcher.is_complete or TOKENIZER.eog.issuperset(tokens):
                break
            matcher.consume(min(set(tokens) - TOKENIZER.eog, key=lambda id: id * 7919 % (101 + n)))
    except (ValueError, sb.ConstraintError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_constraints_are_bounded_in_time_and_memory(name: str) -> None:
    done = confined(lambda: walk(HOSTILE[name]))
    assert (done.seconds < SECONDS, done.peak < MEMORY) == (True, True), done
    assert len(done.value) < 600 and "\n" not in done.value and "\x1b" not in done.value


@pytest.mark.parametrize(
    ("pattern", "groups", "most"),
    [
        ("a{5}", 1, 5), ("(a{5}){7}", 7, 35), ("(a{5}b{3}){7}c{99}", 7, 99), ("((a{2,3}){4}){5,}", 20, 60),
        (r"\(a{5}\){7}", 1, 7), ("[({]{5}[^]]{6}", 1, 6), ("(a{5})*{2}", 2, 10), ("a{,b}{x}", 1, 1),
        ("a{" + "9" * 30, 1, 1), (r"x{2}(y|(z{3})){4}", 4, 12), ("(((", 1, 1), (")))", 1, 1), ("{4}", 1, 4),
    ],
)  # fmt: skip
def test_repetitions_are_counted(pattern: str, groups: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subbyte.runtime.grammar.bounds.MAX_GROUPS", 0)
    with pytest.raises(ValueError, match=f"repeats a group {groups} times and what is in it {most} times in all"):
        check_repetitions("pattern", pattern)


def test_large_counts_that_are_harmless_pass() -> None:
    check_repetitions("pattern", f".{{0,{MAX_REPEATED}}}(ab){{{MAX_GROUPS}}}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constraint.json_schema("{"), "schema is no JSON"),
        (lambda: Constraint.json_schema("3"), "schema is 3, but must be"),
        (lambda: Constraint.json_schema({"enum": [{1}]}), "schema is no JSON: a set in it"),
        (lambda: Constraint.json_schema({"const": float("nan")}), "schema is no JSON"),
        (lambda: Constraint.json_schema({"a": b"x"}), "schema is no JSON: a bytes in it"),
        (lambda: Constraint.json_schema(3), "schema is 3, but must be a dataclass"),
        (lambda: Constraint.json_schema({"enum": ["x" * MAX_SOURCE]}), "bytes, but at most"),
        (lambda: Constraint.regex("("), "the regular expression can't be used"),
        (lambda: Constraint.regex(b"a"), "pattern is b'a', but must be a text"),
        (lambda: Constraint.regex("\x1b[\n"), "the regular expression can't be used"),
        (lambda: Constraint.choice([]), "texts is empty"),
        (lambda: Constraint.choice("yes"), "texts is 'yes', but must be a list of non-empty strings"),
        (lambda: Constraint.choice(["yes", ""]), "but must be a list of non-empty strings"),
        (lambda: Constraint.lark("start: nobody"), "the Lark grammar can't be used"),
        (lambda: Constraint.gbnf("root = a"), "the GBNF grammar can't be used"),
        (lambda: Constraint.lark("start: <|nothing|>").matcher(TOKENIZER), "the Lark grammar can't be used"),
        (lambda: Constraint.regex("[^\\s\\S]").matcher(TOKENIZER), "the regular expression can't be used"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_without_the_library_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(sb.ResourceError, match=r"pip install 'subbyte\[json\]'"):
        Constraint.regex("a")


def test_constraints_are_values() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    same = Constraint.json_schema(json.dumps(schema))
    assert {Constraint.json_schema(schema): 1}[same] == 1
    assert Constraint.choice(["a", "b", "a"]) == Constraint.choice(["a", "b"]) != Constraint.regex("a|b")
    assert json.loads(same.source) == schema and list(json.loads(same.source)["properties"]) == ["b", "a"]
    assert repr(Constraint.regex("a" * 500)).startswith("Constraint(regular expression: 'aaa")
    assert len(repr(Constraint.regex("a" * 500))) < 120

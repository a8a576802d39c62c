"""Two hundred JSON schemas: whatever a model of random weights writes under one of them is valid."""

import json
from collections.abc import Iterator

import pytest
from fake_engine import FakeTokenizer
from jsonschema import Draft7Validator, Draft202012Validator
from schemas import IMPOSSIBLE, KINDS, SCHEMAS, UNSUPPORTED
from tiny_models import write_model

import subbyte as sb

CLOSERS = b'"]},:0'
SAMPLING = {"temperature": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
TOKENIZER = FakeTokenizer()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("schemas") / "tiny.gguf"
    write_model(path)
    with sb.load(path, threads=1) as model:
        yield model


def test_there_are_two_hundred_all_unlike() -> None:
    assert len(SCHEMAS) == 200 == len({json.dumps(schema) for schema in SCHEMAS.values()})


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_writes_at_random_is_valid(model: sb.Model, kind: str) -> None:
    """At high temperature; what closes strings, lists and objects is made likelier, so that they end."""
    likely = {token: 4.0 for byte in CLOSERS for token in model.tokenize(bytes([byte]))}
    for seed, (name, schema) in enumerate([*KINDS[kind].items()] * 2):
        sampling = sb.Sampling(**SAMPLING, logit_bias=likely, seed=seed)
        constraint = sb.Constraint.json_schema(schema)
        reply = model.generate("the", n_ctx=2000, constraint=constraint, sampling=sampling).run()
        assert reply.stop_reason == "eog", (name, reply.text)
        draft = Draft7Validator if "draft-07" in schema.get("$schema", "") else Draft202012Validator
        draft.check_schema(schema)
        errors = draft(schema, format_checker=draft.FORMAT_CHECKER).iter_errors(json.loads(reply.text))
        assert [error.message for error in errors] == [], (name, reply.text)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_can_not_be_kept_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^the (JSON schema can't be used: .|schema has multipleOf)") as refused:
        sb.Constraint.json_schema(UNSUPPORTED[name])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_nothing_fits_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^the JSON schema can't be used: .") as refused:
        sb.Constraint.json_schema(IMPOSSIBLE[name])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"minimum": 3}, ["3", '"2"', "[2]", "null"], ["2"]),
        ({"maxLength": 2}, ['"ab"', "123", '["abc"]'], ['"abc"']),
        ({"required": ["a"]}, ["1", '{"a":1}', '{"a":2,"b":1}'], ['{"b":1}', '{"b":1,"a":2}']),
        ({"format": "date"}, ['"2026-01-31"', "1"], ['"2026"']),
        ({"items": {"type": "integer"}}, ["[1]", '{"a":[""]}'], ['[""]']),
        (
            {"type": "object"},
            ["{}", '{ "a" : 1 }', '{\n  "a": [\n    1\n  ]\n}', '{\r\n\t"a":1}'],
            ['{  "a":1}', " {}"],
        ),
    ],
)
def test_keywords_count_for_the_types_that_they_are_about(schema: object, right: list[str], wrong: list[str]) -> None:
    """And white space may be as models write it."""
    constraint = sb.Constraint.json_schema(json.dumps(schema))
    assert [text for text in right if not accepts(constraint, text)] == []
    assert [text for text in wrong if accepts(constraint, text)] == []


def accepts(constraint: sb.Constraint, text: str) -> bool:
    matcher = constraint.matcher(TOKENIZER)
    try:
        matcher.consume_text(text.encode())
    except sb.ConstraintError:
        return False
    return matcher.may_end

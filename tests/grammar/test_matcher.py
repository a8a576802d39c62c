"""Masks, forced tokens and ends of a grammar, against trying each token."""

import re
import weakref
from collections.abc import Callable

import pytest
from fake_engine import FakeTokenizer

from subbyte.errors import ConstraintError
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.grammar.matcher import Matcher
from subbyte.runtime.grammar.trie import token_trie

TOKENIZER = FakeTokenizer()
COLOURS = ["hello", "hell", "red", "rëd", 'a "quoted"\n\\text', "\x01", "hello world"]


def at(constraint: Constraint, text: str) -> Matcher:
    matcher = constraint.matcher(TOKENIZER)
    for token in TOKENIZER.encode(text):
        matcher.consume(token)
    return matcher


def allowed(matcher: Matcher) -> set[int]:
    words = matcher.mask()
    assert len(words) == -(-TOKENIZER.n_vocab // 32)
    return {id for id in range(32 * len(words)) if words[id // 32] >> id % 32 & 1}


def check(matcher: Matcher, text: bytes, fits: Callable[[bytes], bool], ends: Callable[[bytes], bool]) -> None:
    """The mask has the tokens behind which some answer is still possible, found by trying each, and the ends.

    Where the next text is certain, it has the token alone that the tokenizer would cut of it.
    """
    pieces = {id: TOKENIZER.piece(id) for id in range(TOKENIZER.n_vocab)}
    expected = {id for id, piece in pieces.items() if piece and fits(text + piece)}
    expected |= set(TOKENIZER.eog) if ends(text) else set()
    if forced := matcher.forced():
        assert allowed(matcher) == {forced[0]} <= expected
        return
    assert allowed(matcher) == expected


@pytest.mark.parametrize("text", ["", "h", "he", "hell", "hello", "hello ", "r", "r\u00eb", 'a "', "\x01"])
def test_a_choice_allows_what_leads_to_one_of_its_texts(text: str) -> None:
    choices = [each.encode() for each in COLOURS]
    matcher = at(Constraint.choice(COLOURS), text)
    check(matcher, text.encode(), lambda now: any(map(bytes.startswith, choices, [now] * 9)), choices.__contains__)


@pytest.mark.parametrize("text", ["", "1", "12", "12-", "12-he", "12-hello", "12-hellohello"])
def test_an_expression_allows_what_may_still_match(text: str) -> None:
    begins = re.compile(rb"[0-9]{1,3}|[0-9]{1,3}-(hello){0,2}(h|he|hel|hell)?")
    whole = re.compile(rb"[0-9]{1,3}-(hello){1,2}")

    def fits(now: bytes) -> bool:
        return now.count(b"hello") < 3 and bool(begins.fullmatch(now)) and not re.search(rb"(hello){2}h", now)

    matcher = at(Constraint.regex("[0-9]{1,3}-(hello){1,2}"), text)
    check(matcher, text.encode(), fits, lambda now: bool(whole.fullmatch(now)))


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint.lark('start: "(" start ")" | "x"'),
        Constraint.gbnf('root ::= "(" root ")" | "x"'),
    ],
    ids=["lark", "gbnf"],
)
def test_a_grammar_counts_its_parentheses(constraint: Constraint) -> None:
    assert allowed(at(constraint, "((")) == {ord("("), ord("x")}
    inner = at(constraint, "((x")
    assert (allowed(inner), inner.is_complete) == ({ord(")")}, False)
    whole = at(constraint, "((x))")
    assert (allowed(whole), whole.is_complete, whole.may_end) == (set(TOKENIZER.eog), True, True)


def test_forced_tokens_are_what_each_mask_allows_alone() -> None:
    schema = {"properties": {"hello": {"const": "world"}}, "required": ["hello"], "additionalProperties": False}
    matcher = Constraint.json_schema({"type": "object", **schema}).matcher(TOKENIZER)
    text, forced = b"", []
    while not matcher.is_complete:
        if ahead := matcher.forced():
            assert allowed(matcher) >= {ahead[0]}
            token = ahead[0]
            forced.append(token)
        else:
            token = min(allowed(matcher), key=lambda id: -len(TOKENIZER.piece(id)))
        text += TOKENIZER.piece(token)
        matcher.consume(token)
    assert re.sub(rb"\s", b"", text) == b'{"hello":"world"}'
    assert TOKENIZER.ids["hello"] in forced  # as the tokenizer cuts it


def test_text_can_be_taken_without_its_tokens() -> None:
    matcher = Constraint.choice(["rëd hello", "blue"]).matcher(TOKENIZER)
    matcher.consume_text("rë".encode()[:2])
    matcher.consume_text("rë".encode()[2:] + b"d hel")
    assert allowed(matcher) == {TOKENIZER.ids["lo"]}


def test_a_token_that_is_not_allowed_is_an_error_and_stays_one() -> None:
    matcher = Constraint.choice(["red"]).matcher(TOKENIZER)
    for _ in range(2):
        with pytest.raises(ConstraintError, match="the choice can't be followed any further"):
            matcher.consume(ord("b"))


def test_control_tokens_are_named_by_a_grammar_and_never_spelt() -> None:
    end = TOKENIZER.ids["<|message|>"]
    assert allowed(at(Constraint.lark('start: "a" <|message|>'), "a")) == {end}
    assert allowed(at(Constraint.choice(["<|message|>"]), "")) == {ord("<")}


def test_a_vocabulary_without_an_end_is_refused() -> None:
    tokenizer = FakeTokenizer()
    tokenizer.eog = frozenset()
    with pytest.raises(ValueError, match="no end-of-generation token"):
        Constraint.choice(["a"]).matcher(tokenizer)


def test_a_trie_is_kept_with_its_tokenizer_and_goes_with_it() -> None:
    tokenizer = FakeTokenizer()
    gone = weakref.ref(tokenizer)
    assert token_trie(tokenizer) is token_trie(tokenizer)
    matcher = Constraint.choice(["a"]).matcher(tokenizer)
    del tokenizer
    assert (matcher.forced(), gone() is None) == ([ord("a")], False)
    del matcher
    assert gone() is None

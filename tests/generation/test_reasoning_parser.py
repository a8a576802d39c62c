"""Reasoning told from the answer: the same whatever the pieces are that the text comes in."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS, ReasoningParser, Tags

THINK = Tags("<think>", "</think>")
RESPONSE = ("<response>", "</response>")
TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<think", "</", "<", ">", "think>", "\n", " ", "a", "é"]), max_size=12
).map("".join)


def whole(text: str, opened: str | None) -> tuple[str, str]:
    """Reasoning and answer of a text that is all there."""
    begin = re.match(r"\s*<think>", text)
    if begin is None and opened is None:
        return "", text
    reasoning, _, answer = text[begin.end() if begin else 0 :].partition("</think>")
    return reasoning.lstrip("\n"), answer.lstrip("\n")


def in_pieces(text: str, sizes: list[int], tags: Tags = THINK, opened: str | None = None) -> list[tuple[str, str]]:
    parser, at, out = ReasoningParser(tags, opened), 0, []
    for size in sizes * (len(text) + 1):
        if at >= len(text):
            break
        out.append(parser.feed(text[at : at + size]))
        at += size
    return [*out, parser.finish()]


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1, max_size=9), st.sampled_from([None, "", "\n"]))
def test_pieces_equal_the_whole(text: str, sizes: list[int], opened: str | None) -> None:
    pieces = in_pieces(text, sizes, opened=opened)
    assert ("".join(r for r, _ in pieces), "".join(a for _, a in pieces)) == whole(text, opened)
    first_answer = next((i for i, (_, answer) in enumerate(pieces) if answer), len(pieces))
    assert not any(reasoning for reasoning, _ in pieces[first_answer + 1 :])


ANSWERS = st.sampled_from(["<response>", "</response>", "<resp", "</", "\n", " ", "a", "é"])


@given(st.lists(ANSWERS, max_size=9).map("".join), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_tags_around_an_answer_are_left_out(answer: str, sizes: list[int]) -> None:
    pieces = in_pieces(f"<think>so</think>\n\n{answer}", sizes, Tags("<think>", "</think>", RESPONSE))
    expected = answer.lstrip("\n")
    if expected.startswith("<response>"):
        inside, closed, behind = expected.removeprefix("<response>").lstrip("\n").partition("</response>")
        expected = (inside.removesuffix("\n") if closed else inside) + behind
    assert ("".join(r for r, _ in pieces), "".join(a for _, a in pieces)) == ("so", expected)


def test_an_answer_without_reasoning_keeps_its_tags() -> None:
    pieces = in_pieces("<response>a</response>", [3], Tags("<think>", "</think>", RESPONSE))
    assert "".join(answer for _, answer in pieces) == "<response>a</response>"


@pytest.mark.parametrize("tags", KNOWN_TAGS)
def test_a_reply_of_each_kind(tags: Tags) -> None:
    reply = f"{tags.open}\n  one\n\ntwo\n{tags.close}\n\n  the answer {tags.open} \n"
    assert in_pieces(reply, [1000], tags)[0] == ("  one\n\ntwo\n", f"  the answer {tags.open} \n")


def test_a_tag_that_is_a_control_token_and_a_word() -> None:
    gemma = next(tags for tags in KNOWN_TAGS if tags.tokens)
    parser = gemma.parser()
    found = [parser.control("<|channel>"), *map(parser.feed, ("thou", "ght\n", "so\n")), parser.control("<channel|>")]
    assert [*found, parser.feed("Four")] == [("", "")] * 3 + [("so\n", ""), ("", ""), ("", "Four")]
    assert gemma.controls == ("<|channel>", "<channel|>") and gemma.head == "<|channel>thought\n"
    for written, closing in (
        (gemma.open, "\n<channel|>"),
        (gemma.head, "<channel|>"),
        (gemma.head + "so", "\n<channel|>"),
    ):
        parser = gemma.parser()
        parser.feed(written)
        assert parser.closing() == closing


def test_nothing_is_held_back_that_can_not_be_a_tag() -> None:
    parser = ReasoningParser(THINK)
    assert parser.feed("\n<thi") == ("", "")
    assert parser.feed("s") == ("", "\n<this") and parser.answering
    parser = ReasoningParser(THINK, "\n")
    assert parser.thinking and parser.feed("a </thin") == ("a ", "")
    assert parser.feed("g") == ("</thing", "") and parser.thinking


@pytest.mark.parametrize(
    ("opened", "written", "closing"),
    [
        (None, "<think>", "\n\n</think>\n\n"),  # as Qwen3's template writes reasoning that is left out
        (None, "<think>\n", "\n</think>\n\n"),
        (None, "<think>\n\n\n", "</think>\n\n"),
        ("\n", "", "\n</think>\n\n"),
        ("", "", "\n\n</think>\n\n"),
        ("\n", "so", "\n</think>\n\n"),
        ("\n", "so\n", "</think>\n\n"),
    ],
)
def test_reasoning_is_closed_as_models_close_it(opened: str | None, written: str, closing: str) -> None:
    parser = ReasoningParser(THINK, opened)
    parser.feed(written)
    assert parser.closing() == closing
    parser.feed(closing)
    assert parser.answering


@pytest.mark.thorough
@pytest.mark.parametrize("character", [" ", "\n", "<", "a"])
def test_the_work_is_linear(character: str) -> None:
    started = time.process_time()
    for opened in (None, "\n"):
        assert in_pieces(character * 300_000, [1], opened=opened)
    assert time.process_time() - started < 20  # growing with the square: minutes

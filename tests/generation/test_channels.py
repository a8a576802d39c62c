"""Replies in channels, as gpt-oss writes them: reasoning, answer and calls, the same whatever the pieces are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subbyte.runtime.generation.channels import HARMONY, SOLAR, ChannelParser, Channels

ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
NEXT = "<|end|><|start|>assistant"


def parse(
    reply: str, sizes: list[int] | None = None, opened: str | None = None, channels: Channels = HARMONY
) -> tuple[str, str]:
    """Reasoning and answer of a reply whose text comes in pieces of these sizes."""
    parser, found, turn = channels.parser(opened), [("", "")], 0
    for part in re.split("(" + "|".join(map(re.escape, channels.controls)) + ")", reply):
        if part in channels.controls:
            found.append(parser.control(part))
            continue
        while part:
            size = sizes[turn % len(sizes)] if sizes else len(part)
            found.append(parser.feed(part[:size]))
            part, turn = part[size:], turn + 1
    found.append(parser.finish())
    reasoning, answer = zip(*found, strict=True)
    return "".join(reasoning), "".join(answer)


@pytest.mark.parametrize(
    ("reply", "reasoning", "answer"),
    [
        (f"{ANALYSIS}2 and 2.{NEXT}{FINAL}Four.", "2 and 2.", "Four."),
        (f"{FINAL}Four.", "", "Four."),
        (f"{FINAL}Four.<|end|>", "", "Four."),
        (f"{ANALYSIS}cut", "cut", ""),
        (f"{ANALYSIS}a{NEXT}<|channel|>fin", "a", ""),
        (f"{ANALYSIS}a{NEXT}{ANALYSIS}b{NEXT}{FINAL}c", "a\n\nb", "c"),
        (f"{ANALYSIS}a{NEXT}<|channel|>commentary<|message|>I look.{NEXT}{FINAL}c", "a", "I look.\n\nc"),
        (
            f"{ANALYSIS}a{NEXT}<|channel|>commentary to=functions.f <|constrain|>json<|message|>" + '{"x": 1}', "a",
            'to=functions.f {"x": 1}',
        ),
        (" to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}", "", "to=functions.f {}"),
        (f"{ANALYSIS}a{NEXT} to=functions.f<|channel|>analysis<|message|>{{}}", "a", "to=functions.f {}"),
        ("No header", "", "No header"),
        (" to", "", " to"),
        (" tomorrow", "", " tomorrow"),
        ("", "", ""),
        (f"{FINAL}\n to be analysis final ", "", "\n to be analysis final "),
    ],
)  # fmt: skip
def test_replies(reply: str, reasoning: str, answer: str) -> None:
    for sizes in (None, [1], [2, 3]):
        assert parse(reply, sizes) == (reasoning, answer)


def test_a_reply_that_begins_inside_its_reasoning() -> None:
    assert parse(f"so{NEXT}{FINAL}c", opened="") == ("so", "c")


def test_solar_names_the_same_otherwise() -> None:
    reply = "<|think|>a<|end|><|begin|>assistant<|content|>b"
    assert parse(reply, channels=SOLAR) == ("a", "b")
    assert SOLAR.within("<|begin|>assistant<|think|>") == ""
    assert SOLAR.within("<|begin|>assistant<|think|><|end|><|begin|>assistant") is None


PARTS = [ANALYSIS, FINAL, NEXT, "<|end|>", "<|message|>", "<|channel|>", " to=f", "analysis", "a", "\n", "é "]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_pieces_equal_the_whole(reply: str, sizes: list[int]) -> None:
    assert parse(reply, sizes) == parse(reply)


def test_what_it_is_made_to_write_ends_the_reasoning() -> None:
    parser = ChannelParser(HARMONY)
    assert not parser.thinking and not parser.answering
    parse_into(parser, ANALYSIS + "so")
    assert parser.thinking
    parse_into(parser, parser.closing())
    assert parser.answering and parser.feed("x") == ("", "x")


def parse_into(parser: ChannelParser, text: str) -> None:
    for part in re.split(r"(<\|\w+\|>)", text):
        parser.control(part) if part.startswith("<|") else parser.feed(part)

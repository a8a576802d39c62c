"""Constrained answers: where the constraint begins, what it forces, and what can't be kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeSession, FakeTokenizer

from subbyte.errors import ConstraintError
from subbyte.runtime.generation.channels import HARMONY
from subbyte.runtime.generation.events import Reply
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint

THINK = KNOWN_TAGS[0]
YES_NO = Constraint.choice(["yes", "no"])
CITY = Constraint.json_schema(
    {
        "type": "object",
        "properties": {"hello": {"const": "world"}, "n": {"type": "integer"}},
        "required": ["hello", "n"],
        "additionalProperties": False,
    }
)


class Wish(FakeSession):
    """A model that wants to write the tokens of its script, each at its place, whatever came before."""

    def __init__(self, n_vocab: int, prompt: Sequence[int], script: Sequence[int]) -> None:
        super().__init__(n_vocab)
        self.wish = [*prompt, *script]

    def eval(self, tokens: Sequence[int], logits: str = "last", on_progress: object = None) -> np.ndarray | None:
        self.script = self.wish[len(self.tokens) + len(tokens) :][:1]
        return super().eval(tokens, logits)


class Run:
    """An answer to `prompt` by a model that wants to write `script`."""

    def __init__(
        self, constraint: Constraint, script: str, prompt: str = "hello", begun: Begun = Begun(),  # noqa: B008
        tokenizer: FakeTokenizer | None = None, sampling: dict[str, Any] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.tokenizer = tokenizer or FakeTokenizer()
        before, tokens = (self.tokenizer.encode(text, special=True) for text in (prompt, script))
        self.session = Wish(self.tokenizer.n_vocab, [*before, *begun.tokens], tokens)
        self.reply: Reply = Generation(
            self.session,  # type: ignore[arg-type]
            self.tokenizer,
            before,
            GenerationOptions(Sampling(temperature=0.0, **(sampling or {})), constraint=constraint, **options),
            begun=begun,
        ).run()

    @property
    def written(self) -> str:
        return self.tokenizer.decode(self.reply.tokens, special=True)


def test_a_model_can_write_nothing_but_what_is_allowed_and_then_ends() -> None:
    run = Run(YES_NO, "no idea")
    assert (run.reply.text, run.reply.stop_reason) == ("no", "eog")


def test_forced_tokens_are_computed_in_one_piece_and_change_nothing() -> None:
    run = Run(CITY, '{"hello":"world","n":42}<|im_end|>')
    assert (run.reply.text, run.reply.stop_reason) == ('{"hello":"world","n":42}', "eog")
    assert max(map(len, run.session.computed[1:])) > 3
    singly = [token for computed in run.session.computed[1:] for token in computed]
    assert singly == [*run.reply.tokens[: len(singly)]]


def test_an_answer_that_may_go_on_ends_by_itself_or_goes_on() -> None:
    number = Constraint.regex("[0-9]+")
    assert Run(number, "12<|im_end|>").reply.text == "12"
    cut = Run(number, "123456", max_tokens=3).reply
    assert (cut.text, cut.stop_reason) == ("123", "length")


@pytest.mark.parametrize(
    ("prompt", "script", "thinking"),
    [
        ("hello", "yes", ""),
        ("hello", "<think>maybe no</think>\n\nyes", "maybe no"),
        ("hello", "<think>maybe no</think>+yes", "maybe no"),
        ("hello", "<think> </think>\n\nyes", " "),
        ("hello <think>", "I <|im_end|> guess</think>\n\nyes", None),
        ("hello <think>\n", "why</think>\n\nyes", "why"),
        ("hello <think>\n\n</think>\n\n", "yes", ""),
    ],
    ids=["none", "own tag", "no newlines", "empty", "end inside", "opened by the prompt", "closed by the prompt"],
)
def test_reasoning_is_free_and_the_answer_is_not(prompt: str, script: str, thinking: str | None) -> None:
    run = Run(YES_NO, script + " or not", prompt, tags=THINK)
    assert (run.reply.text, run.reply.stop_reason) == ("yes", "eog")
    if thinking is not None:
        assert run.reply.thinking == thinking
    if run.reply.thinking:
        assert "</think>\n\nyes" in run.written  # as models write it, though the script may not


def test_a_budget_of_reasoning_ends_it_and_the_constraint_begins() -> None:
    run = Run(YES_NO, "<think>on and on and on", tags=THINK, reasoning_budget=4)
    assert run.written.startswith("<think>on a\n</think>\n\n")
    assert (run.reply.text, run.reply.stop_reason) == ("no", "eog")


ANALYSIS, FINAL = HARMONY.open, "<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("script", "written"),
    [
        (f"{ANALYSIS}hm{HARMONY.close}yes or no", f"{ANALYSIS}hm{HARMONY.close}yes"),
        (f"{ANALYSIS}hm<|return|>hm{HARMONY.close}yes", f"{ANALYSIS}hm\0hm{HARMONY.close}yes"),
        (f"{ANALYSIS}hm<|end|><|start|>assistant{ANALYSIS}hm", f"{ANALYSIS}hm{HARMONY.close}no"),
        (f"{FINAL}yes or no", f"{FINAL}yes"),
        ("<|channel|>final <|constrain|>json<|message|>{", f"{FINAL}no"),
    ],
    ids=["reasoning", "end inside", "reasoning twice", "none", "other header"],
)
def test_a_model_with_channels_answers_in_the_final_one(script: str, written: str) -> None:
    tokenizer = FakeTokenizer(eog=("<|return|>", "<|call|>"))
    run = Run(YES_NO, script, tokenizer=tokenizer, tags=HARMONY)
    assert run.written == written
    assert run.reply.stop_reason == "eog"


def test_reasoning_that_the_prompt_has_opened_in_a_channel() -> None:
    tokenizer = FakeTokenizer(eog=("<|return|>", "<|call|>"))
    run = Run(YES_NO, f"hm{HARMONY.close}yes", f"hello{ANALYSIS}", tokenizer=tokenizer, tags=HARMONY)
    assert (run.reply.thinking, run.reply.text) == ("hm", "yes")


def test_text_that_the_answer_begins_with_counts() -> None:
    tokenizer = FakeTokenizer()
    begun = Begun(tokenizer.encode('{"hello"'), '{"hello"')
    assert Run(CITY, ': "world", "n": 7}', begun=begun).reply.text == '{"hello": "world", "n": 7}'
    with pytest.raises(ValueError, match="the beginning of the answer does not fit"):
        Run(CITY, "", begun=Begun(tokenizer.encode('{"hi"'), '{"hi"'))


def test_an_answer_goes_on_in_the_middle_of_a_character() -> None:
    choice = Constraint.choice(["€1", "€2"])
    half: Sequence[int] = [*"€".encode()][:2]
    for tags in (None, THINK):
        assert Run(choice, "\xac2", begun=Begun(half, ""), tags=tags).reply.text == "€1"


def test_white_space_in_front_of_answers_is_not_part_of_them() -> None:
    for tags in (None, THINK):
        run = Run(YES_NO, " yes", lead=" ", tags=tags)
        assert (run.written, run.reply.text) == (" yes", "yes")


def test_what_is_certain_is_written_as_far_as_there_is_room() -> None:
    run = Run(Constraint.choice(["abcd"]), "", max_tokens=3)
    assert (run.reply.text, run.reply.stop_reason) == ("abc", "length")


def test_stop_strings_end_a_constrained_answer_too() -> None:
    run = Run(Constraint.regex("[a-z, ]+"), "red, blue, green", stop=["e, g"])
    assert (run.reply.text, run.reply.stop_reason) == ("red, blu", "stop")


def test_what_is_banned_and_all_that_is_allowed_is_an_error() -> None:
    bans = {ord("n"): float("-inf"), ord("y"): float("-inf")}
    with pytest.raises(ConstraintError, match="ban all that may come next"):
        Run(YES_NO, "no", sampling={"logit_bias": bans})
    assert Run(YES_NO, "no", sampling={"logit_bias": {ord("n"): float("-inf")}}).reply.text == "yes"
    with pytest.raises(ConstraintError, match="ban all that may come next"):  # a forced token
        Run(Constraint.choice(["no"]), "no", sampling={"logit_bias": {ord("n"): float("-inf")}})
    with pytest.raises(ValueError, match="all end-of-generation tokens are banned"):
        Run(YES_NO, "no", sampling={"ignore_eos": True})


def test_no_other_kind_of_constraint_is_taken() -> None:
    with pytest.raises(TypeError, match=r"constraint is 'yes\|no', but must be a Constraint"):
        GenerationOptions(constraint="yes|no")  # type: ignore[arg-type]

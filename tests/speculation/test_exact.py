"""Answers with drafts are those without, whatever is drafted: tokens, text, log-probabilities, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import Choose, Drafts, mixed, right, wrong
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.runtime.generation.events import Event, PrefillProgress
from subbyte.runtime.generation.generation import Generation, Host, complete
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.session.session import Session

N_CTX = 96
GREEDY = sb.Sampling(temperature=0)
SAMPLED = sb.Sampling(temperature=1.0, seed=11, repeat_penalty=1.1, xtc_probability=0.3, logit_bias={267: 3.0})
# Attention, a sliding window, shared keys, experts, latent attention.
ARCHITECTURES = ("llama", "gemma3", "gemma4", "qwen3moe", "deepseek2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=N_CTX)
    with sb.load(path, threads=1) as model:
        yield model


def prompt(i: int, n: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(i).integers(0, N_VOCAB - 2, n)]


class Answer:
    """An answer that has been made, with all its events but those of the prompt."""

    def __init__(
        self, model: sb.Model, tokens: Sequence[int], options: GenerationOptions, choose: Choose | None = None,
        session: Session | Host | None = None,
    ) -> None:  # fmt: skip
        self._session = session or model.session(N_CTX)
        self.drafts = None if choose is None else Drafts(choose)
        self.generation: Generation = complete(
            self._session, model.tokenizer, tokens, options, speculation=self.drafts
        )  # fmt: skip
        self.events: list[Event] = []

    def run(self) -> Answer:
        self.events = [event for event in self.generation if not isinstance(event, PrefillProgress)][:-1]
        return self

    @property
    def reply(self) -> sb.Reply:
        return self.generation.reply

    @property
    def shown(self) -> tuple[object, ...]:
        """All that speculation must not change."""
        reply = self.reply
        usage = replace(reply.usage, drafted=0, accepted=0)
        return self.events, reply.tokens, reply.text, reply.thinking, reply.stop_reason, reply.logprobs, usage


def chosen(tokens: Sequence[int]) -> tuple[Choose, ...]:
    return right(tokens), wrong(tokens, N_VOCAB), mixed(tokens, N_VOCAB, 1), mixed(tokens, N_VOCAB, 2)


def check(model: sb.Model, tokens: Sequence[int], options: GenerationOptions) -> Answer:
    """The answer without drafts, once all others are found to be the same."""
    expected = Answer(model, tokens, options).run()
    whole = [*tokens, *expected.reply.tokens]
    for choose in chosen(whole):
        answer = Answer(model, tokens, options, choose, session := model.session(N_CTX)).run()
        assert answer.shown == expected.shown
        assert session.tokens == whole[: session.n_past] and session.n_past >= len(tokens)
        assert answer.drafts is not None and answer.drafts.came_so_far[: len(whole)] == [*expected.reply.tokens] + (
            [answer.drafts.came_so_far[-1]] if expected.reply.stop_reason == "eog" else []
        )
    return expected


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_an_answer_is_the_same(arch: str, sampling: sb.Sampling, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, context_length=N_CTX)
    options = GenerationOptions(sampling, max_tokens=24, logprobs=2)
    with sb.load(tmp_path / "m.gguf", threads=2) as model:
        expected = check(model, tokens := prompt(1, 20), options)
        answer = Answer(model, tokens, options, right([*tokens, *expected.reply.tokens])).run()
        usage, n = answer.reply.usage, len(expected.reply.tokens)
        assert usage.accepted > 0.8 * n - 3 and usage.drafted == usage.accepted


def test_all_ends_of_an_answer(model: sb.Model) -> None:
    tokens = prompt(2, 12)
    text = check(model, tokens, GenerationOptions(GREEDY, max_tokens=30)).reply.text
    assert check(model, tokens, GenerationOptions(GREEDY)).reply.stop_reason == "length"  # the context's
    for stop in (text[4:6], text[10:13], text[11:12]):
        assert check(model, tokens, GenerationOptions(GREEDY, stop=[stop])).reply.stop_reason == "stop"
    ended = {check(model, tokens, GenerationOptions(replace(SAMPLED, seed=i))).reply.stop_reason for i in range(5)}
    assert "eog" in ended
    for n in range(4):
        assert len(check(model, tokens, GenerationOptions(GREEDY, max_tokens=n)).reply.tokens) <= n


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=6), max_size=12), st.integers(0, 2**16))
def test_any_drafts(model: sb.Model, drafts: list[list[int]], seed: int) -> None:
    """Of each list its first half is replaced by what will come."""
    options = GenerationOptions(replace(SAMPLED, seed=seed, temperature=0.7), max_tokens=20)
    expected = Answer(model, tokens := prompt(3, 5), options).run()
    whole, given_ = [*tokens, *expected.reply.tokens], iter(drafts)

    def choose(context: list[int], room: int) -> list[int]:
        some = next(given_, [])
        half = len(some) // 2
        return [*whole[len(context) : len(context) + half], *some[half:]]

    assert Answer(model, tokens, options, choose).run().shown == expected.shown


def test_tokens_that_are_forced_come_between_drafts(model: sb.Model) -> None:
    tags = Tags("<think>", "</think>")
    for budget in range(4):
        options = GenerationOptions(SAMPLED, max_tokens=40, tags=tags, opened="", reasoning_budget=budget, logprobs=0)
        assert check(model, prompt(4, 8), options).reply.usage.thinking > budget


def test_constraints(model: sb.Model) -> None:
    schema: dict[str, Any] = {
        "type": "object", "properties": {"the": {"enum": ["in", "an"]}, "n": {"type": "integer", "maximum": 99999}},
        "required": ["the", "n"], "additionalProperties": False,
    }  # fmt: skip
    sampling = replace(SAMPLED, logit_bias={})
    for i in range(3):
        options = GenerationOptions(replace(sampling, seed=i), 60, constraint=sb.Constraint.json_schema(schema))
        assert check(model, prompt(i, 8), options).reply.text.startswith("{")


def test_processors_of_the_caller_see_the_same_tokens(model: sb.Model) -> None:
    calls: list[tuple[int, ...]] = []

    def watch(logits: NDArray[np.float32], tokens: Sequence[int]) -> None:
        logits[tokens[-1]] -= 0.5 * (len(calls) % 3)  # a state of its own
        calls.append(tuple(tokens))

    options = GenerationOptions(SAMPLED, max_tokens=20, processors=[watch])
    expected, seen = Answer(model, tokens := prompt(5, 6), options).run(), calls.copy()
    for choose in chosen([*tokens, *expected.reply.tokens]):
        calls.clear()
        assert Answer(model, tokens, options, choose).run().shown == expected.shown
        assert calls == seen


def test_an_exception_or_a_cancel_leaves_a_session_that_can_be_used(model: sb.Model) -> None:
    tokens = prompt(6, 6)
    expected = Answer(model, tokens, GenerationOptions(GREEDY, max_tokens=20)).run()
    whole = [*tokens, *expected.reply.tokens]

    def fail(logits: NDArray[np.float32], context: Sequence[int]) -> None:
        if len(context) == len(tokens) + 5:
            raise KeyError("of the caller's own")

    session = model.session(N_CTX)
    options = GenerationOptions(GREEDY, max_tokens=20, processors=[fail])
    with pytest.raises(KeyError):
        Answer(model, tokens, options, right(whole), session).run()
    assert session.tokens == whole[: len(tokens) + 5]
    answer = Answer(model, tokens, GenerationOptions(GREEDY, max_tokens=20), right(whole), session)
    for event in answer.generation:
        if isinstance(event, sb.TextDelta):
            answer.generation.cancel()
    assert answer.reply.stop_reason == "cancelled"
    assert answer.reply.tokens == tuple(whole[len(tokens) :][: len(answer.reply.tokens)])
    assert (
        Answer(model, tokens, GenerationOptions(GREEDY, max_tokens=20), None, session).run().shown[1:4]
        == (expected.shown[1:4])
    )


def test_answers_in_company(model: sb.Model) -> None:
    """In a scheduler, where some have drafts and some have none, and one is cancelled on its way."""
    prompts = [prompt(i, n) for i, n in enumerate((3, 60, 1, 30, 17, 12))]
    options = [
        GenerationOptions(replace(SAMPLED, seed=i, temperature=i % 2, logit_bias={267: 1.0}), 22, logprobs=1)
        for i in range(6)
    ]
    alone = [Answer(model, ids, each).run() for ids, each in zip(prompts, options, strict=True)]
    wholes = [[*ids, *answer.reply.tokens] for ids, answer in zip(prompts, alone, strict=True)]
    for turn in range(4):
        with model.scheduler(n_parallel=4, n_ctx=N_CTX) as scheduler:
            answers = [
                Answer(
                    model, ids, options[i], None if i == turn else chosen(wholes[i])[(i + turn) % 4], scheduler.host()
                )
                for i, ids in enumerate(prompts)
            ]
            answers[(turn + 1) % 6].generation.cancel()
            for i, (answer, expected) in enumerate(zip(answers, alone, strict=True)):
                if i == (turn + 1) % 6:
                    assert answer.run().reply.tokens == expected.reply.tokens[: len(answer.reply.tokens)]
                else:
                    assert (found := answer.run().shown)[:-1] == expected.shown[:-1], found


@pytest.mark.parametrize("draft", ["lookup", "model"])
def test_the_library_and_its_conversations(draft: str, model: sb.Model) -> None:
    """By the drafters and the measured times, so with any number of drafts."""
    drafter: Any = model if draft == "model" else draft
    text = "the an in the an in the an in"
    sampling = sb.Sampling(temperature=0, logit_bias={267: -math.inf})
    expected = model.generate(text, n_ctx=N_CTX, sampling=sampling, draft=None).run()
    reply = model.generate(text, n_ctx=N_CTX, sampling=sampling, draft=drafter).run()
    assert (reply.text, reply.tokens, reply.stop_reason) == (expected.text, expected.tokens, expected.stop_reason)
    assert reply.usage.drafted >= reply.usage.accepted
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        options = {"sampling": sampling, "draft": drafter, "scheduler": scheduler}
        together = [model.generate(text, **options) for _ in range(3)]
        assert {answer.run().tokens for answer in together} == {expected.tokens}
    replies = []
    for each in (None, drafter):
        with model.chat(n_ctx=N_CTX, max_tokens=8, sampling=replace(SAMPLED, logit_bias={}), draft=each) as chat:
            answers = [chat.send("in"), chat.send("an")]
            with chat.fork() as other:
                replies.append([a.tokens for a in (*answers, chat.regenerate().run(), other.send("the"))])
    assert replies[0] == replies[1]


def test_models_with_recurrent_states_do_without(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "qwen35", context_length=N_CTX)
    with sb.load(tmp_path / "m.gguf", threads=1) as model:
        reply = model.generate([5, 6] * 9, n_ctx=N_CTX, sampling=GREEDY, max_tokens=30).run()
        assert reply.usage.drafted == 0

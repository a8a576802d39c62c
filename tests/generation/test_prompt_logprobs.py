"""Log-probabilities of a prompt's tokens: those of `Model.score` to the bit, alone, in company, behind a cache."""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from model_logits import log_softmax
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.runtime.generation.decoder import Decoder
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.prefill import SCORED_CHUNK
from subbyte.runtime.session.runner import Runner, Segment

N_CTX = 400
GREEDY = sb.Sampling(temperature=0, ignore_eos=True)
ARCHITECTURES = ("llama", "gemma4", "qwen35", "lfm2")  # attention, windows and shared keys, recurrent states
TEXT = "the thing and another one in the garden, " * 12


def prompt(seed: int, n: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(0, N_VOCAB, n)]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, request.param, context_length=N_CTX)
    with sb.load(path, threads=2) as model:
        yield model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=N_CTX)
    with sb.load(path, threads=1) as model:
        yield model


def own(logprobs: Sequence[sb.TokenLogprob]) -> list[float | None]:
    return [each.logprob for each in logprobs]


def expected_of(model: sb.Model, tokens: list[int]) -> list[float | None]:
    """As `Model.score` computes them, of token ids."""
    with model.session(len(tokens)) as session:
        return [None, *session.logprobs(tokens[:-1], tokens[1:]).tolist()]


def test_they_are_those_of_score(model: sb.Model) -> None:
    scored = model.score(TEXT)
    expected = [None if math.isnan(each) else each for each in scored.logprobs.tolist()]
    assert len(expected) > 2 * SCORED_CHUNK
    with model.scheduler(n_ctx=N_CTX, activations="int8x2") as scheduler:
        for host in (None, scheduler):
            for k, n in ((0, 0), (1, 3), (5, 0), (5, 3)):
                answer = model.generate(
                    TEXT, max_tokens=n, sampling=GREEDY, prompt_logprobs=k, logprobs=2, activations="int8x2",
                    n_ctx=N_CTX, scheduler=host,
                )  # fmt: skip
                events = [event for event in answer if not isinstance(event, sb.PrefillProgress)]
                reply = answer.reply
                found = reply.prompt_logprobs
                assert own(found)[-len(expected) :] == expected
                assert [each.id for each in found] == answer.prompt
                assert events[: len(found)] == list(found) and len(reply.logprobs) == n
                assert (found[0].logprob, found[0].top) == (None, ())
                assert all(len(each.top) == k for each in found[1:])
                plain = model.generate(TEXT, max_tokens=n, sampling=GREEDY, activations="int8x2", n_ctx=N_CTX).run()
                assert reply.tokens == plain.tokens and reply.stop_reason == "length"


def test_the_most_probable_ones(llama: sb.Model) -> None:
    tokens = prompt(1, 40)
    reply = llama.generate(tokens, max_tokens=0, prompt_logprobs=3, n_ctx=N_CTX).run()
    with llama.session(N_CTX) as session:
        rows = log_softmax(session.eval(tokens, "all"))
    for row, each in zip(rows, reply.prompt_logprobs[1:], strict=False):
        assert [top.id for top in each.top] == np.argsort(-row, kind="stable")[:3].tolist()
        assert each.logprob == pytest.approx(row[each.id], abs=1e-5)
        assert each.piece == llama.tokenizer.piece(each.id, special=True)


def test_in_company_they_are_those_of_each_alone(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    step = Runner.step

    def watched(self: Runner, segments: list[Segment], targets: None = None) -> object:
        rows.append(sum(len(segment.rows) for segment in segments))
        return step(self, segments, targets)

    prompts = [prompt(i, n) for i, n in enumerate([1, 2, 90, 3, 200, 64, 65])]
    prompts += [prompts[2][:50], [*prompts[2], *prompts[3]], prompts[4]]
    expected = [expected_of(model, tokens) for tokens in prompts if len(tokens) > 1]
    monkeypatch.setattr(Runner, "step", watched)
    with model.scheduler(n_parallel=8, n_ctx=N_CTX) as scheduler:
        others = [model.generate(prompt(50 + i, 20), max_tokens=30, scheduler=scheduler) for i in range(3)]
        answers = [
            model.generate(tokens, max_tokens=i % 2 * 3, prompt_logprobs=i % 3, scheduler=scheduler)
            for i, tokens in enumerate(prompts)
        ]
        found = [own(answer.run().prompt_logprobs) for answer in answers]
        assert all(other.run().stop_reason for other in others)
    assert found[0] == [None] and found[1:] == expected
    assert max(rows) <= SCORED_CHUNK + 8 * 16  # of a long prompt only a part at a time


def test_what_comes_before_the_first_may_come_from_the_cache(model: sb.Model) -> None:
    """One request for each choice behind a long context: the context is read once."""
    context = prompt(3, 120)
    endings = [prompt(10 + i, n) for i, n in enumerate((9, 12, 15, 9))]
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        for i, ending in enumerate(endings):
            whole = [*context, *ending]
            first = len(context) if i else 0
            reply = model.generate(
                whole, max_tokens=0, prompt_logprobs=1, prompt_logprobs_from=first, scheduler=scheduler
            ).run()
            assert own(reply.prompt_logprobs) == expected_of(model, whole)[first:]
            assert reply.usage.prompt == len(whole)
            if not i:
                assert reply.usage.reused == 0
            elif i == 1 and model.plan.state_bytes:  # from the last checkpoint of the one before
                assert 0 < reply.usage.reused <= first - 1
            else:
                assert reply.usage.reused == first - 1
        again = model.generate(whole, max_tokens=0, prompt_logprobs=1, scheduler=scheduler).run()
        assert again.usage.reused == 0 and own(again.prompt_logprobs) == expected_of(model, whole)
        nothing = model.generate(
            whole, max_tokens=0, prompt_logprobs=1, prompt_logprobs_from=len(whole), scheduler=scheduler
        ).run()
        assert nothing.prompt_logprobs == () and nothing.stop_reason == "length"
        asked = {"prompt_logprobs": 0, "prompt_logprobs_from": 118, "sampling": GREEDY, "max_tokens": 3}
        behind = model.generate(context, scheduler=scheduler, **asked).run()  # type: ignore[arg-type]
        alone = model.generate(context, n_ctx=N_CTX, **asked).run()  # type: ignore[arg-type]
        assert behind.prompt_logprobs == alone.prompt_logprobs and behind.tokens == alone.tokens
        assert len(behind.prompt_logprobs) == 2 and behind.usage.reused > alone.usage.reused == 0


def test_a_pinned_prefix_serves_as_well(llama: sb.Model) -> None:
    tokens = prompt(4, 50)
    with llama.pin(tokens[:30]):
        asked = {"max_tokens": 0, "prompt_logprobs": 0, "n_ctx": N_CTX}
        reply = llama.generate(tokens, prompt_logprobs_from=40, **asked).run()  # type: ignore[arg-type]
        whole = llama.generate(tokens, **asked).run()  # type: ignore[arg-type]
    assert (reply.usage.reused, whole.usage.reused) == (30, 0)
    assert reply.prompt_logprobs == whole.prompt_logprobs[40:]


def test_answers_that_go_back_to_wait_tell_each_token_once(llama: sb.Model) -> None:
    one = llama.plan.cache_bytes(N_CTX, "f16")
    prompts = [prompt(i, 150) for i in range(6)]
    expected = [expected_of(llama, tokens) for tokens in prompts]
    with llama.scheduler(n_ctx=N_CTX, max_bytes=one * 3 // 2) as scheduler:
        asked = {"prompt_logprobs": 1, "sampling": GREEDY, "scheduler": scheduler, "draft": None}
        answers = [llama.generate(tokens, **asked) for tokens in prompts]  # type: ignore[arg-type]
        for answer, wanted, tokens in zip(answers, expected, prompts, strict=True):
            told = [event for event in answer if isinstance(event, sb.TokenLogprob)]
            assert own(told) == wanted and [each.id for each in told] == tokens
            assert answer.reply.prompt_logprobs == tuple(told)
            assert len(answer.tokens) == N_CTX - 150 + 1


def test_a_decoder_that_begins_anew_goes_on_with_the_next_token(llama: sb.Model) -> None:
    tokens = prompt(5, 100)
    options = GenerationOptions(GREEDY, max_tokens=0, prompt_logprobs=0)
    decoder = Decoder(llama.tokenizer, tokens, N_CTX, options)
    assert decoder.n_reusable == 0 and len(decoder.begin(0)) == 2
    with llama.session(N_CTX) as session:
        logits = session.eval(tokens, "all")
    assert (wanted := decoder.wants()) is not None and wanted.n_logits == len(wanted.tokens) <= SCORED_CHUNK
    decoder.evaluated_part(logits[:20])
    assert (wanted := decoder.wants()) is not None and wanted.n_logits == len(wanted.tokens) - 20
    assert decoder.n_reusable == 20
    assert len(decoder.resume(0)) == 1  # of which nothing is told again
    assert decoder.wants() == (tokens[:20], 0)
    decoder.evaluated(None)
    while (wanted := decoder.wants()) is not None:
        decoder.evaluated(logits[decoder.n_computed :][: wanted.n_logits])
    assert own(decoder.prompt_logprobs) == expected_of(llama, tokens) and decoder.ended == "length"


def test_cancelled_and_late(llama: sb.Model) -> None:
    tokens = prompt(6, 300)
    before = set(threading.enumerate())
    with llama.scheduler(n_ctx=N_CTX) as scheduler:
        for host in (None, scheduler):
            asked = {"max_tokens": 0, "prompt_logprobs": 1, "n_ctx": N_CTX, "scheduler": host}
            late = llama.generate(tokens, timeout=0.0, **asked).run()  # type: ignore[arg-type]
            assert late.stop_reason == "timeout" and len(late.prompt_logprobs) <= 1
            left = llama.generate(tokens, **asked)  # type: ignore[arg-type]
            next(left)
            left.close()
            assert left.stop_reason in ("cancelled", "length")
            told = left.reply.prompt_logprobs
            whole = llama.generate(tokens, **asked).run()  # type: ignore[arg-type]
            assert told == whole.prompt_logprobs[: len(told)] and len(whole.prompt_logprobs) == 300
    gc.collect()
    left_over = {thread for thread in threading.enumerate() if thread.name == "subbyte-scheduler"}
    assert left_over <= before


def test_indices_that_make_no_sense(llama: sb.Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prompt_logprobs_from = 4 for a prompt of 3 tokens"):
        llama.generate([1, 2, 3], prompt_logprobs=0, prompt_logprobs_from=4)
    with pytest.raises(ValueError, match="prompt_logprobs_from = 1 without prompt_logprobs"):
        llama.generate([1, 2, 3], prompt_logprobs_from=1)

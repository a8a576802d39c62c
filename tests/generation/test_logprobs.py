"""Log-probabilities of generated tokens: the model's own, whatever sampling makes of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from fake_engine import FakeSession, FakeTokenizer
from model_logits import log_softmax
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import NumericError
from subbyte.kernels import isas, top_logprobs
from subbyte.runtime.generation.generation import complete
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.generation.sampling import Sampling

PROMPT = [5, 6, 7, 8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> sb.Model:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path)
    return sb.load(path, threads=2)


@pytest.mark.parametrize("isa", isas())
def test_a_token_and_the_most_probable_ones(isa: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 5, 64, 1000, 50_001):
        logits = (rng.standard_normal(n) * 10).astype(np.float32)
        logits[rng.integers(0, n, n // 8)] = -np.inf
        logits[n // 2] = 1.0
        expected = logits.astype(np.float64) - np.logaddexp.reduce(logits.astype(np.float64))
        for k in {0, 1, min(n, 20), n}:
            token = int(rng.integers(n))
            ids, logprobs = top_logprobs(logits, token, k, isa)
            assert ids[0] == token and (ids.dtype, logprobs.dtype) == (np.int32, np.float32)
            np.testing.assert_array_equal(ids[1:], np.argsort(-logits, kind="stable")[:k])
            np.testing.assert_allclose(logprobs, expected[ids], atol=1e-5)


def test_logits_that_have_no_log_probabilities() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(NumericError):
            top_logprobs(np.array([1.0, value], np.float32), 0, 1)
    with pytest.raises(NumericError):
        top_logprobs(np.full(3, -np.inf, np.float32), 0, 0)
    for token, k in ((3, 1), (-1, 1), (0, 4), (0, -1)):
        with pytest.raises(ValueError):
            top_logprobs(np.zeros(3, np.float32), token, k)


def test_they_are_the_models_own(model: sb.Model) -> None:
    """Sampling changes which token comes, not what the model said of it."""
    sampling = Sampling(temperature=1.5, seed=3, top_k=0, repeat_penalty=1.9, logit_bias={9: 5.0}, banned=["the"])
    with model.generate(PROMPT, max_tokens=12, sampling=sampling, n_ctx=32, logprobs=3) as answer:
        events = list(answer)
    reply = answer.reply
    assert [event for event in events if isinstance(event, sb.TokenLogprob)] == list(reply.logprobs)
    assert tuple(each.id for each in reply.logprobs) == reply.tokens
    with model.session(32) as session:
        rows = log_softmax(session.eval([*PROMPT, *reply.tokens], "all"))[len(PROMPT) - 1 : -1]
    for row, each in zip(rows, reply.logprobs, strict=True):
        assert each.logprob == pytest.approx(row[each.id], abs=1e-5)
        assert [top.id for top in each.top] == np.argsort(-row)[:3].tolist()
        assert [top.logprob for top in each.top] == pytest.approx(np.sort(row)[::-1][:3].tolist(), abs=1e-5)
        assert each.piece == model.tokenizer.piece(each.id, special=True)
    without = model.generate(PROMPT, max_tokens=12, sampling=sampling, n_ctx=32).run()
    assert (without.tokens, without.logprobs) == (reply.tokens, ())
    assert json.loads(json.dumps(reply.to_dict()))["logprobs"][0]["piece"] == list(reply.logprobs[0].piece)


def test_of_none_and_of_all(model: sb.Model) -> None:
    reply = model.generate(PROMPT, max_tokens=2, n_ctx=32, logprobs=0).run()
    assert [each.top for each in reply.logprobs] == [(), ()] and all(each.logprob for each in reply.logprobs)
    reply = model.generate(PROMPT, max_tokens=1, n_ctx=32, logprobs=10**6).run()
    assert len(reply.logprobs[0].top) == N_VOCAB
    assert sum(math.exp(each.logprob) for each in reply.logprobs[0].top) == pytest.approx(1, abs=1e-4)


def test_a_control_token_shows_its_name_and_a_forced_one_has_none() -> None:
    vocabulary = FakeTokenizer()
    end = vocabulary.ids["<|im_end|>"]
    on = FakeSession(vocabulary.n_vocab, script=[ord("a"), ord("b"), end])
    options = GenerationOptions(
        Sampling(temperature=0),
        tags=Tags("<think>", "</think>"),
        opened="",
        reasoning_budget=1,
        logprobs=vocabulary.n_vocab,
    )
    reply = complete(on, vocabulary, "x", options).run()
    forced = [each for each in reply.logprobs if each.logprob is None]
    assert forced and b"".join(each.piece for each in forced).strip() == b"</think>" and not any(f.top for f in forced)
    assert next(top.piece for top in reply.logprobs[0].top if top.id == end) == b"<|im_end|>"
    assert [each.id for each in reply.logprobs] == [*reply.tokens, end]  # the last one is of the token that ended it


def test_of_a_chat_and_of_what_is_new_of_a_continued_answer(model: sb.Model) -> None:
    with model.chat(n_ctx=256, max_tokens=3, logprobs=1, sampling=Sampling(temperature=0, ignore_eos=True)) as chat:
        reply = chat.send("the inn")
        assert len(reply.logprobs) == len(reply.tokens) == 3
        more = chat.continue_answer().run()
        assert len(more.tokens) == 6 and tuple(each.id for each in more.logprobs) == more.tokens[3:]
        chat.logprobs = None
        assert chat.send("and").logprobs == ()


def test_in_company_they_are_those_of_each_alone(model: sb.Model) -> None:
    sampling = [Sampling(seed=i, banned=["e"]) for i in range(3)]
    alone = [model.generate([i, 9], max_tokens=6, sampling=sampling[i], n_ctx=64, logprobs=i).run() for i in range(3)]
    with model.scheduler(n_ctx=64) as scheduler:
        answers = [
            model.generate([i, 9], max_tokens=6, sampling=sampling[i], logprobs=i, scheduler=scheduler)
            for i in range(3)
        ]
        replies = [answer.run() for answer in answers]
    assert [reply.logprobs for reply in replies] == [reply.logprobs for reply in alone]

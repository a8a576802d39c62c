"""The log-probabilities of an answer that is there: as they came, or of one that another wrote."""

from collections.abc import Iterator

import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.generation.events import PrefillProgress

SAID = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the answer of somebody else"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path)
    with sb.load(path, threads=1) as model:
        yield model


def test_an_answer_made_here_is_scored_as_it_came(model: sb.Model) -> None:
    with model.chat(n_ctx=256, logprobs=2, max_tokens=6, sampling=sb.Sampling(seed=1)) as chat:
        reply, messages = chat.send("hello"), chat.messages
        scored = chat.score_answer(2).run()
        assert scored.prompt_logprobs == reply.logprobs[: len(reply.tokens)] and not scored.tokens
        assert scored.usage.reused >= reply.usage.prompt - 1  # the prompt is in the cache
        assert chat.messages == messages and chat.last == reply


def test_an_answer_of_somebody_else(model: sb.Model) -> None:
    with model.chat(n_ctx=256, messages=SAID, max_tokens=2, sampling=sb.Sampling(seed=1)) as chat:
        events = list(chat.score_answer(3))
        scores = [event for event in events if isinstance(event, sb.TokenLogprob)]
        assert b"".join(score.piece for score in scores).decode().strip() == SAID[1]["content"]
        assert all(score.logprob is not None and len(score.top) == 3 for score in scores)
        assert isinstance(events[0], PrefillProgress)
        chat.continue_answer().close()
        chat.send("and now?")
        assert len(chat.messages) == 4


def test_what_can_not_be_scored(model: sb.Model) -> None:
    with model.chat(n_ctx=64) as chat:
        with pytest.raises(ValueError, match="there is no answer to score: nothing was said yet"):
            chat.score_answer()
        chat.resume([SAID[0], {"role": "assistant", "content": ""}])
        with pytest.raises(ValueError, match="the last answer has no text"):
            chat.score_answer()
        chat.resume([SAID[0], {"role": "assistant", "content": "word " * 100}])
        with pytest.raises(sb.ContextOverflow):
            chat.score_answer()
        with pytest.raises((TypeError, ValueError)):
            chat.score_answer("all")  # type: ignore[arg-type]

"""Pinned prefixes: computed once, and everything that begins with them goes on as if it had computed them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb

GREEDY = sb.Sampling(temperature=0)
N_CTX = 128
PREFIX = [int(t) for t in np.random.default_rng(1).integers(0, N_VOCAB, 50)]
PROMPT = [*PREFIX, 7, 8, 9]
SYSTEM = [{"role": "system", "content": "the thing " * 5}]


@pytest.fixture(params=["llama", "gemma4", "qwen35", "lfm2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sb.Model]:
    write_model(tmp_path / "m.gguf", request.param, context_length=N_CTX)
    with sb.load(tmp_path / "m.gguf", threads=1) as model:
        yield model


def answer(model: sb.Model, prompt: list[int], scheduler: sb.Scheduler | None = None) -> sb.Reply:
    return model.generate(prompt, sampling=GREEDY, max_tokens=6, n_ctx=N_CTX, scheduler=scheduler).run()


def test_everything_begins_from_it_until_it_is_closed(model: sb.Model, tmp_path: Path) -> None:
    alone = answer(model, PROMPT)
    assert alone.usage.reused == 0
    with model.pin(PREFIX) as pin, model.scheduler(n_ctx=N_CTX) as scheduler:
        assert pin.tokens == tuple(PREFIX) and pin.n_bytes > 0
        for reply in (answer(model, PROMPT), answer(model, PROMPT, scheduler)):
            assert (reply.tokens, reply.usage.reused) == (alone.tokens, len(PREFIX))
        with model.session(N_CTX) as session:
            session.eval(PROMPT[:20])
            assert session.reuse(PROMPT) == len(PREFIX) and session.tokens == PREFIX
        with model.session(N_CTX, "f32") as other:
            assert other.reuse(PROMPT) == 0
        with model.session(len(PREFIX) // 2) as short:
            assert short.reuse(PREFIX[: len(PREFIX) // 2]) <= len(PREFIX) // 2 - 1
    assert answer(model, PROMPT).usage.reused == 0
    pin.close()


def test_a_file_is_written_once_and_refused_if_it_is_of_something_else(model: sb.Model, tmp_path: Path) -> None:
    alone, path, computed = answer(model, PROMPT), tmp_path / "prefix.session", []
    for _ in range(2):
        with model.pin(PREFIX, path=path, on_progress=lambda done, _: computed.append(done)):
            assert answer(model, PROMPT).tokens == alone.tokens
    assert computed == [len(PREFIX)]
    with pytest.raises(sb.SubbyteError, match="of another prefix"):
        model.pin([*PREFIX[:-1], 3], path=path)
    with pytest.raises(sb.SubbyteError, match="of cache_type"):
        model.pin(PREFIX, path=path, cache_type="f32")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(sb.SubbyteError, match="damaged"):
        model.pin(PREFIX, path=path)
    assert answer(model, PROMPT).usage.reused == 0


def test_messages_that_conversations_begin_with(model: sb.Model) -> None:
    with model.pin(SYSTEM) as pin, model.chat(system=SYSTEM[0]["content"], sampling=GREEDY, max_tokens=3) as chat:
        reply = chat.send("hello")
        assert reply.usage.reused == len(pin.tokens) < reply.usage.prompt
    with pytest.raises(ValueError, match="no tokens to pin"):
        model.pin([])
    with pytest.raises(TypeError, match="prefix"):
        model.pin(5)  # type: ignore[arg-type]

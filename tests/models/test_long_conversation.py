"""Long conversations: what a session keeps is what computing it all again gives.

Of Gemma 3, far past its sliding window, and of models with recurrent states, which go back by checkpoints.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from tiny_models import GEMMA3, N_VOCAB, forward, write_model
from vocabularies import model_file

import subbyte as sb
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.types import CacheType

GREEDY = sb.Sampling(temperature=0)
N_CTX, N_NEW = 1200, 5
RECURRENT = ("qwen35", "lfm2", "granitehybrid")
WINDOW = GEMMA3["window"]
WORDS = "the thing in another garden and one on an island there is nothing".split()
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("models") / "gemma3.gguf"
    return path, write_model(path, "gemma3", context_length=N_CTX)


@pytest.fixture
def model(tiny: tuple[Path, dict[str, np.ndarray]]) -> Iterator[sb.Model]:
    with sb.load(tiny[0], threads=1) as model:
        yield model


@pytest.fixture(scope="module", params=["gemma3", *RECURRENT])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    write_model(path, request.param, context_length=N_CTX)
    with sb.load(path, threads=1) as model:
        yield model


def question(turn: int) -> str:
    return " ".join(random.Random(turn).choices(WORDS, k=3 + turn % 5))


def conversation(model: sb.Model, cache_type: CacheType) -> Chat:
    session, template = model.session(N_CTX, cache_type), ChatTemplate(TEMPLATE, model.tokenizer)
    return Chat(session, model.tokenizer, template, options=GenerationOptions(GREEDY, N_NEW))


def check(model: sb.Model, chat: Chat, answer: Generation, cache_type: CacheType) -> None:
    """Run the answer to its end, and again on a new session that is given the whole prompt.

    Not computed again is what is common, of a model with recurrent states up to the last checkpoint in it.
    """
    before, positions = chat.session.tokens.copy(), chat.checkpoints.positions
    assert chat.checkpoints.n_bytes <= chat.checkpoints.max_bytes
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, answer.prompt[:-1], strict=False)))
    kept = max([0, *(n for n in positions if n <= common)]) if model.plan.state_bytes else common
    again = model.generate(answer.prompt, sampling=GREEDY, max_tokens=N_NEW, n_ctx=N_CTX, cache_type=cache_type).run()
    assert answer.run().tokens == again.tokens
    assert answer.reply.usage.reused == (common if common == len(before) else kept)


@pytest.mark.parametrize("cache_type", ["f32", "f16"])
def test_every_turn_says_what_a_new_session_says(either: sb.Model, cache_type: CacheType) -> None:
    with conversation(either, cache_type) as chat:
        for turn in range(24):
            answer = chat.stream(question(turn))
            check(either, chat, answer, cache_type)
            usage = answer.reply.usage
            assert usage.prompt - usage.reused < 100  # it goes on, it does not begin again
    assert usage.reused > 40 * WINDOW


def test_regenerated_undone_and_edited_turns_do_as_well(either: sb.Model) -> None:
    choose = random.Random(7)
    with conversation(either, "f32") as chat:
        for turn in range(20):
            chat.send(question(turn))
        assert chat.n_past > 30 * WINDOW
        for turn in range(20, 35):
            kind = choose.choice(["send", "regenerate", "undo", "edit"])
            if kind == "regenerate":
                answer = chat.regenerate()
            else:  # edit: an earlier turn is said otherwise
                for _ in range({"send": 0, "undo": 1, "edit": choose.randrange(1, 10)}[kind]):
                    text = chat.undo()
                answer = chat.stream(text if kind == "undo" else question(turn))
            check(either, chat, answer, "f32")


@pytest.mark.parametrize("keep", [0, 3, WINDOW - 1, WINDOW, WINDOW + 1, 40, 99, 100])
def test_a_session_rewound_into_the_middle(
    model: sb.Model, tiny: tuple[Path, dict[str, np.ndarray]], keep: int
) -> None:
    rng = np.random.default_rng(keep)
    first, other = (rng.integers(0, N_VOCAB, n).tolist() for n in (100, 60))
    expected = forward("gemma3", tiny[1], first[:keep] + other)[keep:]
    with model.session(200, "f32") as session:
        session.eval(first, "none")
        for steps in ([60], [1] * 30 + [30]):
            session.rewind(keep)
            rows = [session.eval(other[a:b], "all") for a, b in pairwise(np.cumsum([0, *steps]).tolist())]
            assert np.abs(np.concatenate(rows) - expected).max() < 1e-4


# ---- the real model ----

TEXT = (ROOT / "benchmarks/alice.txt").read_text()


@pytest.mark.slow
@pytest.mark.model
def test_gemma3_270m_goes_on_past_its_window_as_if_computed_again() -> None:
    """Turns of a text, each with 24 greedy tokens, in one session; and each of them anew, computed from the start."""
    n_tokens = 0
    with sb.load(model_file("gemma3-270m")) as model:
        window = max(of.parameters.get("window", 0) for of in model.plan.operations)
        session = partial(model.session, 3 * window, activations="int8x2")
        with session() as going, session() as anew:
            for part in TEXT.split(".") * 3:
                turn = model.tokenize(part + ".", add_bos=going.n_past == 0)
                if going.n_past + len(turn) + 24 > going.n_ctx:
                    break
                begin, rows = going.n_past + len(turn) - 1, [going.eval(turn)]
                while len(rows) < 24:
                    rows.append(going.eval([int(rows[-1].argmax())]))
                n_tokens += len(rows)
                anew.rewind(0)
                anew.eval(going.tokens[:begin], "none")
                np.testing.assert_array_equal(anew.eval(going.tokens[begin:], "all"), np.stack(rows))
            assert going.n_past > 2.5 * window
    assert n_tokens > 300

"""Banned texts: no way of tokens leads to one of them, and nothing else is banned."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import FakeSession, FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import write_model

import subbyte as sb
from subbyte.errors import ConstraintError
from subbyte.runtime.generation.banned_texts import BannedTexts
from subbyte.runtime.generation.generation import Generation, complete
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint

VOCABULARY = FakeTokenizer()
END = VOCABULARY.ids["<|im_end|>"]
TOKENS = [*map(ord, "helowrd\n"), *range(256, VOCABULARY.n_vocab)]


def allowed(processor: BannedTexts) -> set[int]:
    logits = np.zeros(VOCABULARY.n_vocab, np.float32)
    processor.apply(logits, ())
    return set(np.flatnonzero(logits == 0).tolist())


@given(
    st.lists(st.text(alphabet="helowrd\n", min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.sampled_from(TOKENS), max_size=25),
)
def test_exactly_the_tokens_that_complete_a_text(texts: list[str], tokens: list[int]) -> None:
    processor, so_far = BannedTexts(texts, VOCABULARY), b""
    for token in tokens:
        possible = allowed(processor)
        pieces = map(VOCABULARY.piece, range(VOCABULARY.n_vocab))
        found = {id for id, piece in enumerate(pieces) if not any(t.encode() in so_far + piece for t in texts)}
        assert possible == found
        if token in possible:
            so_far += VOCABULARY.piece(token)
            processor.accept(token)


def test_a_text_is_banned_however_it_is_spelt() -> None:
    """The script wants "hello" as one token, then as two; the fake's other logits are all alike, and the first wins."""
    for script in (["hello"], ["hell", "o"], ["he", "llo"], [*"hello"]):
        tokens = [id for word in script for id in VOCABULARY.encode(word)]
        on = FakeSession(VOCABULARY.n_vocab, script=[ord(" "), *tokens, END])
        reply = complete(on, VOCABULARY, "hello", GenerationOptions(Sampling(temperature=0, banned=["hello"]))).run()
        assert "hello" not in reply.text and reply.text.startswith(" " + "".join(script)[: -len(script[-1])])


def test_bytes_within_a_character_and_what_an_answer_was_begun_with() -> None:
    for banned, script in (("é!", "é!"), ("zé", "é")):
        options = GenerationOptions(Sampling(temperature=0, banned=[banned]))
        on = FakeSession(VOCABULARY.n_vocab, script=[*script.encode(), END])
        reply = Generation(on, VOCABULARY, [1], options, begun=Begun([ord("z")], "z")).run()
        assert banned not in reply.text and len(reply.tokens) > 1


def test_an_answer_of_a_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path)
    with sb.load(path) as model:
        free = model.generate("the", max_tokens=60, sampling=Sampling(temperature=0), n_ctx=128).run()
        assert len(free.text) > 8
        banned = [free.text[i : i + 2] for i in range(0, 8, 2)]
        sampling = Sampling(temperature=0, banned=banned)
        assert sampling.banned == tuple(banned) and hash(sampling)
        reply = model.generate("the", max_tokens=60, sampling=sampling, n_ctx=128).run()
        assert reply.tokens and not any(text in reply.text for text in banned)


def test_what_a_constraint_would_force_is_banned_too() -> None:
    constraint = Constraint.choice(["hello world", "gone"])
    for banned, expected in (([], "hello world"), (["hello"], "gone"), (["hello w"], None)):
        on = FakeSession(VOCABULARY.n_vocab, script=[*VOCABULARY.encode("hello world"), END])
        options = GenerationOptions(Sampling(temperature=0, banned=banned), constraint=constraint)
        if expected is None:  # nothing is left behind "hello "
            with pytest.raises(ConstraintError, match="ban all that may come next"):
                complete(on, VOCABULARY, "x", options).run()
        else:
            assert complete(on, VOCABULARY, "x", options).run().text == expected


def test_what_can_not_be_banned() -> None:
    for banned in ("the", [""], [3]):
        with pytest.raises(ValueError, match=r"banned is .* but must be a list of non-empty strings"):
            Sampling(banned=banned)  # type: ignore[arg-type]

"""What guesses tokens: lookup in the conversation, and a draft model."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import N_VOCAB, swap_tokens, write_model

import subbyte as sb
from subbyte.runtime.speculation.draft_model import DraftModel
from subbyte.runtime.speculation.drafter import N_KINDS
from subbyte.runtime.speculation.prompt_lookup import PromptLookup


def looked_up(lookup: PromptLookup, context: list[int], n: int = 4) -> list[int]:
    return [guess.token for guess in islice(lookup.guesses(context), n)]


def test_lookup_goes_on_as_the_most_alike_place_did() -> None:
    lookup = PromptLookup()
    assert looked_up(lookup, []) == looked_up(lookup, [1]) == looked_up(lookup, [1, 2]) == []
    assert looked_up(lookup, [1, 2, 3, 9, 1, 2]) == [3, 9, 1, 2]
    lookup.begin(other := [7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2])
    assert looked_up(lookup, other) == [3, 8, 1, 2]  # three tokens are the same there, two at the later place
    assert [guess.kind for guess in islice(lookup.guesses(other), 3)] == [1, 2, 3]
    assert looked_up(lookup, [*other, 5]) == []
    lookup.begin(again := [6, 6, 6])
    assert looked_up(lookup, again) == [6, 6, 6, 6]  # what repeats itself up to the end goes on so


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=20))
def test_lookup_of_an_index_that_grew_is_that_of_a_new_one(first: list[int], more: list[int]) -> None:
    grown = PromptLookup()
    for n in range(len(first), len(first) + len(more) + 1):
        context = [*first, *more][:n]
        grown.begin(context)
        fresh = PromptLookup()
        assert list(islice(grown.guesses(context), 5)) == list(islice(fresh.guesses(context), 5))
        for guess in islice(grown.guesses(context), 3):
            assert guess.token in context and 0 <= guess.kind < N_KINDS
    grown.begin(more)
    assert looked_up(grown, more) == looked_up(PromptLookup(), more)


def test_lookup_takes_the_same_memory_and_work_whatever_the_text() -> None:
    lookup = PromptLookup()
    context = [1, 2] * 50_000
    assert looked_up(lookup, context) == [1, 2, 1, 2]
    assert len(lookup._before) == len(context) and lookup._before.itemsize == 4
    assert looked_up(lookup, [*context, 3]) == []


def test_a_draft_model_guesses_its_most_probable_tokens(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    prompt = [int(t) for t in np.random.default_rng(3).integers(0, N_VOCAB, 9)]
    with sb.load(tmp_path / "m.gguf", threads=1) as model:
        options = {"sampling": sb.Sampling(temperature=0, ignore_eos=True), "max_tokens": 6, "draft": None}
        expected = list(model.generate(prompt, n_ctx=32, **options).run().tokens)  # type: ignore[call-overload]
        with model.session(13) as session:
            drafter = DraftModel(session, N_VOCAB)
            guesses = list(drafter.guesses(prompt))
            assert [guess.token for guess in guesses] == expected[:5]  # the last one behind 13 tokens
            assert all(0 <= guess.kind < N_KINDS for guess in guesses) and drafter.seconds > 0
            other = [*prompt[:5], 8]
            list(islice(drafter.guesses(other), 2))
            assert session.tokens[:6] == other
            assert list(drafter.guesses(list(range(14)))) == []  # no room
            assert list(DraftModel(session, min(expected[:1])).guesses(prompt)) == []  # the other model lacks that id


def test_a_draft_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    swapped = swap_tokens(tmp_path / "m.gguf", tmp_path / "other.gguf")
    write_model(tmp_path / "states.gguf", "qwen35")
    with sb.load(tmp_path / "m.gguf") as model, sb.load(swapped) as other, sb.load(tmp_path / "states.gguf") as states:
        with pytest.raises(ValueError, match=r"the vocabulary of 'other.gguf' is not that of 'm.gguf'; take a smaller"):
            model.generate([1], draft=other)
        with pytest.raises(ValueError, match=r"'states.gguf' has recurrent states, which can't forget a guess; take"):
            model.chat(draft=states)
        for wrong, message in (("lookups", "must be 'lookup'"), (3, "must be 'lookup', a Model or None")):
            with pytest.raises(ValueError, match=message):
                model.generate([1], draft=wrong)  # type: ignore[arg-type]

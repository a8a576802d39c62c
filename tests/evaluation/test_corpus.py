"""Texts cut into chunks: llama-perplexity's way, and overlapping windows."""

import hashlib
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeTokenizer

from subbyte.runtime.evaluation.corpus import read_corpus

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 1000).tolist())


def test_chunks_follow_one_another_and_their_second_half_is_scored() -> None:
    tokenizer = FakeTokenizer(bos="<s>", add_bos=True)
    tokens = tokenizer.encode(TEXT, add_bos=True)
    corpus = read_corpus([TEXT], tokenizer, n_ctx=64)
    assert len(corpus.chunks) == len(tokens) // 64 and corpus.n_tokens == len(tokens)
    assert corpus.sha256 == hashlib.sha256(TEXT).hexdigest()
    for i, chunk in enumerate(corpus.chunks):
        whole = tokens[64 * i : 64 * (i + 1)]
        assert chunk.rows.tolist() == list(range(32, 63)) and chunk.targets.tolist() == whole[33:]
        assert chunk.tokens.tolist() == [tokenizer.bos, *whole[1:-1]]


def test_windows_score_each_token_once_behind_a_long_context() -> None:
    tokenizer = FakeTokenizer()
    tokens = tokenizer.encode(TEXT)
    corpus = read_corpus([TEXT], tokenizer, n_ctx=64, stride=10)
    assert len(corpus.chunks) == -(-(len(tokens) - 64) // 10)
    scored = [token for chunk in corpus.chunks for token in chunk.targets.tolist()]
    assert scored == tokens[54 : 54 + len(scored)]
    assert all(len(c.tokens) == 63 and c.rows.tolist() == list(range(53, 63)) for c in corpus.chunks[:-1])


def test_bos_at_the_head_of_a_window() -> None:
    """llama-perplexity sets it only after such a window was computed, so there it has no effect."""
    tokenizer = FakeTokenizer(bos="<s>", add_bos=True)
    ours = read_corpus([TEXT], tokenizer, n_ctx=64, stride=10)
    theirs = read_corpus([TEXT], tokenizer, n_ctx=64, stride=10, compat=True)
    assert {int(c.tokens[0]) for c in ours.chunks} == {tokenizer.bos}
    assert [c.tokens.tolist()[1:] for c in ours.chunks] == [c.tokens.tolist()[1:] for c in theirs.chunks]
    assert int(theirs.chunks[1].tokens[0]) != tokenizer.bos
    plain = [read_corpus([TEXT], tokenizer, n_ctx=64, compat=compat).chunks[1].tokens.tolist() for compat in (0, 1)]
    assert plain[0] == plain[1]


def test_several_texts_are_cut_one_by_one_and_take_turns() -> None:
    tokenizer = FakeTokenizer()
    both = read_corpus({"long": TEXT, "short": TEXT[:300]}, tokenizer, n_ctx=64)
    alone = [read_corpus([text], tokenizer, n_ctx=64) for text in (TEXT, TEXT[:300])]
    for domain, one in enumerate(alone):
        of_text = [c.targets.tolist() for c in both.chunks if c.domain == domain]
        assert of_text == [c.targets.tolist() for c in one.chunks]
    n_short = len(alone[1].chunks)
    turns = [0, 1] * n_short + [0] * (len(alone[0].chunks) - n_short)
    assert [c.domain for c in both.chunks] == turns and both.names == ("long", "short")
    assert both.sha256 == hashlib.sha256(TEXT + TEXT[:300]).hexdigest()
    assert len(read_corpus([TEXT, TEXT], tokenizer, n_ctx=64, chunks=3).chunks) == 3


@pytest.mark.parametrize("stride", [None, 10, 63])
@pytest.mark.parametrize("chunks", [1, 3, 14, 17, 500])
def test_no_more_is_tokenized_than_the_chunks_take(chunks: int, stride: int | None) -> None:
    class Counting(FakeTokenizer):
        def encode(self, text: str | bytes, **options: Any) -> list[int]:
            limits.append(options["limit"])
            return super().encode(text, **options)

    limits: list[int] = []
    texts, tokenizer = [TEXT, TEXT[:200]], Counting(bos="<s>", add_bos=True)
    some = read_corpus(texts, tokenizer, n_ctx=64, stride=stride, chunks=chunks)
    every = read_corpus(texts, FakeTokenizer(bos="<s>", add_bos=True), n_ctx=64, stride=stride)
    assert len(some.chunks) == min(chunks, len(every.chunks)) and some.sha256 == every.sha256
    for one, other in zip(some.chunks, every.chunks, strict=False):
        assert np.array_equal(one.tokens, other.tokens) and np.array_equal(one.targets, other.targets)
    assert limits[0] <= (chunks + 3) * 64 and all(limit >= 128 for limit in limits)


def test_control_tokens_written_in_a_text_are_read_if_asked_for() -> None:
    tokenizer, text = FakeTokenizer(), b"ab<|im_end|>" * 100
    plain, read = (read_corpus([text], tokenizer, n_ctx=64, special=special).n_tokens for special in (False, True))
    assert (plain, read) == (1200, 300)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_ctx": 3}, "at least 4"),
        ({"chunks": 0}, "at least 1"),
        ({"stride": 0}, "1 to 63"),
        ({"stride": 64}, "1 to 63"),
        ({"n_ctx": 501}, "1002 are needed"),
    ],
)
def test_numbers_that_leave_nothing_to_score(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_corpus([TEXT], FakeTokenizer(), **{"n_ctx": 64, **arguments})


def test_no_text() -> None:
    with pytest.raises(ValueError, match="at least one"):
        read_corpus([], FakeTokenizer(), n_ctx=64)

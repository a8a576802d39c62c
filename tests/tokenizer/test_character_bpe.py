"""Gemma 4's tokenizer: ids and texts against llama.cpp's (gemma4_tokens.json) and against plain slow code."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from gguf_builder import STR, array
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import BYTE, NORMAL, load

from subbyte.errors import TokenizerError
from subbyte.runtime.tokenizer import bpe

RECORDED = json.loads((Path(__file__).parents[1] / "support/gemma4_tokens.json").read_text())
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    keys = {key: RECORDED[key] for key in ("tokens", "token_type", "merges")}
    ids = {f"{name}_token_id": RECORDED["tokens"].index(f"<{name}>") for name in ("bos", "eos")}
    template = "{{ '<|tool_response>' }}"  # as Gemma 4's own writes it, which makes it an end
    path = tmp_path_factory.mktemp("gemma") / "v.gguf"
    return load(path, chat_template=template, model="gemma4", add_bos_token=False, **keys, **ids)


@pytest.mark.parametrize("part", [1, bpe.PART])
def test_same_ids_as_llama_cpp(gemma, monkeypatch, part):
    monkeypatch.setattr(bpe, "PART", part)
    for row in RECORDED["texts"]:
        assert gemma.encode(row["text"]) == row["plain"], row["text"]
        assert gemma.encode(row["text"], special=True) == row["special"], row["text"]
        if "▁" not in row["text"]:
            assert gemma.decode(row["plain"]) == gemma.decode(row["special"], special=True) == row["text"]


def test_the_ends_of_a_generation_and_bos_whatever_the_file_says(gemma):
    assert gemma.eog == set(RECORDED["end_of_generation"])
    assert gemma.add_bos and gemma.encode("a", add_bos=True)[0] == gemma.id("<bos>")
    assert gemma.decode([gemma.id("</s>"), gemma.id("<turn|>")]) == "</s>"


def slow(tokens, ranks, text):
    """The merge with the lowest rank first, of equals the leftmost, by looking at all pairs again and again."""
    found = []
    for piece in re.findall(r"\n+|[^\n]+", text.replace(" ", "▁")):
        symbols = [piece] if piece[0] == "\n" and piece in tokens else list(piece)
        while pairs := [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]:
            i = min(pairs)[1]
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        known = [part for symbol in symbols for part in ([symbol] if symbol in tokens else symbol)]
        found += [t for part in known for t in ([part] if part in tokens else [f"<0x{b:02X}>" for b in part.encode()])]
    return found


PART = st.text("ab▁é\n", min_size=1, max_size=3)


@given(
    st.lists(st.tuples(PART, PART), unique=True, min_size=1), st.sets(PART), st.lists(st.text("ab é\n", max_size=14))
)
@settings(max_examples=200)
@pytest.mark.thorough
def test_merges_the_lowest_rank_first(tmp_path_factory, merges, more, texts):
    tokens = [*BYTES, *sorted({a + b for a, b in merges[::2]} | more | {"▁"})]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    keys = {
        "tokens": tokens,
        "merges": [f"{a} {b}" for a, b in merges],
        "token_type": [BYTE] * 256 + [NORMAL] * (len(tokens) - 256),
    }
    tokenizer = load(tmp_path_factory.getbasetemp() / "characters.gguf", model="gemma4", **keys)
    for text in texts:
        ids = tokenizer.encode(text)
        assert [tokenizer.text(id) for id in ids] == slow(tokens, ranks, text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text, limit=2) == ids[:2]


@pytest.mark.parametrize("text", ["a", " ", "\n", "ab", "\na", "世"])
@pytest.mark.thorough
def test_long_texts_without_a_place_to_cut(gemma, text):
    text *= 300_000 // len(text.encode())
    start = time.process_time()
    assert gemma.decode(gemma.encode(text)) == text
    assert time.process_time() - start < 10  # 0.03 to 0.2 s on an idle machine


def test_of_a_huge_text_only_the_beginning_is_looked_at(gemma, monkeypatch):
    monkeypatch.setattr(bpe, "PART", 20)
    text = "Hello world\n\nand more\n" * 50
    whole = gemma.encode(text)
    for limit in (0, 1, 7, len(whole), len(whole) + 1):
        assert gemma.encode(text, limit=limit) == whole[:limit]


def test_what_a_merge_makes_of_tokens_is_kept_and_characters_without_one_vanish(tmp_path):
    tokenizer = load(tmp_path / "v.gguf", model="gemma4", tokens=["a", "b", "▁"], merges=["a b", "b ▁"])
    assert tokenizer.encode("a ab b世") == [0, 2, 0, 1, 2, 1]


def test_merges_are_asked_for_and_scores_are_not(tmp_path):
    with pytest.raises(TokenizerError, match="merges is missing"):
        load(tmp_path / "v.gguf", model="gemma4", tokens=["a"], scores=[0.0])
    with pytest.raises(TokenizerError, match="merges: item 0 of 1 is no pair"):
        load(tmp_path / "v.gguf", model="gemma4", tokens=["a"], merges=["ab"])
    odd = array(STR, [b"\xff \xe2\x96", b"  \xe2\x96\x81", b"a \xe2\x96\x81"])
    tokenizer = load(tmp_path / "v.gguf", model="gemma4", tokens=["a", "▁", "a▁"], merges=odd)
    assert tokenizer.encode("a a") == [2, 0]

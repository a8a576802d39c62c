"""Token ids and texts against the reference's, against the `tokenizers` package and against plain slow code."""

import json
import re
import time
from itertools import pairwise
from unicodedata import is_normalized, normalize

import pytest
from gguf_builder import STR, U32, gguf, pair
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_pretokenizers import RULES_OF_LLAMA_CPP, VENDORS, steps
from vocabularies import (
    BYTE,
    CONTROL,
    NORMAL,
    SHARED,
    SPM_TOKENS,
    SPM_TYPES,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    alphabet,
    load,
    model_file,
    payload,
    train_bpe,
)

from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.tokenizer import pretokenizer
from subbyte.runtime.tokenizer._vocabulary import from_byte_alphabet
from subbyte.runtime.tokenizer.bpe import BYTE_OF
from subbyte.runtime.tokenizer.pretokenizer import RULES, PreTokenizer
from subbyte.runtime.tokenizer.tokenizer import load_tokenizer

REFERENCES = SHARED / "refs/tokens.json"
REAL = ["smollm2", "gemma3-270m", "llama-bpe", "qwen2", "llama-spm"]
EOG = {
    "smollm2": {0, 2, 4},
    "gemma3-270m": {1, 106},
    "llama-bpe": {128001, 128009},
    "qwen2": {151643, 151645},
    "llama-spm": {2},
}
ANY = st.characters(exclude_categories=["Cs"])
# Weighted towards what the rules and the merges look at.
TEXTS = st.text(st.one_of(st.sampled_from(" \n\r\tab'stSTLI.,12345^\u00a0é世👩\u200d\u0301▁<|>"), ANY))


@pytest.fixture(scope="module")
def trained():
    return train_bpe()


@pytest.fixture(scope="module")
def bpe(tmp_path_factory, trained):
    tokens, merges = trained
    return load(tmp_path_factory.mktemp("bpe") / "v.gguf", model="gpt2", pre="gpt-2", tokens=tokens, merges=merges)


@pytest.fixture(scope="module")
def spm(tmp_path_factory):
    pieces = ["▁", "a", "b", "aa", "ab", "▁a", "▁▁", "ba", "aab", "▁ab", "aaaa", "世", "é", "b▁a"]
    ranks = [-1.0, -2.0, -3.0, -1.0, -1.0, -0.5, -4.0, -2.0, -0.0, 0.0, -0.25, -9.0, -9.0, -7.0]
    scores = [0.0] * len(SPM_TOKENS) + ranks
    types = SPM_TYPES + [NORMAL] * len(pieces)
    path = tmp_path_factory.mktemp("spm") / "v.gguf"
    return load(path, model="llama", tokens=SPM_TOKENS + pieces, scores=scores, token_type=types)


@pytest.mark.parametrize("name", REAL)
def test_same_ids_as_the_reference(name):
    if not REFERENCES.exists():
        pytest.skip("the reference results are not here")
    metadata = GGUF.open(model_file(name)).metadata
    start = time.process_time()
    tokenizer = load_tokenizer(metadata)
    assert time.process_time() - start < 2  # 2 to 15 ms on an idle machine
    references = json.loads(REFERENCES.read_text())
    expected = references["ids"][{"gemma3-270m": "gemma-3-270m"}.get(name, name)]
    for text, ids in zip(references["texts"], expected, strict=True):
        if (name in ("gemma3-270m", "qwen2") and "</s>" in text) or (
            name == "qwen2" and not is_normalized("NFC", text)
        ):
            continue  # llama.cpp takes </s> for a control token, and does not normalize
        assert tokenizer.encode(text) == ids["plain"], text
        assert tokenizer.encode(text, special=True) == ids["special"], text
    assert tokenizer.eog == EOG[name]


def hugging_face(tokens, merges, rule, expressions):
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.normalizers import NFC
    from tokenizers.pre_tokenizers import ByteLevel, Sequence

    pairs = [tuple(merge.split(" ")) for merge in merges]
    other = Tokenizer(BPE({t: i for i, t in enumerate(tokens)}, pairs, ignore_merges=rule.ignore_merges))
    if rule.nfc:
        other.normalizer = NFC()
    other.pre_tokenizer = Sequence([*steps(expressions), ByteLevel(add_prefix_space=False, use_regex=False)])
    return other


@pytest.mark.parametrize("pre", [*VENDORS, *RULES_OF_LLAMA_CPP])
def test_same_ids_as_the_tokenizers_package(tmp_path, monkeypatch, trained, pre):
    tokens, merges = trained
    other = hugging_face(tokens, merges, RULES[pre], VENDORS.get(pre, RULES[pre].expressions))
    ours = load(tmp_path / "v.gguf", model="gpt2", pre=pre, tokens=tokens, merges=merges)
    monkeypatch.setattr(pretokenizer, "CHUNK", 1)  # hand over as many parts as may be

    @given(TEXTS)
    @settings(max_examples=60)
    def check(text):
        ids = ours.encode(text)
        assert ids == other.encode(text).ids
        assert ours.decode(ids) == (normalize("NFC", text) if RULES[pre].nfc else text)

    check()
    for text in ("café déjà vu", "Tiếng Việt", "한국어", "Ångström", "が", "q\u0307\u0323 \u212b" * 2_000):
        assert ours.encode(normalize("NFD", text)) == other.encode(normalize("NFD", text)).ids
    for text in (
        "don't WE'LL  stop\r\n\r\n at 3.14159,  or 1000000 — naïve façades (你好,世界) …\t\t x\n" * 20,
        "हिन्दी में ÉCOLE école ǅ ①½ 12345a 1234567 ٣٤٥٦ 東京タワーabc สวัสดี ᄀ _x/y  「a」 \U0001d400b don’t I'Ll",  # noqa: RUF001
        "one phrase of words, 'another one'\n\n- 12 items/7 a b\u0301 c\r\n",
    ):
        assert ours.encode(text) == other.encode(text).ids


PIECES = {
    "llama-bpe": "I|'ll| don|'t|  | see| |123|456|!!\n\n|HTTPServer",
    "dbrx": "I|'ll| don|'t|  | see| |123|456|!!\n\n|HTTPServer",
    "qwen2": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!\n\n|HTTPServer",
    "gpt-4o": "I'll| don't|  | see| |123|456|!!\n\n|HTTPServer",
    "tekken": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!\n\n|HTTPServer",
    "exaone": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!|\n|\n|HTTPServer",
    "exaone4": "I|'ll| don|'t|  | see| 123456|!!|\n|\n|HTTPServer",
    "deepseek-v3": "I|'ll| don|'t|  | see| |123|456|!!\n\n|HTTPServer",
    "bailingmoe2": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!\n\n|HTTPServer",
    "exaone-moe": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!\n|\n|HTTPServer",
    "seed-coder": "I|'ll| don|'t|  | see| |1|2|3|4|5|6|!!|\n\n|HTTPServer",
    "superbpe": "I'll don't   see |123|456|!!\n\nHTTPServer",
}


@pytest.mark.parametrize("pre", PIECES)
def test_pieces_of_the_named_models(pre):
    ((_, pieces),) = PreTokenizer(RULES[pre]).split("I'll don't   see 123456!!\n\nHTTPServer")
    assert "|".join(piece for piece, _ in pieces) == PIECES[pre]


def test_ignore_merges_takes_whole_pieces(tmp_path):
    keys = {"model": "gpt2", "tokens": [*alphabet(), "ab", "abc"], "merges": ["b c", "a b"]}
    whole, merged = (load(tmp_path / pre, pre=pre, **keys) for pre in ("llama-bpe", "gpt-2"))
    assert [whole.text(id) for id in whole.encode("abc")] == ["abc"]
    assert [merged.text(id) for id in merged.encode("abcab")] == ["a", "b", "c", "ab"]  # "bc" is merged, but no token


def test_bytes_without_a_token_vanish_after_the_merges(tmp_path):
    tokens = [token for token in alphabet() if token not in "!x"] + ["ab"]
    tokenizer = load(tmp_path / "v.gguf", model="gpt2", pre="gpt-2", tokens=tokens, merges=["a b", "! !"])
    assert tokenizer.decode(tokenizer.encode("axb!!ab")) == "abab"
    assert [tokenizer.text(id) for id in tokenizer.encode("axb ab")] == ["a", "b", "Ġ", "ab"]


def slow_spm(scores: dict[str, float], text: str) -> list[str]:
    """The best-scored pair first, of equals the leftmost, by looking at all pairs again and again."""
    symbols = list(text.replace(" ", "▁"))
    while pairs := [(-scores[a + b], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in scores]:
        i = min(pairs)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return [t for s in symbols for t in ([s] if s in scores else [f"<0x{b:02X}>" for b in s.encode()])]


@given(st.lists(st.text("ab▁é", min_size=1, max_size=4), min_size=1, unique=True), st.data())
@settings(max_examples=200)
@pytest.mark.thorough
def test_spm_merges_the_best_score_first(tmp_path_factory, pieces, data):
    n, score = len(pieces), st.sampled_from([0.0, -0.0, -1.0, 1.0, -2.5])
    tokens = SPM_TOKENS + pieces
    scores = [0.0] * len(SPM_TOKENS) + data.draw(st.lists(score, min_size=n, max_size=n))
    keys = {"tokens": tokens, "scores": scores, "token_type": SPM_TYPES + [NORMAL] * n, "add_space_prefix": False}
    tokenizer = load(tmp_path_factory.getbasetemp() / "spm.gguf", model="llama", **keys)
    score_of = dict(zip(tokens, scores, strict=True))
    for text in data.draw(st.lists(st.text("ab é", max_size=12), max_size=5)):
        assert [tokenizer.text(id) for id in tokenizer.encode(text)] == slow_spm(score_of, text)


def test_integer_scores(tmp_path):
    keys = {"model": "llama", "tokens": ["<unk>", "a", "b", "ab", "ba"], "add_space_prefix": False}
    for scores in ([0, 0, 0, -2, 1], [0.0, 0.0, 0.0, -2.0, 1.0]):
        assert load(tmp_path / "v.gguf", scores=scores, **keys).encode("bab") == [4, 2]


@given(TEXTS)
def test_round_trips(bpe, spm, text):
    for tokenizer in (bpe, spm):
        if tokenizer is bpe or "▁" not in text:  # SentencePiece has one sign for both
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text
            stream = tokenizer.stream()
            parts = [stream.feed(id) for id in ids]
            assert "\ufffd" in text or not any("\ufffd" in part for part in parts)
            assert ("".join(parts) + stream.finish()).removeprefix(" " * (tokenizer is spm)) == text


def test_stream_holds_back_half_characters(bpe):
    first, *others = [bpe.id(c) for c in ("ä", "\u00b8", "ĸ")]  # E4 B8 96
    stream = bpe.stream()
    assert [stream.feed(id) for id in (first, *others)] == ["", "", "世"]
    assert (stream.feed(first), stream.finish(), stream.finish()) == ("", "\ufffd", "")
    assert stream.feed(first) + stream.feed(bpe.id("a")) == "\ufffda"


def test_what_is_no_unicode(bpe, spm):
    for tokenizer in (bpe, spm):
        assert tokenizer.decode(tokenizer.encode("a\ud800b\0\ufeff")) == "a\ufffdb\0\ufeff"
        assert tokenizer.decode(tokenizer.encode("\ud83d\ude42")) == "🙂"
        assert tokenizer.decode(tokenizer.encode(b"a\xffb\xe4\xb8")) == "a\ufffdb\ufffd"
        assert tokenizer.encode("") == tokenizer.encode(b"") == []


def test_bos_stands_in_front_where_the_model_expects_it(tmp_path):
    keys = {"model": "llama", "tokens": SPM_TOKENS, "scores": [0.0] * 259, "token_type": SPM_TYPES}
    for wanted in (True, False):
        tokenizer = load(tmp_path / f"{wanted}.gguf", add_bos_token=wanted, **keys)
        assert tokenizer.bos == 1 and tokenizer.leading_bos == (1 if wanted else None)
        assert tokenizer.with_bos([5, 6]) == [1] * wanted + [5, 6] and tokenizer.with_bos([1]) == [1] * wanted + [1]


def test_space_prefix(tmp_path):
    tokens, scores = [*SPM_TOKENS, "▁", "a", "▁a", "<x>"], [0.0] * 263
    keys = {"model": "llama", "tokens": tokens, "scores": scores, "token_type": [*SPM_TYPES, 1, 1, 1, USER_DEFINED]}
    space, a, space_a, x = range(259, 263)
    yes, no = (load(tmp_path / f"{flag}.gguf", add_space_prefix=flag, **keys) for flag in (True, False))
    assert yes.encode("a<x>a a", add_bos=True) == [1, space_a, x, space_a, space_a]
    assert no.encode("a<x>a a", add_bos=True) == [1, a, x, a, space_a]
    assert yes.decode(yes.encode("a a", add_bos=True)) == no.decode(no.encode("a a")) == "a a"
    assert yes.decode([1, space_a], special=True) == "<s> a"
    assert space == yes.id("▁")


def slow_match(tokens: dict[str, int], text: str) -> list[str | int]:
    """The reference's way: each length in turn, longest first, in every stretch that is still text."""
    parts: list[str | int] = [text]
    for length in sorted({len(token) for token in tokens}, reverse=True):
        pattern = re.compile("(" + "|".join(re.escape(t) for t in tokens if len(t) == length) + ")")
        parts = [p for part in parts for p in ([part] if isinstance(part, int) else split(pattern, part, tokens))]
    return parts


def split(pattern, text, tokens):
    return [tokens[part] if i % 2 else part for i, part in enumerate(pattern.split(text)) if part]


SHORT = st.text("ab<", min_size=1, max_size=5)


@given(st.lists(SHORT, min_size=1, unique=True), st.lists(st.text("ab<", max_size=30), max_size=5))
@settings(max_examples=200)
@pytest.mark.thorough
def test_special_tokens_longest_first(tmp_path_factory, specials, texts):
    tokens = [*alphabet(), *specials]
    types = [NORMAL] * 256 + [(CONTROL, USER_DEFINED, UNKNOWN)[i % 3] for i in range(len(specials))]
    path = tmp_path_factory.getbasetemp() / "special.gguf"
    tokenizer = load(path, model="gpt2", pre="gpt-2", tokens=tokens, merges=["z z"], token_type=types)
    for special in (True, False):
        known = {t: 256 + i for i, t in enumerate(specials) if special or types[256 + i] == USER_DEFINED}
        for text in texts:
            expected = slow_match(known, text) if known else [text]
            flat = [id for p in expected for id in ([p] if isinstance(p, int) else [tokens.index(c) for c in p])]
            assert tokenizer.encode(text, special=special) == flat


def test_pieces_by_type(tmp_path):
    tokens = ["<unk>", "<ctl>", "Ġhi", "Ġuser", "Ġunused", "<0x41>", "<0xZZ>", "\u2028x", ""]
    types = [UNKNOWN, CONTROL, NORMAL, USER_DEFINED, UNUSED, BYTE, BYTE, NORMAL, NORMAL]
    tokenizer = load(tmp_path / "v.gguf", model="gpt2", pre="gpt-2", tokens=tokens, merges=["a b"], token_type=types)
    assert tokenizer.decode(range(9)) == " hiĠuserA<0xZZ>\u2028x"
    assert tokenizer.decode([0, 1], special=True) == "<unk><ctl>"
    assert [tokenizer.text(id) for id in (2, 8)] == ["Ġhi", "[EMPTY_8]"] and tokenizer.id("nothing") is None
    for id in (-1, 9, 2**31, 2**63, 2**64, True):
        with pytest.raises(ValueError, match="outside of the vocabulary, ids 0 to 8"):
            tokenizer.decode([id])
    with pytest.raises(TypeError):
        tokenizer.piece(1.0)


def test_end_of_generation(tmp_path):
    tokens = [*alphabet(), "</s>", "<|im_end|>", "[PAD]", "<fim_pad>", "<reponame>", "<mine>"]
    keys = {"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": ["a b"]}
    tokenizer = load(tmp_path / "v.gguf", **keys, token_type=[NORMAL] * 256 + [USER_DEFINED] * 6, eot_token_id=261)
    assert tokenizer.eog == {261}  # it is named, so that the others are text
    assert tokenizer.encode("</s><|im_end|>") == [256, 257] and tokenizer.decode([256]) == "</s>"
    tokenizer = load(tmp_path / "v.gguf", **keys, token_type=[NORMAL] * 256 + [USER_DEFINED] * 6)
    assert tokenizer.eog == {256, 257, 259, 260}  # none is named; one fim_pad: <fim_pad> comes before [PAD]
    assert tokenizer.decode([257, 258]) == "[PAD]"  # found by their text, they are control tokens from now on
    assert 257 not in tokenizer.encode("<|im_end|>") and tokenizer.encode("<|im_end|>", special=True) == [257]
    assert (tokenizer.bos, tokenizer.eos, tokenizer.add_bos, tokenizer.add_eos) == (None, None, False, False)
    types = [NORMAL] * 256 + [USER_DEFINED, CONTROL, CONTROL, USER_DEFINED, CONTROL, CONTROL]
    assert load(tmp_path / "v.gguf", **keys, token_type=types, eos_token_id=3).eog == {3, 257, 258, 260}
    assert load(tmp_path / "v.gguf", **keys, fim_pad_token_id=258, eos_token_id=3).eog == {3, 258}


def test_the_end_of_a_turn_that_the_template_writes_counts_whatever_its_type(tmp_path):
    tokens = [*alphabet(), "</s>", "<|im_end|>"]
    metadata = [("tokenizer.ggml.eos_token_id", U32, 256), ("tokenizer.chat_template", STR, "{{ m }}<|im_end|>")]
    metadata += [("tokenizer.ggml.model", STR, "gpt2"), ("tokenizer.ggml.pre", STR, "gpt-2")]
    types = [NORMAL] * 256 + [CONTROL, USER_DEFINED]
    arrays = {"tokens": tokens, "merges": ["a b"], "token_type": types}
    pairs = [pair(*each) for each in metadata] + [
        pair(f"tokenizer.ggml.{key}", *payload(value)) for key, value in arrays.items()
    ]
    (tmp_path / "v.gguf").write_bytes(gguf(pairs))
    tokenizer = load_tokenizer(GGUF.open(tmp_path / "v.gguf").metadata)
    assert tokenizer.eog == {256, 257} and not tokenizer.piece(257)


@pytest.mark.model
def test_html_is_text_for_gemma():
    tokenizer = load_tokenizer(GGUF.open(model_file("gemma3-270m")).metadata)
    assert tokenizer.encode("<s>x</s>") == [203, 236781, 212] and tokenizer.decode([212]) == "</s>"


def test_ids_beyond_the_vocabulary_are_taken_as_not_given(tmp_path, caplog):
    bpe = {"model": "gpt2", "pre": "gpt-2", "tokens": [*alphabet(), "<|im_end|>"], "merges": ["a b"]}
    spm = {"model": "llama", "tokens": SPM_TOKENS, "scores": [0.0] * 259, "token_type": SPM_TYPES}
    for keys, n, ends in ((bpe, 257, {256}), (spm, 259, {2})):
        plain = load(tmp_path / "v.gguf", **keys)
        for name in ("bos", "eos", "eot", "eom", "unknown", "fim_pad", "fim_rep", "fim_sep"):
            for id in (2**32 - 1, -1, n):
                caplog.clear()
                tokenizer = load(tmp_path / "v.gguf", **keys, **{f"{name}_token_id": id})
                assert (tokenizer.bos, tokenizer.eos, tokenizer.eog) == (plain.bos, plain.eos, ends)
                assert tokenizer.encode("a b") == plain.encode("a b")
                if keys is spm or name != "unknown":  # which byte-level vocabularies have no use for
                    assert caplog.text.count(f"tokenizer.ggml.{name}_token_id is {id}, but ids go up to {n - 1}") == 1


def test_one_bos_and_a_note(tmp_path, caplog):
    keys = {"model": "llama", "tokens": SPM_TOKENS, "scores": [0.0] * 259, "token_type": SPM_TYPES}
    tokenizer = load(tmp_path / "v.gguf", **keys)
    once = tokenizer.encode("<s>a", special=True)
    assert tokenizer.encode("a", add_bos=True)[0] == 1 and not caplog.text
    assert tokenizer.encode("<s>a", special=True, add_bos=True) == once and once.count(1) == 1
    assert "begins with the BOS token <s>: no second one" in caplog.text
    assert tokenizer.encode("<s>a", add_bos=True).count(1) == 1  # the text's own is text


@pytest.mark.parametrize("text", ["a", " ", "^", "世", "👩\u200d👧\u200d", "\u0301", "1", "  a", "\n", "<0x", "é"])
@pytest.mark.thorough
def test_long_texts_of_one_kind(bpe, spm, text):
    text *= 300_000 // len(text.encode())
    start = time.process_time()
    for tokenizer in (bpe, spm):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert time.process_time() - start < 10  # 0.1 to 1 s on an idle machine


@pytest.mark.parametrize("pre", ["tiny_aya", "superbpe", "afmoe", "deepseek-llm"])
@pytest.mark.thorough
def test_rules_that_look_ahead_look_at_a_text_once(pre):
    start = time.process_time()
    for text in ("1" * 100_000, "1" * 100_000 + "a", " " * 100_000 + "世"):
        assert sum(len(part) for part, _ in PreTokenizer(RULES[pre]).split(text)) == len(text)
    assert time.process_time() - start < 5  # 0.3 s on an idle machine; growing with the square: half a minute


@pytest.mark.parametrize("kind", ["bpe", "spm"])
def test_the_first_ids_are_those_of_the_whole_text(kind, request, monkeypatch):
    monkeypatch.setattr(pretokenizer, "CHUNK", 50)
    tokenizer, text = request.getfixturevalue(kind), "The ab aab of <s> it, and\nthe 12 ab. " * 40
    for special in (False, True):
        whole = tokenizer.encode(text, special=special)
        for limit in (0, 1, 7, 100, len(whole), len(whole) + 1):
            assert tokenizer.encode(text, special=special, limit=limit) == whole[:limit]


def test_of_a_huge_text_only_the_beginning_is_split(bpe, monkeypatch):
    split, parts = PreTokenizer.split, []

    def counted(self, text):
        for part in split(self, text):
            parts.append(part)
            yield part

    monkeypatch.setattr(PreTokenizer, "split", counted)
    bpe.encode("a word and another\n" * 100_000, limit=100)
    assert len(parts) == 1


def test_text_behind_text_gets_no_space_in_front(tmp_path):
    tokens = ["<unk>", "</s>", "<0x0A>", "\u2581", "a", "b", "\u2581a"]
    types = [2, 3, 6, 1, 1, 1, 1]
    tokenizer = load(
        tmp_path / "v.gguf", model="llama", tokens=tokens, token_type=types, scores=[0.0] * 7, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    assert tokenizer.encode("a") == tokenizer.encode("a", after=1) == [6]
    assert tokenizer.encode("a", after=5) == tokenizer.encode("a", after=2) == [4]
    with pytest.raises(ValueError, match="7"):
        tokenizer.encode("a", after=7)


def test_the_byte_alphabet_is_read_as_its_table_says() -> None:
    singles = [bytes([a]) for a in range(256)]
    tokens = [b"", *singles, *(a + b for a in singles for b in singles), "Ġthe naïve".encode(), "日".encode()]
    for token in tokens:
        codes = [ord(c) for c in token.decode("utf-8", "replace")]
        known = all(code in BYTE_OF for code in codes)
        assert from_byte_alphabet(token) == (bytes(BYTE_OF[code] for code in codes) if known else None), token

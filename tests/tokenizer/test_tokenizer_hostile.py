"""Broken and malicious vocabularies: refused in one line that names the place, or used without harm."""

import math
import struct

import pytest
from gguf_builder import I32, STR, U8, array
from vocabularies import CONTROL, SPM_TOKENS, SPM_TYPES, USER_DEFINED, alphabet, load

from subbyte.errors import FormatError, TokenizerError, UnsupportedError

BPE = {"model": "gpt2", "pre": "gpt-2", "tokens": [*alphabet(), "ab", "abc"], "merges": ["a b", "ab c"]}
SPM = {"model": "llama", "tokens": [*SPM_TOKENS, "a", "▁"], "scores": [0.0] * 261, "token_type": [*SPM_TYPES, 1, 1]}


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (BPE | {"model": "rwkv"}, UnsupportedError, "'rwkv', known are gpt2, llama, gemma4"),
        (BPE | {"model": None}, UnsupportedError, "known are gpt2, llama, gemma4"),
        (BPE | {"model": 7}, FormatError, "tokenizer.ggml.model"),
        (BPE | {"pre": "x" * 1000}, UnsupportedError, r"known are llama-bpe, .* and \d+ others;"),
        (BPE | {"tokens": None}, TokenizerError, "tokens is missing"),
        (BPE | {"tokens": array(STR, [])}, TokenizerError, "has 0 tokens"),
        (BPE | {"tokens": [1, 2]}, TokenizerError, "allowed is str"),
        (BPE | {"tokens": ["a", "b" * 65_537]}, TokenizerError, "tokens: item 1 of 2 is longer than 65536"),
        (BPE | {"tokens": "a"}, (FormatError, TokenizerError), "tokenizer.ggml.tokens"),
        (BPE | {"merges": None}, TokenizerError, "merges is missing"),
        (BPE | {"merges": [1, 2]}, TokenizerError, "allowed is str"),
        (BPE | {"merges": ["a b", "ab"]}, TokenizerError, "merges: item 1 of 2 is no pair"),
        (BPE | {"merges": ["a b", " b"]}, TokenizerError, "merges: item 1 of 2 is no pair"),
        (BPE | {"merges": [""]}, TokenizerError, "merges: item 0 of 1 is no pair"),
        (BPE | {"token_type": [1] * 257}, TokenizerError, "token_type has 257 values for 258 tokens"),
        (BPE | {"token_type": [1.0] * 258}, TokenizerError, "allowed is i32 or u32"),
        (BPE | {"token_type": array(U8, [1] * 258)}, TokenizerError, "allowed is i32 or u32"),
        (BPE | {"token_type": [1] * 257 + [999]}, TokenizerError, "token 257 has type 999"),
        (BPE | {"token_type": [1] * 257 + [-1]}, TokenizerError, "token 257 has type -1"),
        (BPE | {"tokens": ["a" * 257], "token_type": [CONTROL]}, TokenizerError, "special token 0 is longer"),
        (SPM | {"scores": None}, TokenizerError, "scores is missing"),
        (SPM | {"scores": [0.0]}, TokenizerError, "scores has 1 values for 261 tokens"),
        (SPM | {"scores": array(U8, [0] * 261)}, TokenizerError, "allowed is f32 or i32"),
        *((BPE | {f"{name}_token_id": id}, FormatError, f"tokenizer.ggml.{name}_token_id")
          for name in ("bos", "eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
          for id in ("a", 0.5)),
        (SPM | {"unknown_token_id": "a"}, FormatError, "unknown_token_id"),
        (BPE | {"add_bos_token": "yes"}, FormatError, "add_bos_token"),
    ],
)  # fmt: skip
def test_refused(tmp_path, keys, error, message):
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "v.gguf", **keys)
    assert "v.gguf" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_no_pre_is_the_default_rule(tmp_path, caplog):
    assert load(tmp_path / "v.gguf", **BPE | {"pre": None}).encode("abc") == [257]
    assert "no tokenizer.ggml.pre" in caplog.text


def test_duplicate_and_empty_tokens(tmp_path):
    tokenizer = load(tmp_path / "v.gguf", **BPE | {"tokens": [*alphabet(), "ab", "ab", "", ""]})
    assert tokenizer.encode("ab") == [256] and tokenizer.id("ab") == 256 and tokenizer.id("") is None
    types = [1] * 256 + [USER_DEFINED] * 4
    tokenizer = load(tmp_path / "v.gguf", **BPE | {"tokens": [*alphabet(), "ab", "ab", "", ""], "token_type": types})
    assert tokenizer.decode(tokenizer.encode("xabab")) == "xabab"


def test_tokens_that_are_no_utf8(tmp_path):
    tokens = [*SPM_TOKENS, b"\xff", b"\xe4\xb8", b"a\xc3", "▁"]
    keys = {"scores": [0.0] * 263, "token_type": [*SPM_TYPES, 1, USER_DEFINED, USER_DEFINED, 1]}
    tokenizer = load(tmp_path / "v.gguf", model="llama", tokens=tokens, add_space_prefix=False, **keys)
    assert tokenizer.decode([259, 260]) == "\ufffd\ufffd" and tokenizer.text(259) == "\ufffd"
    assert tokenizer.decode(tokenizer.encode("世é aé世")) == "世é aé世"  # two of them match half a character
    stream = tokenizer.stream()
    assert stream.feed(260) == "" and stream.feed(259) == "\ufffd\ufffd" and stream.finish() == ""


def test_merges_of_unknown_pieces_duplicates_and_circles(tmp_path):
    merges = ["q q", "a b", "a b", "b a", "ab ab", "nothing here", "a  b", "a b c", "c ", "ab a"]
    tokenizer = load(tmp_path / "v.gguf", **BPE | {"merges": merges})
    for text in ("abab", "qq", "baba" * 50, "c c "):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("scores", [[math.nan] * 261, [math.inf, -math.inf, math.nan] * 87, [-0.0, 0.0, 1e-45] * 87])
def test_scores_of_any_value(tmp_path, scores):
    tokenizer = load(tmp_path / "v.gguf", **SPM | {"scores": scores})
    assert tokenizer.decode(tokenizer.encode("aa  a a")) == "aa  a a"


def test_spm_without_byte_tokens(tmp_path):
    tokens = ["<unk>", "a", "<0xZZ>", "<0x-1>", "▁"]
    tokenizer = load(tmp_path / "v.gguf", model="llama", tokens=tokens, scores=[0.0] * 5, token_type=[2, 1, 6, 6, 1])
    assert tokenizer.encode("a é") == [4, 1, 4, 0, 0]
    assert tokenizer.decode([2, 3]) == "<0xZZ><0x-1>"
    assert (tokenizer.bos, tokenizer.eos) == (1, 2)


def test_default_ids_beyond_the_vocabulary_are_none(tmp_path):
    tokenizer = load(tmp_path / "v.gguf", model="llama", tokens=["a"], scores=[0.0])
    assert (tokenizer.bos, tokenizer.eos, tokenizer.eog) == (None, None, frozenset())
    assert tokenizer.encode("a", add_bos=True) == [0] * 4  # id 0 also stands for the bytes of the space before it


def test_arrays_of_other_widths_are_not_read_as_theirs(tmp_path):
    data = array(I32, [0]) + struct.pack("<i", 7)  # the array is followed by bytes that are no part of it
    with pytest.raises((FormatError, TokenizerError)):
        load(tmp_path / "v.gguf", **BPE | {"token_type": data})


def test_thousands_of_special_tokens(tmp_path):
    tokens = [*alphabet(), *(f"<special {i}>" for i in range(20_000))]
    types = [1] * 256 + [CONTROL] * 20_000
    tokenizer = load(tmp_path / "v.gguf", **BPE | {"tokens": tokens, "token_type": types})
    text = "".join(f"x<special {i % 20_000}>" for i in range(50_000))
    assert tokenizer.encode(text, special=True)[1::2] == [256 + i % 20_000 for i in range(50_000)]

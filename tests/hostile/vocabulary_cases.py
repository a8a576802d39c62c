"""Vocabularies that are damaged, do not fit their model, or are none."""

import math
from typing import Any

from gguf_builder import ARR, F64, I32, STR, U8, U32, U64, array, u32, u64
from hostile import metadata, section
from tiny_models import MERGES, N_VOCAB, byte_alphabet

from subbyte.errors import FormatError, TokenizerError, UnsupportedError

TOKENS = [*byte_alphabet(), *("".join(merge.split()) for merge in MERGES), "<|bos|>", "<|im_end|>"]
TYPES = [1] * 266 + [3, 3]
BPE: list[tuple[Any, ...]] = [
    ("model rwkv", {"model": "rwkv"}, UnsupportedError, "'rwkv', known are gpt2, llama"),
    ("no model", {"model": None}, UnsupportedError, "known are gpt2, llama"),
    ("model of a number", {"model": 7}, FormatError, "tokenizer.ggml.model"),
    ("model in capitals", {"model": "GPT2"}, UnsupportedError, "known are gpt2"),
    ("model of escapes", {"model": "\x1b[2J"}, UnsupportedError, "known are"),
    ("an unknown rule", {"pre": "x" * 1000}, UnsupportedError, "known are llama-bpe"),
    ("a rule of a number", {"pre": 3}, FormatError, "tokenizer.ggml.pre"),
    ("no rule", {"pre": None}, None),
    ("no tokens", {"tokens": None}, TokenizerError, "tokens is missing"),
    ("zero tokens", {"tokens": (ARR, array(STR, []))}, TokenizerError, "has 0 tokens"),
    ("tokens of numbers", {"tokens": [1, 2]}, TokenizerError, "allowed is str"),
    ("tokens of one text", {"tokens": "a"}, FormatError, "tokenizer.ggml.tokens"),
    ("a token of 65537 bytes", {"tokens": [*TOKENS[:-1], "b" * 65_537]}, TokenizerError, "is longer than 65536"),
    ("one token less", {"tokens": TOKENS[:-1], "token_type": TYPES[:-1]}, FormatError),
    ("one token more", {"tokens": [*TOKENS, "x"], "token_type": [*TYPES, 1]}, FormatError),
    ("a token twice", {"tokens": [*TOKENS[:265], "th", *TOKENS[266:]]}, None),
    ("an empty token", {"tokens": [*TOKENS[:265], "", *TOKENS[266:]]}, None),
    ("a token that is no UTF-8", {"tokens": (ARR, array(STR, [*TOKENS[:265], b"\xff\xfe", *TOKENS[266:]]))}, None),
    ("an empty control token", {"tokens": [*TOKENS[:266], "", ""]}, None),
    ("tokens of escapes", {"tokens": [*TOKENS[:265], "\x1b[2J\x1b]0;x\a", *TOKENS[266:]]}, None),
    ("no merges", {"merges": None}, TokenizerError, "merges is missing"),
    ("merges of numbers", {"merges": [1, 2]}, TokenizerError, "allowed is str"),
    ("a merge of one piece", {"merges": ["a b", "ab"]}, TokenizerError, "merges: item 1 of 2 is no pair"),
    ("a merge that begins with its space", {"merges": ["a b", " b"]}, TokenizerError, "item 1 of 2 is no pair"),
    ("an empty merge", {"merges": [""]}, TokenizerError, "merges: item 0 of 1 is no pair"),
    ("zero merges", {"merges": (ARR, array(STR, []))}, None),
    ("merges of unknown pieces", {"merges": ["q q", "nothing here", "a  b", "a b c", "c "]}, None),
    ("merges in a circle", {"merges": ["a b", "b a", "ab ab", "ab a"]}, None),
    ("a merge 10,000 times", {"merges": ["t h"] * 10_000}, None),
    ("types too few", {"token_type": TYPES[:-1]}, TokenizerError, "token_type has 267 values for 268 tokens"),
    ("types too many", {"token_type": [*TYPES, 1]}, TokenizerError, "token_type has 269 values for 268 tokens"),
    ("no types", {"token_type": None}, None),
    ("types of floats", {"token_type": [1.0] * N_VOCAB}, TokenizerError, "allowed is i32 or u32"),
    ("types of bytes", {"token_type": (ARR, array(U8, TYPES))}, TokenizerError, "allowed is i32 or u32"),
    ("types of u64", {"token_type": (ARR, array(U64, TYPES))}, TokenizerError, "allowed is i32 or u32"),
    ("types of u32", {"token_type": (ARR, array(U32, TYPES))}, None),
    ("a type of 999", {"token_type": [*TYPES[:-1], 999]}, TokenizerError, "token 267 has type 999"),
    ("a type of -1", {"token_type": [*TYPES[:-1], -1]}, TokenizerError, "token 267 has type -1"),
    ("a type of 0", {"token_type": [*TYPES[:-1], 0]}, None),
    ("all tokens control", {"token_type": [3] * N_VOCAB}, None),
    ("all tokens unused", {"token_type": [5] * N_VOCAB}, None),
    ("all tokens user-defined", {"token_type": [4] * N_VOCAB}, None),
    ("a long control token", {"tokens": [*TOKENS[:-1], "a" * 257]}, TokenizerError, "special token 267 is longer"),
    ("a BOS of text", {"bos_token_id": "a"}, FormatError, "bos_token_id"),
    ("an EOS of a fraction", {"eos_token_id": 0.5}, FormatError, "eos_token_id"),
    ("an EOS of many", {"eos_token_id": [1, 2]}, FormatError, "eos_token_id"),
    ("BOS and EOS the same", {"bos_token_id": 5, "eos_token_id": 5}, None),
    ("no BOS, no EOS", {"bos_token_id": None, "eos_token_id": None}, None),
    ("add_bos of text", {"add_bos_token": "yes"}, FormatError, "add_bos_token"),
    ("add_bos without a BOS", {"add_bos_token": True, "bos_token_id": None}, None),
    ("scores that nobody needs", {"scores": [math.nan] * 3}, None),
    ("tokens that claim 2^40", {"tokens": (ARR, u32(STR) + u64(2**40) + bytes(40))}, FormatError, "needs at least"),
    ("types of f64", {"token_type": (ARR, array(F64, [1.0] * N_VOCAB))}, TokenizerError, "allowed is i32 or u32"),
]  # fmt: skip

SPM = {"model": "llama", "merges": None, "pre": None}
SPM_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"abcdef", "▁", "▁t", "th"]
SPM_TYPES = [2, 3, 3] + [6] * 256 + [1] * 9
SCORES = [0.0] * N_VOCAB
WHOLE = {**SPM, "tokens": SPM_TOKENS, "token_type": SPM_TYPES, "scores": SCORES, "bos_token_id": 1, "eos_token_id": 2}
SENTENCEPIECE: list[tuple[Any, ...]] = [
    ("sound", {}, None),
    ("no scores", {"scores": None}, TokenizerError, "scores is missing"),
    ("scores too few", {"scores": [0.0]}, TokenizerError, "scores has 1 values for 268 tokens"),
    ("scores of bytes", {"scores": (ARR, array(U8, [0] * N_VOCAB))}, TokenizerError, "allowed is f32 or i32"),
    ("scores that are none", {"scores": [math.nan] * N_VOCAB}, None),
    ("scores without end", {"scores": [math.inf, -math.inf] * 134}, None),
    ("scores of integers", {"scores": (ARR, array(I32, [0] * N_VOCAB))}, None),
    ("no byte tokens", {"token_type": [2, 3, 3] + [1] * 265}, None),
    ("byte tokens that are none", {"tokens": [*SPM_TOKENS[:3], *["<0xZZ>", "<0x-1>"] * 128, *SPM_TOKENS[259:]]}, None),
    ("byte tokens twice", {"tokens": [*SPM_TOKENS[:3], *["<0x41>"] * 256, *SPM_TOKENS[259:]]}, None),
    ("no unknown token", {"token_type": [1, *SPM_TYPES[1:]]}, None),
    ("a space prefix of text", {"add_space_prefix": "yes"}, FormatError, "add_space_prefix"),
]  # fmt: skip

# Gemma 4's: merges over characters; neither a rule nor scores are read.
CHARACTERS: list[tuple[Any, ...]] = [
    ("sound", {}, None),
    ("no merges", {"merges": None}, TokenizerError, "merges is missing"),
    ("merges of numbers", {"merges": [1, 2]}, TokenizerError, "allowed is str"),
    ("a merge of one", {"merges": ["t h", "th"]}, TokenizerError, "merges: item 1 of 2 is no pair"),
    ("merges of newlines and spaces", {"merges": ["\n \n", "\n\n \n", "▁  ", "  ▁"]}, None),
    ("merges that make no token", {"merges": ["a b", "ab c", "▁ a", "a ▁"]}, None),
    ("merges that are no UTF-8", {"merges": (ARR, array(STR, [b"\xe2 \x96\x81", b"\xff \xff"]))}, None),
    ("scores that are none", {"scores": [math.nan] * N_VOCAB}, None),
    ("a rule of a number", {"pre": 3}, None),
    ("no byte tokens", {"token_type": [2, 3, 3] + [1] * 265}, None),
    ("no BOS", {"bos_token_id": None}, None),
]  # fmt: skip
GEMMA4 = {**WHOLE, "model": "gemma4", "merges": ["▁ t", "t h", "a b"], "scores": None}

SPECIAL_IDS = ("bos", "eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
OTHER_IDS = ("unknown", "padding", "seperator", "mask", "cls", "fim_pre", "fim_suf", "fim_mid")  # which nobody reads
NO_IDS: dict[str, Any] = {"-1": -1, "n_vocab": N_VOCAB, "2^32-1": 2**32 - 1, "2^63": (U64, u64(2**63))}
NO_NUMBERS: dict[str, Any] = {"of text": "1", "of many": [1, 2], "of a fraction": 1.0, "of a bool": True}
IDS: list[tuple[Any, ...]] = [
    *[(f"{name} {what}", {f"{name}_token_id": id}, None) for name in SPECIAL_IDS for what, id in NO_IDS.items()],
    *[(f"{name} {what}", {f"{name}_token_id": id}, FormatError, f"{name}_token_id")
      for name in SPECIAL_IDS for what, id in NO_NUMBERS.items()],
    *[(f"{name} {what}", {f"{name}_token_id": id}, None)
      for name in OTHER_IDS for what, id in {"-1": -1, "n_vocab": N_VOCAB, "of text": "1"}.items()],
]  # fmt: skip


def _case(what: str, changes: dict[str, Any], *end: Any) -> tuple[Any, ...]:
    return what, metadata({f"tokenizer.ggml.{key}": value for key, value in changes.items()}), *end


CASES = [
    *section("V", [_case(*case) for case in BPE]),
    *section("K", [_case(*case) for case in IDS]),
    *section("Q", [_case(what, {**GEMMA4, **changes}, *end) for what, changes, *end in CHARACTERS]),
    *section("W", [_case(what, {**WHOLE, **changes}, *end) for what, changes, *end in SENTENCEPIECE]),
]

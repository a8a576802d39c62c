"""Pre-tokenization: splits text into the pieces that byte-level BPE merges inside, by `tokenizer.ggml.pre`.

The expressions of a rule are applied in turn, each to every piece that the ones before it left; what an expression does
not match stays as a piece. Merges never cross pieces, so these rules decide the token ids as much as the merges do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from unicodedata import is_normalized

if TYPE_CHECKING:
    from tokenizers import normalizers, pre_tokenizers

DIGIT = r"\p{N}"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LEAD = r"[^\r\n\p{L}\p{N}]?"  # a space or one other character that goes with the word after it
_WORDS = rf"{_CONTRACTION}|{_LEAD}\p{{L}}+"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_WORDS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}"
QWEN2 = rf"{_WORDS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}"
# Letters but a-z, then letters but A-Z: any other letter counts as both capital and small.
_CAPITALS, _SMALL = r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]"
_SIGNS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}"
# As QWEN2, with combining marks as letters.
QWEN35 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_REST}"
TEKKEN = rf"{_LEAD}{_CAPITALS}*{_SMALL}+|{_LEAD}{_CAPITALS}+{_SMALL}*|\p{{N}}|{_SIGNS}"
# Here a contraction is the end of its word.
GPT4O = (
    rf"{_LEAD}{_CAPITALS}*{_SMALL}+{_CONTRACTION}?|{_LEAD}{_CAPITALS}+{_SMALL}*{_CONTRACTION}?|\p{{N}}{{1,3}}|{_SIGNS}"
)

CHUNK = (
    8192  # characters: small enough to stay in the cache, which makes the cutting 2.5 times as fast as on 1 MB at once
)
# Every rule cuts where a run of letters ends (GPT4O not before an apostrophe), so a text may be handed over in parts.
_SAFE_CUT = re.compile(r"[A-Za-z](?=[\t-&(-@\[-`{-~])")


@dataclass(frozen=True)
class SplitRule:
    """How a family of byte-level vocabularies is used.

    expressions:   Oniguruma expressions, in the order they are applied
    ignore_merges: a piece that is a token as a whole is taken as it is
    add_bos:       what a file without `tokenizer.ggml.add_bos_token` means
    nfc:           text is normalized before it is split: letters with marks become the composed characters
    """

    expressions: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    nfc: bool = False


# The names that llama.cpp gives these rules (src/llama-vocab.cpp), but for those of embedding models.
_NAMES = {
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2": SplitRule(
        (LLAMA3,), ignore_merges=True, add_bos=True
    ),
    "dbrx smaug-bpe glm4 chatglm-bpe": SplitRule((LLAMA3,)),
    "qwen2 deepseek-r1-qwen": SplitRule((QWEN2,), nfc=True),
    "qwen35": SplitRule((QWEN35,), nfc=True),
    "kormo megrez stablelm2 hunyuan solar-open grok-2": SplitRule((QWEN2,)),
    "smollm starcoder refact exaone codeshell minerva-7b mellum2": SplitRule((DIGIT, GPT2)),
    "command-r": SplitRule((DIGIT, GPT2), nfc=True),
    "gpt-2 phi-2 exaone4 gigachat a.x-4.0 mellum jais trillion granite-docling": SplitRule((GPT2,)),
    "mpt olmo": SplitRule((GPT2,), nfc=True),  # the vocabulary of GPT-NeoX
    "gpt-4o llama4 kanana2 talkie minimax-m2": SplitRule((GPT4O,)),
    "tekken": SplitRule((TEKKEN,), ignore_merges=True, add_bos=True),
    "default": SplitRule((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
}
RULES = {name: rule for names, rule in _NAMES.items() for name in names.split()}


class PreTokenizer:
    """Splits text by a rule. The `tokenizers` package is imported with the first text."""

    def __init__(self, rule: SplitRule) -> None:
        self.rule = rule

    @cached_property
    def _sequence(self) -> pre_tokenizers.PreTokenizer:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import Digits, Sequence, Split

        def step(expression: str) -> pre_tokenizers.PreTokenizer:
            return Digits(individual_digits=True) if expression == DIGIT else Split(Regex(expression), "isolated")

        return Sequence([step(expression) for expression in self.rule.expressions])

    @cached_property
    def _nfc(self) -> normalizers.Normalizer:
        from tokenizers.normalizers import NFC

        return NFC()

    def _normalized(self, text: str) -> str:
        """`text` as the rule wants it; the version of Unicode that counts is that of `tokenizers`, not Python's."""
        if not self.rule.nfc or is_normalized("NFC", text):  # nearly all texts are: looking is 100 times as fast
            return text
        return self._nfc.normalize_str(text)

    def split(self, text: str) -> Iterator[tuple[str, list[tuple[str, tuple[int, int]]]]]:
        """Pairs of a part of the normalized text and its pieces as (piece, (begin, end in characters of the part))."""
        text = self._normalized(text)
        begin = 0
        while begin < len(text):
            safe = _SAFE_CUT.search(text, begin + CHUNK)
            part = text[begin : safe.end() if safe else len(text)]
            yield part, self._sequence.pre_tokenize_str(part)
            begin += len(part)

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
_SIGNS = r" ?[^\s\p{L}\p{N}]+"
_SPACES = r"\s+(?!\S)|\s+"
_REST = rf"\s*[\r\n]+|{_SPACES}"
LLAMA3 = rf"{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}[\r\n]*|{_REST}"
QWEN2 = rf"{_WORDS}|\p{{N}}|{_SIGNS}[\r\n]*|{_REST}"
# As QWEN2, with combining marks as letters.
QWEN35 = rf"{_CONTRACTION}|{_LEAD}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_REST}"
BAILING = rf"{_WORDS}|\p{{N}}|{_SIGNS}[\r\n]*|\s*[\r\n]|{_SPACES}"
SEED = rf"{_WORDS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_REST}"
MINICPM = rf"{_WORDS}|\p{{N}}+|{_SIGNS}[\r\n]*|{_REST}"
# Words with one space between them are one piece.
EXAONE_MOE = (
    rf"{_CONTRACTION}|{_LEAD}(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}|{_SIGNS}[\r\n/]?|\s*[\r\n]|{_SPACES}"
)


def _cased(but: str = "", ending: str = "") -> str:
    """Words as runs of capitals and then of small letters; letters without case and marks count as both.

    but: what is no letter of a word, as an intersection of character classes. ending: what may follow a word.
    """
    capital, small = rf"[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}{but}]", rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}{but}]"
    return rf"{_LEAD}{capital}*{small}+{ending}|{_LEAD}{capital}+{small}*{ending}"


TEKKEN = rf"{_cased()}|\p{{N}}|{_SIGNS}[\r\n/]*|{_REST}"
# Here a contraction is the end of its word.
GPT4O = rf"{_cased(ending=_CONTRACTION + '?')}|\p{{N}}{{1,3}}|{_SIGNS}[\r\n/]*|{_REST}"
YOUTU = rf"{_cased(ending=_CONTRACTION + '?')}|\p{{N}}|{_SIGNS}[\r\n/]*|{_REST}"
_KIMI_WORDS = _cased(but=r"&&[^\p{Han}]", ending=_CONTRACTION + "?")
KIMI = rf"\p{{Han}}+|{_KIMI_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}[\r\n]*|{_REST}"

_THREE_DIGITS = r"\p{N}{1,3}"
# Groups of three from the right, in steps that look at a number once and not once for each of its digits: first what is
# left of the last whole group, then the groups.
_AFMOE_DIGITS = (r"(?<!\p{N})\p{N}{1,2}(?=(?:\p{N}{3})+(?!\p{N}))", _THREE_DIGITS)
_AYA_DIGITS = (r"(?<!\d)\d{1,2}(?=(?:\d{3})+\b)", r"(?<!\d)\d++\b")  # GPT4O makes the groups; no number before a letter
_GROUPS = r"(?=(?:\d{3})+(?!\d))"
_SUPERBPE_DIGITS = (rf"(?<!\d){_GROUPS}|(?<=\A\d|\D\d){_GROUPS}|(?<=\A\d\d|\D\d\d){_GROUPS}", r"\d{3}(?=\d)")
_HAN_AND_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_WORDS_AND_MARKS = r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
DEEPSEEK3 = rf"{_WORDS_AND_MARKS}[\r\n]*|{_REST}"
SPARK = rf"{_WORDS_AND_MARKS}|[\r\n]|{_SPACES}"
# Letters with case as of Unicode 12, but for Georgian small ones.
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
    "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4"
    "\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d"
    "\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a"
    "\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
DEEPSEEK = ("[\r\n]", rf"\s?[{_DEEPSEEK_LETTERS}]+", _DEEPSEEK_SIGNS, r"(?<!\s)\s++$", _DEEPSEEK_CJK, DIGIT)
DEEPSEEK_CODER = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_CJK, DIGIT)
# Han, Kana, Thai, Lao, Khmer, Myanmar, Hangul.
_AFMOE_SCRIPTS = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f"
    "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_YOUTU_SCRIPTS = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
    "|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
)

CHUNK = (
    8192  # characters: small enough to stay in the cache, which makes the cutting 2.5 times as fast as on 1 MB at once
)
# Nearly every rule cuts where a run of letters ends (GPT4O not before an apostrophe), so a text may be handed over in
# parts; EXAONE_MOE not before a space, and "superbpe" knows nothing but digits.
_WORD_END = re.compile(r"[A-Za-z](?=[\t-&(-@\[-`{-~])")
_PHRASE_END = re.compile(r"[A-Za-z](?=[\t-\r!-&(-@\[-`{-~])")
_BEFORE_DIGIT = re.compile(r"[A-Za-z](?=[0-9])")


@dataclass(frozen=True)
class SplitRule:
    """How a family of byte-level vocabularies is used.

    expressions:   Oniguruma expressions, in the order they are applied
    ignore_merges: a piece that is a token as a whole is taken as it is
    add_bos:       what a file without `tokenizer.ggml.add_bos_token` means
    nfc:           text is normalized before it is split: letters with marks become the composed characters
    cut:           where a piece ends, whatever follows
    """

    expressions: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    nfc: bool = False
    cut: re.Pattern[str] = _WORD_END


# The names that llama.cpp gives these rules (src/llama-vocab.cpp), but for those of embedding models. The expressions
# are the vendors', which llama.cpp simplifies here and there: capitals beyond ASCII, marks, digits.
_NAMES = {
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2": SplitRule(
        (LLAMA3,), ignore_merges=True, add_bos=True
    ),
    "dbrx smaug-bpe chatglm-bpe": SplitRule((LLAMA3,)),
    "glm4 glm5": SplitRule((LLAMA3,), ignore_merges=True),
    "qwen2 deepseek-r1-qwen hunyuan": SplitRule((QWEN2,), nfc=True),
    "qwen35": SplitRule((QWEN35,), nfc=True),
    "kormo megrez stablelm2 solar-open grok-2": SplitRule((QWEN2,)),
    "laguna": SplitRule((r"[^\n]+|\n+", QWEN2)),
    "bailingmoe bailingmoe2 llada-moe": SplitRule((BAILING,)),
    "seed-coder": SplitRule((SEED,)),
    "minicpm5": SplitRule((_THREE_DIGITS, MINICPM), ignore_merges=True),
    "exaone-moe": SplitRule((EXAONE_MOE,), cut=_PHRASE_END),
    "smollm starcoder refact exaone codeshell minerva-7b mellum2": SplitRule((DIGIT, GPT2)),
    "command-r": SplitRule((DIGIT, GPT2), nfc=True),
    "gpt-2 phi-2 exaone4 gigachat a.x-4.0 mellum jais trillion granite-docling": SplitRule((GPT2,)),
    "mpt olmo": SplitRule((GPT2,), nfc=True),  # the vocabulary of GPT-NeoX
    "gpt-4o llama4 kanana2 talkie minimax-m2": SplitRule((GPT4O,)),
    "tiny_aya cohere2moe": SplitRule((*_AYA_DIGITS, GPT4O)),
    "youtu": SplitRule((_YOUTU_SCRIPTS, YOUTU), ignore_merges=True),
    "kimi-k2": SplitRule((KIMI,)),
    "tekken": SplitRule((TEKKEN,), ignore_merges=True, add_bos=True),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": SplitRule((_THREE_DIGITS, _HAN_AND_KANA, DEEPSEEK3)),
    "spark2_5": SplitRule((_THREE_DIGITS, _HAN_AND_KANA, SPARK, DIGIT)),
    "afmoe": SplitRule((*_AFMOE_DIGITS, _AFMOE_SCRIPTS, DEEPSEEK3)),
    "deepseek-llm": SplitRule(DEEPSEEK),
    "deepseek-coder": SplitRule(DEEPSEEK_CODER),
    "superbpe": SplitRule((r"\p{N}+", *_SUPERBPE_DIGITS), cut=_BEFORE_DIGIT),
    "falcon": SplitRule((r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9]+", r"[0-9][0-9][0-9]")),
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
            safe = self.rule.cut.search(text, begin + CHUNK)
            part = text[begin : safe.end() if safe else len(text)]
            yield part, self._sequence.pre_tokenize_str(part)
            begin += len(part)

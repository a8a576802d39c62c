"""BPE by the rank of merges: `tokenizer.ggml.model` "gpt2", over bytes, and "gemma4", over characters."""

import re

from subbyte.runtime.tokenizer._vocabulary import Vocabulary, from_byte_alphabet
from subbyte.runtime.tokenizer.pretokenizer import PreTokenizer, SplitRule
from subbyte.runtime.tokenizer.sentencepiece import SPACE


def _byte_alphabet() -> dict[int, int]:
    """Code points of the byte alphabet to bytes: printable Latin-1 is itself, the other 68 follow from U+0100."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: byte for byte in printable} | {256 + i: byte for i, byte in enumerate(hidden)}


BYTE_OF = _byte_alphabet()


class ByteLevelBPE:
    """Text is split by a rule; in each piece the bytes are merged by the rank of their pair."""

    add_space_prefix = False

    def __init__(self, vocabulary: Vocabulary, rule: SplitRule) -> None:
        self.vocabulary = vocabulary
        self._pre_tokenizer = PreTokenizer(rule)

    def encode(self, text: bytes, *, first: bool, limit: int | None = None) -> list[int]:
        """Token ids of text without special tokens; where it stands (`first`) makes no difference to this kind.

        limit: if there are so many, the first of them are enough.
        """
        ids: list[int] = []
        for part, pieces in self._pre_tokenizer.split(text.decode("utf-8", "replace")):
            ids += self.vocabulary.bpe(part, pieces)
            if limit is not None and len(ids) >= limit:
                break
        return ids

    def unescape(self, token: bytes) -> bytes:
        """Bytes that a normal token stands for; what is not of the byte alphabet stands for itself."""
        if (found := from_byte_alphabet(token)) is not None:
            return found
        text = token.decode("utf-8", "replace")
        return b"".join(bytes([BYTE_OF[ord(c)]]) if ord(c) in BYTE_OF else c.encode() for c in text)


PART = 1 << 16  # bytes
_LINE_END = re.compile(rb"[^\n](?=\n)")


class CharacterBPE:
    """Gemma 4's: characters are merged by the rank of their pair, spaces being U+2581, as far as a line reaches.

    Runs of newlines are pieces of their own, tokens as a whole where there are such; bytes of what is no token have
    `<0xHH>` ones.
    """

    add_space_prefix = False

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def encode(self, text: bytes, *, first: bool, limit: int | None = None) -> list[int]:
        """Token ids of UTF-8 text without special tokens, as for byte-level BPE."""
        ids: list[int] = []
        begin = 0
        while begin < len(text) and (limit is None or len(ids) < limit):
            line = _LINE_END.search(text, begin + PART)
            end = line.end() if line else len(text)
            ids += self.vocabulary.spm(text[begin:end].replace(b" ", SPACE))
            begin = end
        return ids

    def unescape(self, token: bytes) -> bytes:
        """Bytes that a normal token stands for."""
        return token.replace(SPACE, b" ")

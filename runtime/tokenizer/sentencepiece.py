"""SentencePiece-style BPE: `tokenizer.ggml.model` "llama"."""

from subbyte.runtime.tokenizer._vocabulary import Vocabulary

SPACE = "\u2581".encode()  # how tokens write a space


class SentencePiece:
    """Characters are merged into the token with the highest score; bytes without a token have `<0xHH>` ones."""

    def __init__(self, vocabulary: Vocabulary, add_space_prefix: bool) -> None:
        self.vocabulary = vocabulary
        self.add_space_prefix = add_space_prefix

    def encode(self, text: bytes, *, first: bool, limit: int | None = None) -> list[int]:
        """Token ids of UTF-8 text without special tokens; `first`: nothing or a special token comes before it.

        limit: as for byte-level BPE, but here a merge may depend on all the text, so all of it is encoded.
        """
        if self.add_space_prefix and first:
            text = b" " + text
        return self.vocabulary.spm(text.replace(b" ", SPACE))

    def unescape(self, token: bytes) -> bytes:
        """Bytes that a normal token stands for."""
        return token.replace(SPACE, b" ")

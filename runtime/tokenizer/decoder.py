"""Detokenization: from token ids back to text, whole or streamed."""

import codecs
import re
from collections.abc import Callable

from subbyte.runtime.tokenizer._vocabulary import BYTE, CONTROL, UNKNOWN, UNUSED, USER_DEFINED

_BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


def piece_of(token: bytes, type: int, unescape: Callable[[bytes], bytes], special: bool) -> bytes:
    """The bytes a token adds to a text; they may be a part of a character. `special` shows control tokens."""
    if type in (CONTROL, UNKNOWN):
        return token if special else b""
    if type == UNUSED:
        return b""
    if type == USER_DEFINED:
        return token
    if type == BYTE and (byte := _BYTE_TOKEN.fullmatch(token)):
        return bytes([int(byte[1], 16)])
    return unescape(token)


class StreamDecoder:
    """Turns tokens into text as they come; a character whose bytes come in several tokens is shown when it is whole."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, id: int) -> str:
        """The text that this token completes: maybe none. Bytes that can't be UTF-8 become U+FFFD."""
        return self._decoder.decode(self._piece(id))

    def finish(self) -> str:
        """U+FFFD if the last character was left unfinished, else nothing; the decoder may then be used again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest

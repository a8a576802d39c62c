"""Special tokens: finding them in a text, and those that end a generation."""

import logging
import re
from collections.abc import Iterator
from itertools import chain

from subbyte.errors import TokenizerError
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.values import INTEGERS, STRING
from subbyte.runtime.tokenizer._vocabulary import CONTROL, UNKNOWN, USER_DEFINED, Vocabulary

_log = logging.getLogger(__name__)

# Tokens with these texts end a generation, where `find_eog` says that texts count.
EOG_TEXTS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<\uff5cend▁of▁sentence\uff5c>", "[e~[",
)  # fmt: skip
# Where the file does not name the token by its key, the first of these texts that counts is it.
FIM_TEXTS = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
# Where both of a pair end a generation, <|end|> ends one message of a reply: gpt-oss, Solar-Open.
MESSAGE_END = "<|end|>"
REPLY_ENDS = (("<|return|>", "<|call|>"), ("<|flush|>", "<|calls|>"))
KEEPS_SPACE = (b"<unk>", b"<s>", b"<|endoftext|>")
SPACE = re.compile(rb"\s*")


def find_eog(metadata: Metadata, vocabulary: Vocabulary, eos: int | None, *, named: bool) -> frozenset[int]:
    """The ids of all end-of-generation tokens.

    A text alone makes none: Gemma's `</s>` is HTML's. It counts for a control token; for others, which are made control
    tokens by it, only where the file names no end, or the chat template writes it: some files type the end of a turn as
    text, which would show it to users. The end of a message that others follow is none. named: whether `eos` is what
    the file says.
    """

    def counts(text: str) -> bool:
        id = vocabulary.find(text.encode())
        return id is not None and (vocabulary.type(id) == CONTROL or not named or text.encode() in template)

    ids = {name: token_id(metadata, vocabulary, name) for name in ("eot", "eom", *FIM_TEXTS)}
    named = named or ids["eot"] is not None or ids["eom"] is not None
    written = metadata.entries.get("tokenizer.chat_template")
    template = bytes(written.data) if written is not None and written.type == STRING else b""
    eog = {id for id in (eos, *ids.values()) if id is not None}
    by_text = [text for text in EOG_TEXTS if counts(text)]
    for name, texts in FIM_TEXTS.items():
        if ids[name] is None:
            by_text += [text for text in texts if counts(text)][:1]
    for text in by_text:
        id = vocabulary.find(text.encode())
        if id is not None:
            vocabulary.make_control(id)
            eog.add(id)
    ends = {text: vocabulary.find(text.encode()) for text in (MESSAGE_END, *chain(*REPLY_ENDS))}
    if any(ends[one] in eog and ends[other] in eog for one, other in REPLY_ENDS):
        eog.discard(ends[MESSAGE_END])
    return frozenset(eog)


def token_id(metadata: Metadata, vocabulary: Vocabulary, name: str) -> int | None:
    """The id under `tokenizer.ggml.<name>_token_id`; None without one, or, with a warning, if the vocabulary lacks it.

    Files say 4294967295 or -1 for "none"; that is no reason to refuse all of them. Raises FormatError for no integer.
    """
    key = f"tokenizer.ggml.{name}_token_id"
    entry = metadata.entries.get(key)
    if entry is not None and entry.type in INTEGERS and not 0 <= entry.data < len(vocabulary):
        _log.warning(
            "%s: %s is %d, but ids go up to %d: taken as not given", metadata.file, key, entry.data, len(vocabulary) - 1
        )
        return None
    return metadata.u32(key) if entry is not None else None


def find_suppressed(metadata: Metadata, vocabulary: Vocabulary) -> list[int]:
    """The ids that are never generated, whatever their logits.

    Raises FormatError for ids that the vocabulary lacks, TokenizerError where nothing would be left.
    """
    key = "tokenizer.ggml.suppress_tokens"
    ids = sorted(set(metadata.u32_array(key, [], hi=len(vocabulary) - 1)))
    if len(ids) == len(vocabulary):
        raise TokenizerError(f"{key} holds all {len(ids)} tokens: nothing could be generated; convert the model again")
    return ids


def strips_space(metadata: Metadata) -> bool:
    """Whether the model's special tokens swallow white space after them: Phi-3's do, and no key says so."""
    name = metadata.str("general.name", "").lower()
    return "phi-3" in name or "phi3" in name


class SpecialTokens:
    """Cuts special tokens out of a text: longer ones first, each wherever the text is still free, left to right.

    User-defined tokens are always found; control and unknown ones only where the caller asks, so that a user's text
    can't bring them in. Of tokens of one length that overlap in the text the leftmost is taken.
    strip: whether they swallow the white space after them, all but those of KEEPS_SPACE.
    """

    def __init__(self, vocabulary: Vocabulary, strip: bool = False) -> None:
        self._plain = vocabulary.matcher(USER_DEFINED)
        self._special = vocabulary.matcher(USER_DEFINED, CONTROL, UNKNOWN)
        self._strip = strip
        self._keeps_space = {vocabulary.find(text) for text in KEEPS_SPACE}

    def split(self, text: bytes, special: bool, after: int | None = None) -> Iterator[bytes | int]:
        """Token ids and the non-empty stretches of text between them, in order.

        after: the special token that comes before the text.
        """
        begin = self._skip(text, 0, after)
        for at, length, id in (self._special if special else self._plain).find(text):
            if begin < at:
                yield text[begin:at]
            yield id
            begin = self._skip(text, at + length, id)
        if begin < len(text):
            yield text[begin:]

    def _skip(self, text: bytes, begin: int, after: int | None) -> int:
        """Where the text goes on that has the special token `after` before `begin`."""
        if not self._strip or after is None or after in self._keeps_space:
            return begin
        space = SPACE.match(text, begin)
        return space.end() if space else begin

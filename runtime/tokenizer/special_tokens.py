"""Special tokens: finding them in a text, and those that end a generation."""

import re
from collections.abc import Iterator

from subbyte.errors import TokenizerError
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.tokenizer._vocabulary import CONTROL, UNKNOWN, USER_DEFINED, Vocabulary

# A token with one of these texts ends a generation, whatever the file says of it.
EOG_TEXTS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<\uff5cend▁of▁sentence\uff5c>", "[e~[",
)  # fmt: skip
# Where the file does not name the token by its key, the first of these texts that is in the vocabulary is it.
FIM_TEXTS = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
KEEPS_SPACE = (b"<unk>", b"<s>", b"<|endoftext|>")
SPACE = re.compile(rb"\s*")


def find_eog(metadata: Metadata, vocabulary: Vocabulary, eos: int | None) -> frozenset[int]:
    """The ids of all end-of-generation tokens.

    Makes control tokens of those found by their text: files type some of them as text, which would show them to users.
    """
    eog = set() if eos is None else {eos}
    for name in ("eot", "eom", *FIM_TEXTS):
        id = token_id(metadata, vocabulary, name)
        eog |= set() if id is None else {id}
    by_text = [*EOG_TEXTS]
    for name, texts in FIM_TEXTS.items():
        if f"tokenizer.ggml.{name}_token_id" not in metadata:
            by_text += [text for text in texts if vocabulary.find(text.encode()) is not None][:1]
    for text in by_text:
        id = vocabulary.find(text.encode())
        if id is not None:
            vocabulary.make_control(id)
            eog.add(id)
    return frozenset(eog)


def token_id(metadata: Metadata, vocabulary: Vocabulary, name: str) -> int | None:
    """The id under `tokenizer.ggml.<name>_token_id`, or None; raises FormatError if the vocabulary lacks it."""
    key = f"tokenizer.ggml.{name}_token_id"
    return metadata.u32(key, hi=len(vocabulary) - 1) if key in metadata else None


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

"""Text to token ids and back, with the vocabulary of a GGUF file."""

import logging
import operator
import os
from collections.abc import Iterable, Mapping

from subbyte.errors import TokenizerError, UnsupportedError
from subbyte.runtime.gguf.metadata import ArraySpan, Metadata
from subbyte.runtime.tokenizer._vocabulary import CONTROL, UNKNOWN, USER_DEFINED, Vocabulary
from subbyte.runtime.tokenizer.bpe import ByteLevelBPE, CharacterBPE
from subbyte.runtime.tokenizer.decoder import StreamDecoder, piece_of
from subbyte.runtime.tokenizer.pretokenizer import RULES
from subbyte.runtime.tokenizer.sentencepiece import SentencePiece
from subbyte.runtime.tokenizer.special_tokens import SpecialTokens, find_eog, find_suppressed, strips_space, token_id

log = logging.getLogger(__name__)

MODELS = ("gpt2", "llama", "gemma4")
Scheme = ByteLevelBPE | CharacterBPE | SentencePiece
MAX_TOKENS = 1 << 22
NAMED = 8  # of many names that are known, so many are shown
U32, I32, F32, STRING = 4, 5, 6, 8  # GGUF value types


class Tokenizer:
    """The tokenizer of one model. Immutable; threads may share it.

    n_vocab:          number of tokens
    bos, eos:         ids, None if the model has none
    add_bos, add_eos: whether the model expects them around a text
    eog:              every id that ends a generation
    suppressed:       ids that a generation never chooses
    """

    def __init__(
        self, scheme: Scheme, specials: SpecialTokens, *, bos: int | None, eos: int | None,
        add_bos: bool, add_eos: bool, eog: frozenset[int], suppressed: list[int],
    ) -> None:  # fmt: skip
        self._scheme, self._vocabulary, self._specials = scheme, scheme.vocabulary, specials
        self.n_vocab = len(self._vocabulary)
        self.bos, self.eos, self.eog, self.suppressed = bos, eos, eog, suppressed
        self.add_bos, self.add_eos = add_bos and bos is not None, add_eos and eos is not None

    def encode(
        self, text: str | bytes, *, special: bool = False, add_bos: bool = False, after: int | None = None,
        limit: int | None = None,
    ) -> list[int]:  # fmt: skip
        """The token ids of a text; bytes are UTF-8. What is not valid Unicode becomes U+FFFD.

        special: read control tokens written in the text as such; without it they are plain text
        add_bos: put BOS in front if the model expects it (`Tokenizer.add_bos`) and the text does not begin with it
        after:   the token that the text follows: control tokens of some models swallow white space, and behind text a
                 text gets no space in front
        limit:   only the first so many ids; of a huge text no more is looked at, where the scheme allows that
        """
        ids: list[int] = []
        if within := after is not None and self._vocabulary.type(self._checked(after)) not in (
            CONTROL,
            UNKNOWN,
            USER_DEFINED,
        ):
            after = None
        first = not within
        for part in self._specials.split(_utf8(text), special, after):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._scheme.encode(part, first=first, limit=None if limit is None else limit - len(ids))
            first = isinstance(part, int)
            if limit is not None and len(ids) >= limit:
                break
        if add_bos and ids[:1] == [self.leading_bos]:
            log.warning("the text begins with the BOS token %s: no second one is put before it", self.text(ids[0]))
            add_bos = False
        return (self.with_bos(ids) if add_bos else ids)[:limit]

    @property
    def leading_bos(self) -> int | None:
        """The BOS token that the model expects in front of a text; None if it expects none."""
        return self.bos if self.add_bos else None

    def with_bos(self, ids: Iterable[int]) -> list[int]:
        """Token ids of a text, behind BOS if the model expects it."""
        bos = self.leading_bos
        return [*ids] if bos is None else [bos, *ids]

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of token ids; `special` shows control tokens. Raises ValueError for an unknown id."""
        text = b"".join([self.piece(id, special=special) for id in ids])
        if self._scheme.add_space_prefix:  # `encode` put it there
            text = text.removeprefix(b" ")
        return text.decode("utf-8", "replace")

    def stream(self, *, special: bool = False) -> StreamDecoder:
        """A decoder for tokens that come one by one."""
        return StreamDecoder(lambda id: self.piece(id, special=special))

    def piece(self, id: int, *, special: bool = False) -> bytes:
        """What a token adds to a text, which may be a part of a character."""
        id = self._checked(id)
        return piece_of(self._vocabulary.token(id), self._vocabulary.type(id), self._scheme.unescape, special)

    def text(self, id: int) -> str:
        """The token as the file writes it, such as "<|im_end|>" or "Ġthe"."""
        id = self._checked(id)
        return self._vocabulary.token(id).decode("utf-8", "replace") or f"[EMPTY_{id}]"

    def id(self, text: str) -> int | None:
        """The id of the token that the file writes so, or None."""
        return self._vocabulary.find(_utf8(text))

    def controls_with(self, text: str, limit: int) -> list[int]:
        """The first `limit` control tokens whose text holds `text`."""
        return self._vocabulary.containing(_utf8(text), CONTROL, limit)

    def _checked(self, id: int) -> int:
        number = operator.index(id)
        if isinstance(id, bool) or not 0 <= number < self.n_vocab:
            raise ValueError(f"token id {id} is outside of the vocabulary, ids 0 to {self.n_vocab - 1} exist")
        return number


def load_tokenizer(metadata: Metadata) -> Tokenizer:
    """The tokenizer that a file's metadata describes; it keeps using the bytes given.

    Raises UnsupportedError for a kind of tokenizer not known here, TokenizerError or FormatError for bad values.
    """
    try:
        return _load(metadata)
    except (TokenizerError, UnsupportedError) as error:
        raise type(error)(f"{metadata.file}: {error}") from None


def _load(metadata: Metadata) -> Tokenizer:
    model = _known(metadata, "tokenizer.ggml.model", MODELS)
    tokens = _array(metadata, "tokenizer.ggml.tokens", {STRING: "str"})
    n_vocab = tokens.count
    if not 1 <= n_vocab <= MAX_TOKENS:
        raise TokenizerError(f"the vocabulary has {n_vocab} tokens, 1 to {MAX_TOKENS} are allowed")
    types = None
    if "tokenizer.ggml.token_type" in metadata:
        types = _array(metadata, "tokenizer.ggml.token_type", {I32: "i32", U32: "u32"}, n_vocab).data
    seed = int.from_bytes(os.urandom(8), "little")
    if model == "llama":
        scores = _array(metadata, "tokenizer.ggml.scores", {F32: "f32", I32: "i32"}, n_vocab)
        vocabulary = Vocabulary(
            tokens.data, n_vocab, scores=scores.data, integer_scores=scores.element_type == I32, types=types, seed=seed
        )
        return _sentence_piece(metadata, vocabulary)
    merges = _array(metadata, "tokenizer.ggml.merges", {STRING: "str"})
    rule = None if model == "gemma4" else RULES[_known(metadata, "tokenizer.ggml.pre", RULES)]
    vocabulary = Vocabulary(
        tokens.data,
        n_vocab,
        merges=merges.data,
        n_merges=merges.count,
        types=types,
        ignore_merges=rule is not None and rule.ignore_merges,
        characters=rule is None,
        seed=seed,
    )
    if rule is None:
        return _tokenizer(metadata, CharacterBPE(vocabulary), bos=None, eos=None, add_bos=True)
    # The reference falls back to id 11 for both ids, which is a comma in most vocabularies; none is the better guess.
    return _tokenizer(metadata, ByteLevelBPE(vocabulary, rule), bos=None, eos=None, add_bos=rule.add_bos)


def _sentence_piece(metadata: Metadata, vocabulary: Vocabulary) -> Tokenizer:
    unknown = token_id(metadata, vocabulary, "unknown")
    vocabulary.use_unknown(0 if unknown is None else unknown)
    add_space_prefix = metadata.bool("tokenizer.ggml.add_space_prefix", True)
    bos, eos = (id if id < len(vocabulary) else None for id in (1, 2))
    return _tokenizer(metadata, SentencePiece(vocabulary, add_space_prefix), bos=bos, eos=eos, add_bos=True)


def _tokenizer(metadata: Metadata, scheme: Scheme, *, bos: int | None, eos: int | None, add_bos: bool) -> Tokenizer:
    """The tokenizer; the values given are those for a file that has no keys for them."""
    given_bos, given_eos = (token_id(metadata, scheme.vocabulary, name) for name in ("bos", "eos"))
    eos = eos if given_eos is None else given_eos
    eog = find_eog(
        metadata, scheme.vocabulary, eos, named=given_eos is not None
    )  # before SpecialTokens: it may make control tokens
    return Tokenizer(
        scheme,
        SpecialTokens(scheme.vocabulary, strip=strips_space(metadata)),
        bos=bos if given_bos is None else given_bos,
        eos=eos,
        # Early conversions of Gemma 4 say that it does without BOS, which it does not.
        add_bos=metadata.bool("tokenizer.ggml.add_bos_token", add_bos) or isinstance(scheme, CharacterBPE),
        add_eos=metadata.bool("tokenizer.ggml.add_eos_token", False),
        eog=eog,
        suppressed=find_suppressed(metadata, scheme.vocabulary),
    )


def _known(metadata: Metadata, key: str, known: Iterable[str]) -> str:
    default = "default" if key == "tokenizer.ggml.pre" else ""
    if default and key not in metadata:
        log.warning("%s: no tokenizer.ggml.pre; its default rule may cut text unlike the model's own", metadata.file)
    name = metadata.str(key, default)
    if name not in known:
        from difflib import get_close_matches

        names = near = list(known)
        if len(names) > NAMED:
            near = get_close_matches(name[:64], names, NAMED) or names[:NAMED]
        others = f" and {len(names) - len(near)} others" if len(names) > len(near) else ""
        raise UnsupportedError(
            f"{key} is {name[:64]!r}, known are {', '.join(near)}{others}; convert the model for one of these"
        )
    return name


def _array(metadata: Metadata, key: str, allowed: Mapping[int, str], count: int | None = None) -> ArraySpan:
    span = metadata.span(key)
    if span is None:
        raise TokenizerError(f"{key} is missing; convert the model with its tokenizer")
    if span.element_type not in allowed:
        raise TokenizerError(
            f"{key} has items of value type {span.element_type}, allowed is {' or '.join(allowed.values())}"
        )
    if count is not None and span.count != count:
        raise TokenizerError(f"{key} has {span.count} values for {count} tokens; convert the model again")
    return span


def _utf8(text: str | bytes) -> bytes:
    """Valid UTF-8: lone surrogates, and bytes that are no UTF-8, become U+FFFD."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

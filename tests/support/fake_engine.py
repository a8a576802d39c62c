"""A tokenizer and a session without a model: bytes as tokens, answers from a script."""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from subbyte.errors import ContextOverflow
from subbyte.runtime.types import CheckpointUse

CONTROL = """<|im_start|> <|im_end|> <s> </s> <|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>
<start_of_turn> <end_of_turn> [|system|] [|user|] [|assistant|] [|endofturn|]
<|start|> <|end|> <|message|> <|channel|> <|constrain|> <|call|> <|return|>""".split()
WORDS = ["hello", "hell", "he", "ll", "lo", "wor", "ld", "\n\n"]  # merged tokens, longest first
USER_DEFINED = ["<think>", "</think>"]


class Decoder:
    def __init__(self, tokenizer: "FakeTokenizer") -> None:
        self.tokenizer, self.held = tokenizer, b""

    def feed(self, id: int) -> str:
        self.held += self.tokenizer.piece(id)
        for n in range(4):
            try:
                text = self.held[: len(self.held) - n].decode()
            except UnicodeDecodeError:
                continue
            self.held = self.held[len(self.held) - n :]
            return text
        return ""

    def finish(self) -> str:
        text, self.held = self.held.decode(errors="replace"), b""
        return text


class FakeTokenizer:
    """Ids 0..255 are bytes, then WORDS, USER_DEFINED and CONTROL."""

    def __init__(self, bos: str | None = None, eog: Sequence[str] = ("<|im_end|>", "</s>"), add_bos: bool = False):
        self.texts = [*WORDS, *USER_DEFINED, *CONTROL]
        self.first_control = 256 + len(WORDS) + len(USER_DEFINED)
        self.ids = {text: 256 + i for i, text in enumerate(self.texts)}
        self.n_vocab = 256 + len(self.texts)
        self.bos = self.ids[bos] if bos else None
        self.eos = self.ids[eog[0]]
        self.eog = frozenset(self.ids[text] for text in eog)
        self.leading_bos = self.bos if add_bos else None
        self.suppressed = list[int]()
        self._plain = re.compile("|".join(map(re.escape, [*USER_DEFINED, *WORDS])) + r"|(?s:.)")
        self._special = re.compile("|".join(map(re.escape, sorted(CONTROL, key=len, reverse=True))))

    def encode(
        self, text: str | bytes, *, special: bool = False, add_bos: bool = False, after: int | None = None,
        limit: int | None = None,
    ) -> list[int]:  # fmt: skip
        text = text.decode() if isinstance(text, bytes) else text
        out = self.with_bos([]) if add_bos else []
        at = 0
        for found in self._special.finditer(text) if special else ():
            out += [*self._words(text[at : found.start()]), self.ids[found[0]]]
            at = found.end()
        return (out + self._words(text[at:]))[:limit]

    def with_bos(self, ids: Iterable[int]) -> list[int]:
        return [*ids] if self.leading_bos is None else [self.leading_bos, *ids]

    def _words(self, text: str) -> list[int]:
        out: list[int] = []
        for word in self._plain.findall(text):
            out += [self.ids[word]] if word in self.ids else word.encode()
        return out

    def piece(self, id: int, *, special: bool = False) -> bytes:
        if id < 256:
            return bytes([id])
        return b"" if id >= self.first_control and not special else self.texts[id - 256].encode()

    def text(self, id: int) -> str:
        return self.piece(id, special=True).decode("latin-1")

    def id(self, text: str) -> int | None:
        return self.ids.get(text)

    def controls_with(self, text: str, limit: int) -> list[int]:
        return [id for name, id in self.ids.items() if id >= self.first_control and text in name][:limit]

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        return b"".join(self.piece(id, special=special) for id in ids).decode(errors="replace")

    def stream(self, *, special: bool = False) -> Decoder:
        return Decoder(self)

    def controls(self, ids: Iterable[int]) -> list[str]:
        return [self.text(id) for id in ids if id >= self.first_control]


class FakeSession:
    """Answers with the tokens of `script`, one each time logits are asked for; `computed` lists all batches."""

    def __init__(self, n_vocab: int, n_ctx: int = 1000, script: Iterable[int] = ()) -> None:
        self.n_vocab, self.n_ctx, self.script = n_vocab, n_ctx, list(script)
        self.tokens: list[int] = []
        self.computed: list[list[int]] = []
        self.before_eval: Callable[[], None] = lambda: None
        self.closed = False
        self.checkpoints = CheckpointUse((), 0, 0, 0)

    @property
    def n_past(self) -> int:
        return len(self.tokens)

    def eval(self, tokens: Sequence[int], logits: str = "last", on_progress: object = None) -> np.ndarray | None:
        self.before_eval()
        if len(self.tokens) + len(tokens) > self.n_ctx:
            raise ContextOverflow("the fake context is full")
        self.tokens += tokens
        self.computed.append(list(tokens))
        if logits == "none":
            return None
        row = np.zeros(self.n_vocab, np.float32)
        row[self.script.pop(0) if self.script else 0] = 100.0
        return row

    def reuse(self, tokens: Sequence[int]) -> int:
        n = 0
        while n < min(len(tokens) - 1, len(self.tokens)) and tokens[n] == self.tokens[n]:
            n += 1
        del self.tokens[n:]
        return n

    def rewind(self, n: int) -> None:
        del self.tokens[n:]

    def cancel(self) -> None:
        pass

    def resize(self, n_ctx: int) -> None:
        self.n_ctx = n_ctx
        del self.tokens[n_ctx:]

    def fork(self) -> "FakeSession":
        other = FakeSession(self.n_vocab, self.n_ctx, self.script)
        other.tokens = self.tokens.copy()
        return other

    def close(self) -> None:
        self.closed = True


class PositionedSession(FakeSession):
    """A FakeSession whose script is by position: tokens that came without logits take its place, too."""

    def __init__(self, n_vocab: int, n_ctx: int = 1000, script: Iterable[int] = ()) -> None:
        super().__init__(n_vocab, n_ctx, script)
        self._answering = False

    def eval(self, tokens: Sequence[int], logits: str = "last", on_progress: object = None) -> np.ndarray | None:
        if self._answering:
            del self.script[: len(tokens) - 1]
        self._answering = logits != "none"
        return super().eval(tokens, logits, on_progress)

    def reuse(self, tokens: Sequence[int]) -> int:
        self._answering = False
        return super().reuse(tokens)

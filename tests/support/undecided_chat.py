"""Conversations whose tokens have probabilities from a script; `undecided_chat.py DIR` holds one at a terminal."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from fake_engine import FakeSession, FakeTokenizer

from subbyte.cli.chat.context import ReplContext, SecondModel
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import CHATML, ChatTemplate

VOCABULARY = FakeTokenizer()
TEMPLATE = ChatTemplate(CHATML, VOCABULARY)
END = "<|im_end|>"
Chances = Mapping[str, float]
"""Probabilities of the next token, by its text; the most probable one comes."""

FIRST: list[Chances] = [
    {"hello": 0.6, "hell": 0.3, "he": 0.1},
    {" ": 0.9, END: 0.1},
    {"wor": 0.97, "l": 0.02, END: 0.01},
    {"ld": 1.0},
    {END: 0.4, "lo": 0.3, "ll": 0.3},
]
SECOND: list[Chances] = [{"hello": 0.8, "hell": 0.2}, {END: 0.7, " ": 0.3}]
FORKED: list[Chances] = [{"o": 0.15, "lo": 0.1}, {"\n": 0.3, "!": 0.2}, {END: 1.0}]


class UndecidedSession(FakeSession):
    """A FakeSession that is less sure. chances: of the next tokens, one after another."""

    def __init__(self, chances: Iterable[Chances], n_ctx: int) -> None:
        super().__init__(VOCABULARY.n_vocab, n_ctx)
        self.chances = list(chances)

    def eval(self, tokens: Sequence[int], logits: str = "last", on_progress: object = None) -> np.ndarray | None:
        row = super().eval(tokens, logits, on_progress)
        if row is None or logits == "last":
            return None if row is None else self._row()
        return np.array([self._row() for _ in tokens])

    def _row(self) -> np.ndarray:
        chances = self.chances.pop(0) if self.chances else {END: 1.0}
        rest = max(1 - sum(chances.values()), 1e-9) / self.n_vocab  # what is left is all others'
        row = np.full(self.n_vocab, math.log(rest), np.float32)
        for text, chance in chances.items():
            row[VOCABULARY.ids.get(text, ord(text[0]))] = math.log(chance)
        return row


def undecided(*answers: list[Chances], n_ctx: int = 1000) -> Chat:
    """A greedy conversation with these answers, one after another."""
    session = UndecidedSession([chances for answer in answers for chances in answer], n_ctx)
    options = GenerationOptions(Sampling(temperature=0), logprobs=10)
    chat = Chat(session, VOCABULARY, TEMPLATE, options=options)
    chat.n_ctx_train = 4 * n_ctx
    return chat


def main() -> None:
    """Talks at the terminal, with a context that is soon full; with `ab` behind DIR with two models."""
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import run

    chat = undecided(FIRST, FORKED, *([FIRST] * 20), n_ctx=70)
    data = Path(sys.argv[1])
    context = ReplContext(
        chat, "smollm2", "smollm2: a fake", data / "chats", sys.stdout, keeper=Keeper(data / FILE, saves=False)
    )
    if sys.argv[2:] == ["ab"]:
        context.second = SecondModel(undecided(SECOND, n_ctx=70), "second")
    run(context, open_prompt(context, data / "history"))


if __name__ == "__main__":
    main()

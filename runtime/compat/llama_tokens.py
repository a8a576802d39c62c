"""llama-cpp-python's calls of tokens: a text's tokens, evaluating them, sampling the next one, states."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.compat.llama_callbacks import processors_of
from subbyte.runtime.compat.llama_options import LlamaOptions
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.generation.processor_chain import processor_chain
from subbyte.runtime.generation.sampling import Sampler, Sampling
from subbyte.runtime.model import Model
from subbyte.runtime.session.session import Session


@dataclass(frozen=True)
class LlamaState:
    """What `save_state` gives: the tokens that were evaluated, and what is remembered of them."""

    session: Session
    rows: NDArray[np.float32]

    @property
    def n_tokens(self) -> int:
        """How many tokens there are."""
        return self.session.n_past


@contextmanager
def value_errors() -> Generator[None, None, None]:
    """A context in which a request's faults are ValueError, as programs for llama-cpp-python expect them."""
    try:
        yield
    except (ApiError, ContextOverflow) as error:
        raise ValueError(str(error)) from error


class LlamaTokens:
    """The part of `Llama` that works on tokens. Its session is its own: completions do not change it."""

    def __init__(self, model: Model, options: LlamaOptions) -> None:
        self._model, self._options = model, options
        self._session: Session | None = None
        self._rows = np.empty((0, model.config.n_vocab), np.float32)  # logits: of each position, or of the last one

    def _opened(self) -> Session:
        if self._session is None:
            self._session = self._model.open_session(self._options.session(self._model))
        return self._session

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Token ids of a text; add_bos: behind BOS where the model wants one. special: control tokens count as such."""
        return self._model.tokenize(text, special=special, add_bos=add_bos)

    def detokenize(
        self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False
    ) -> bytes:
        """The bytes of tokens, which may end within a character; behind prev_tokens, if there are some."""
        tokenizer = self._model.tokenizer
        text = b"".join(tokenizer.piece(token, special=special) for token in tokens)
        begins = not prev_tokens and len(tokens) > 0 and tokens[0] == tokenizer.bos
        return text.removeprefix(b" ") if begins else text

    def n_ctx(self) -> int:
        """Tokens that the context holds."""
        return self._options.context(self._model)

    def n_vocab(self) -> int:
        """Tokens that there are."""
        return self._model.config.n_vocab

    def n_embd(self) -> int:
        """The length of an embedding."""
        return self._model.config.n_embd

    def token_bos(self) -> int:
        """The token that begins a text; -1 if there is none."""
        bos = self._model.tokenizer.bos
        return -1 if bos is None else bos

    def token_eos(self) -> int:
        """The token that ends a text; -1 if there is none."""
        eos = self._model.tokenizer.eos
        return -1 if eos is None else eos

    def token_nl(self) -> int:
        """The token of a line's end; -1 if there is none."""
        return (self._model.tokenizer.encode("\n", after=0) or [-1])[-1]

    @property
    def n_tokens(self) -> int:
        """How many tokens are evaluated."""
        return 0 if self._session is None else self._session.n_past

    @property
    def scores(self) -> NDArray[np.float32]:
        """Next-token logits, float32 [n_tokens, n_vocab]; without logits_all those of the last token alone."""
        return self._rows[: self.n_tokens]

    @property
    def input_ids(self) -> NDArray[np.intc]:
        """The tokens that are evaluated, int32 [n_tokens]."""
        return np.array([] if self._session is None else self._session.tokens, np.intc)

    @property
    def eval_tokens(self) -> deque[int]:
        """The same as a deque."""
        return deque(self.input_ids.tolist(), maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> deque[list[float]]:
        """`scores` as lists."""
        return deque(self.scores.tolist())

    def reset(self) -> None:
        """Forgets all tokens."""
        if self._session is not None:
            self._session.rewind(0)

    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluates tokens behind those before. Raises ValueError for more than the context holds."""
        session = self._opened()
        with value_errors():
            if not self._options.logits_all:
                self._rows = session.eval(tokens)[None]
                return
            found = session.eval(tokens, "all")
        if not len(self._rows):
            self._rows = np.empty((self.n_ctx(), self.n_vocab()), np.float32)
        self._rows[session.n_past - len(found) : session.n_past] = found

    def sample(self, *, temp: float = 0.8, logits_processor: Any = None, grammar: Any = None, **options: Any) -> int:
        """The next token behind those evaluated. options: as for `create_completion`."""
        if not len(self.scores):
            raise ValueError("nothing is evaluated yet: eval(tokens) first")
        if grammar is not None:
            raise ValueError("grammar: only completions and chats have one, which a single token can't follow")
        sampling = self._options.sampling(temperature=temp, **options)
        return self._sample(sampling, Sampler(Sampling(**sampling)), logits_processor)

    def generate(
        self, tokens: Sequence[int], *, reset: bool = True, temp: float = 0.8, logits_processor: Any = None,
        stopping_criteria: Any = None, grammar: Any = None, **options: Any,
    ) -> Generator[int, Sequence[int] | None, None]:  # fmt: skip
        """Tokens behind a prompt, one by one, without end, also behind EOS; what is sent in comes behind the last one.

        reset: the prompt takes the place of what was evaluated, of which that is kept which they have in common.
        """
        if grammar is not None:
            raise ValueError("grammar: only completions and chats have one; call create_completion")
        sampling = self._options.sampling(temperature=temp, **options)
        sampler = Sampler(Sampling(**sampling))
        todo = list(tokens)
        if reset:
            kept = self._opened().reuse(todo)
            todo = todo[kept:]
        while True:
            self.eval(todo)
            if stopping_criteria is not None and stopping_criteria(self.input_ids, self.scores[-1]):
                return
            token = self._sample(sampling, sampler, logits_processor)
            sent = yield token
            todo = [token, *(sent or ())]

    def _sample(self, sampling: dict[str, Any], sampler: Sampler, logits_processor: Any) -> int:
        logits, tokenizer = self.scores[-1].copy(), self._model.tokenizer
        options = GenerationOptions(processors=processors_of(logits_processor, None, ()))
        context = self.input_ids.tolist()
        for step in processor_chain(tokenizer, Sampling(**sampling), options, OutputProcessor(tokenizer), context):
            step.apply(logits, context)
        return sampler.sample(logits)

    def save_state(self) -> LlamaState:
        """What is evaluated, to go back to."""
        return LlamaState(self._opened().fork(), self._rows.copy())

    def load_state(self, state: LlamaState) -> None:
        """Goes back to a state."""
        forked = state.session.fork()
        if self._session is not None:
            self._session.close()
        self._session, self._rows = forked, state.rows.copy()

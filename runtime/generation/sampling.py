"""Sampling the next token from the logits: llama.cpp's parameters, filters and their order."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte import kernels
from subbyte.errors import NumericError
from subbyte.runtime.arguments import flag, mapping, number, strings, whole

NOT_FINITE = "the model's output is not finite: it holds NaN, +inf or nothing but -inf"
MAX_BIAS = 1e6  # logits are far below that


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; the defaults are llama.cpp's. Raises ValueError for a value that makes no sense.

    Applied in this order: logit_bias, ignore_eos and banned, penalties, DRY, top_k, top_p, min_p, XTC, temperature.
    """

    temperature: float = 0.8  # 0: always the most probable token
    top_k: int = 40  # the k most probable tokens; 0, or more than the vocabulary has: all
    top_p: float = 0.95  # the most probable tokens that together reach this probability; 1: all
    min_p: float = 0.05  # tokens at least this probable relative to the best one; 0: all
    repeat_penalty: float = 1.0  # divides positive logits of recent tokens, multiplies negative ones; 1: off
    repeat_last_n: int = 64  # how many tokens are recent; 0: none, -1: all in the context
    presence_penalty: float = 0.0  # taken from the logits of recent tokens
    frequency_penalty: float = 0.0  # taken from the logits of recent tokens for each time they occurred
    dry_multiplier: float = 0.0  # of the penalty on tokens that would go on with a repetition; 0: off
    dry_base: float = 1.75  # that penalty grows with each token more that is repeated, by this factor
    dry_allowed_length: int = 2  # tokens that may be repeated before the penalty begins
    dry_penalty_last_n: int = -1  # how many tokens are searched for repetitions; 0: none, -1: all in the context
    dry_sequence_breakers: Iterable[str] = (
        "\n",
        ":",
        '"',
        "*",
    )  # texts that no repetition goes across; kept as a tuple
    xtc_probability: float = 0.0  # how often the most probable tokens are left out; 0: never
    xtc_threshold: float = 0.1  # all that are so probable are left out but for the last one; above 0.5: none
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)  # added by token id; -inf bans a token
    banned: Iterable[str] = ()  # texts that no answer has in it, whatever tokens would spell them; kept as a tuple
    ignore_eos: bool = False  # whether the tokens that end an answer are banned
    seed: int | None = None  # None: different each time

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "temperature": number("temperature", self.temperature, 0.0),
            "top_p": number("top_p", self.top_p, 0.0, 1.0),
            "min_p": number("min_p", self.min_p, 0.0, 1.0),
            "repeat_penalty": number("repeat_penalty", self.repeat_penalty, 0.01, 100.0),
            "presence_penalty": number("presence_penalty", self.presence_penalty, -MAX_BIAS, MAX_BIAS),
            "frequency_penalty": number("frequency_penalty", self.frequency_penalty, -MAX_BIAS, MAX_BIAS),
            "dry_multiplier": number("dry_multiplier", self.dry_multiplier, 0.0, MAX_BIAS),
            "dry_base": number("dry_base", self.dry_base, 1.0, 100.0),
            "xtc_probability": number("xtc_probability", self.xtc_probability, 0.0, 1.0),
            "xtc_threshold": number("xtc_threshold", self.xtc_threshold, 0.0, 1.0),
            "dry_allowed_length": whole("dry_allowed_length", self.dry_allowed_length, 1, "2 lets a word come again"),
            "dry_penalty_last_n": whole(
                "dry_penalty_last_n", self.dry_penalty_last_n, -1, "-1 means the whole context"
            ),
            "dry_sequence_breakers": strings("dry_sequence_breakers", self.dry_sequence_breakers),
            "logit_bias": _checked_bias(self.logit_bias),
            "banned": strings("banned", self.banned),
            "ignore_eos": flag("ignore_eos", self.ignore_eos),
            "top_k": whole("top_k", self.top_k, 0, "0 keeps all tokens"),
            "repeat_last_n": whole("repeat_last_n", self.repeat_last_n, -1, "-1: the whole context"),
        }
        if self.seed is not None:
            checked["seed"] = whole("seed", self.seed, 0, "None: the text differs each time")
        for name, value in checked.items():  # as Python's own numbers: numpy's are no JSON
            object.__setattr__(self, name, value)


def _checked_bias(biases: Mapping[int, float]) -> dict[int, float]:
    checked = {}
    for token, bias in mapping("logit_bias", biases).items():
        id = whole("a token of logit_bias", token, 0, "ids count from 0")
        banned = isinstance(bias, float) and bias == -math.inf
        checked[id] = bias if banned else number(f"the logit_bias of token {id}", bias, -MAX_BIAS, MAX_BIAS)
    return checked


class Draw(NamedTuple):
    """A token still to be drawn: logits, float32 [n_vocab], and how, as `kernels.draw_tokens` takes it."""

    logits: NDArray[np.float32]
    how: tuple[float, int, float, float, float, float]


class Sampler:
    """Samples tokens. Holds the random generator, so the same seed and the same logits give the same tokens.

    Biases, penalties and DRY are not its own: logits processors change the logits before.
    """

    def __init__(self, sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self._random = np.random.default_rng(self.sampling.seed)

    def draw(self, logits: NDArray[np.float32]) -> Draw:
        """What is needed to draw the next token, with its random numbers; `draw_tokens` does it for many."""
        s = self.sampling
        xtc = s.xtc_threshold if self._leaves_out() else math.inf
        greedy = s.temperature == 0.0 and xtc == math.inf
        uniform = 0.0 if greedy else self._random.random()
        top_k = min(s.top_k, logits.size)  # more than there are: all, however many
        return Draw(logits, (s.temperature, top_k, s.top_p, s.min_p, xtc, uniform))

    def sample(self, logits: NDArray[np.float32]) -> int:
        """The next token's id, from `logits` [n_vocab] (unchanged).

        Raises NumericError if a logit is NaN or +inf or all are -inf.
        """
        return sample(self.draw(logits))

    def _leaves_out(self) -> bool:
        """Whether XTC acts on this token; draws a number only where it is on."""
        s = self.sampling
        return s.xtc_probability > 0.0 and s.xtc_threshold <= 0.5 and self._random.random() <= s.xtc_probability


def draw_tokens(draws: Sequence[Draw], n_threads: int = 1) -> list[int | None]:
    """The tokens that are drawn; None for one whose logits are not finite (NaN, +inf, nothing but -inf)."""
    tokens = kernels.draw_tokens([draw.logits for draw in draws], [draw.how for draw in draws], n_threads=n_threads)
    return [token if token >= 0 else None for token in tokens]


def sample(draw: Draw) -> int:
    """The token that is drawn. Raises NumericError if its logits are not finite."""
    (token,) = draw_tokens([draw])
    if token is None:
        raise NumericError(NOT_FINITE)
    return token

"""Events of a generation, and the `Reply` at its end."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from subbyte.runtime.records import Record
from subbyte.runtime.tools.call import ToolCall

StopReason: TypeAlias = Literal["eog", "length", "stop", "cancelled", "timeout"]
"""Why an answer ended: the model ended it, no room or `max_tokens`, a stop string, the user, or its time was over."""


@dataclass(frozen=True, slots=True)
class Usage(Record):
    """Tokens of one answer: in the prompt, how many of those came from the cache, and in the answer.

    `thinking` of the `completion` were spent on reasoning, up to and with the tag that closes it. What an answer was
    begun with counts as prompt. Speculation had `drafted` tokens computed before it was known whether they would come,
    of which `accepted` did.
    """

    prompt: int
    reused: int
    completion: int
    thinking: int = 0
    drafted: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class Timings(Record):
    """Seconds spent on the prompt and on the answer, and tokens per second of each (0.0 where nothing was computed).

    The time a consumer takes between two events is not counted.
    """

    prefill: float
    generation: float
    prefill_rate: float
    generation_rate: float


@dataclass(frozen=True, slots=True)
class TopLogprob(Record):
    """A token that might have come: its id, its bytes (of a control token its name), and log p of it, natural."""

    id: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob(Record):
    """A token that has come, and the most probable ones in its place: an event where `logprobs` are asked for.

    Those of the prompt come first, before any text, where `prompt_logprobs` are asked for.

    Log-probabilities are natural, and of the model's own distribution: before biases, penalties, filters, temperature.
    logprob is None where the token was not the model's choice but forced, and of a prompt's first one. piece: as in
    `TopLogprob`.
    """

    id: int
    piece: bytes
    logprob: float | None
    top: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True)
class Reply(Record):
    """An answer. `tokens` are the ids it was made of, without the end-of-generation token that closed it.

    Of an answer that was continued, or begun by the caller, `text`, `thinking` and `tokens` are the whole.
    `thinking` is the reasoning that came before `text`, "" if none; the tags around it are only in `tokens`.
    `stop_string` is the one that ended it where `stop_reason` is "stop". `tool_calls` are those in the answer, in
    order; nothing of them is in `text`. `logprobs` are those of the tokens that are new, one each, and of the
    end-of-generation token, where they are asked for; `prompt_logprobs` those of the prompt.
    """

    text: str
    tokens: tuple[int, ...]
    usage: Usage
    timings: Timings
    stop_reason: StopReason
    thinking: str = ""
    stop_string: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta(Record):
    """The next text of the answer: never empty, never half a character, never part of a stop string or a call."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta(Record):
    """The next text of the reasoning before the answer: never empty, never half a character, never part of a tag."""

    text: str


@dataclass(frozen=True, slots=True)
class PrefillProgress(Record):
    """`done` of the `total` prompt tokens that are not in the cache have been computed; `cached` are in it."""

    done: int
    total: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Done(Record):
    """The answer has ended; always the last event."""

    reply: Reply


Event: TypeAlias = TextDelta | ThinkingDelta | ToolCall | TokenLogprob | PrefillProgress | Done

"""OpenAI's completions of raw text, with echo and the prompt's log-probabilities, which evaluation harnesses live on.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields, are_token_ids
from subbyte.runtime.api.logprobs import TextOffsets, completion_logprobs, joined
from subbyte.runtime.api.sampling_fields import (
    MAX_LOGPROBS,
    limit_of,
    sampling_fields,
    sampling_of,
    text_constraint,
)
from subbyte.runtime.api.serving import Serving, Start
from subbyte.runtime.api.usage import finish_reason, timings, usage
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.generation.events import Done, Event, Reply, TextDelta, TokenLogprob
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import LogitsFunction
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint

MAX_PROMPTS, MAX_CHOICES = 256, 256
DEFAULT_MAX_TOKENS = 16  # OpenAI's

Prompt: TypeAlias = str | list[int]


@dataclass(frozen=True)
class CompletionRequest:
    """What a request asks for: n completions of each prompt, which is text or token ids.

    echo: the prompts are part of what is returned; with logprobs, theirs too. The other fields as in `ChatRequest`.
    """

    model: str
    prompts: Sequence[Prompt]
    n: int = 1
    echo: bool = False
    logprobs: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = DEFAULT_MAX_TOKENS
    stop: Sequence[str] = ()
    constraint: Constraint | None = None
    processors: Sequence[LogitsFunction] = ()
    stream: bool = False
    with_usage: bool = False


def read_completion_request(fields: Fields) -> CompletionRequest:
    """A completion's request. Control tokens written in a prompt count as such, as in llama.cpp's server."""
    if fields.text("suffix"):
        raise ApiError(400, "suffix: this server does not fill in the middle; leave it out", param="suffix")
    options = fields.object("stream_options") or Fields({})
    prompts, n = _prompts(fields), fields.whole("n", 1, 16) or 1
    if len(prompts) * n > MAX_CHOICES:
        raise fields.wrong("n", f"so that there are at most {MAX_CHOICES} completions")
    limit = limit_of(fields, "max_tokens") if "max_tokens" in fields else DEFAULT_MAX_TOKENS
    return CompletionRequest(
        fields.text("model") or "",
        prompts,
        n,
        echo=fields.flag("echo"),
        logprobs=fields.whole("logprobs", 0, MAX_LOGPROBS),
        sampling=sampling_fields(fields),
        max_tokens=limit,
        stop=fields.texts("stop"),
        constraint=text_constraint(fields),
        stream=fields.flag("stream"),
        with_usage=options.flag("include_usage"),
    )


def _prompts(fields: Fields) -> list[Prompt]:
    """A text, several, token ids, or several lists of them."""
    given = fields.get("prompt")
    taken = f"a text, token ids, or a list of up to {MAX_PROMPTS} of these"
    if isinstance(given, str) or are_token_ids(given):
        return [given]
    if not isinstance(given, list) or not 0 < len(given) <= MAX_PROMPTS:
        raise fields.wrong("prompt", taken)
    if not all(isinstance(each, str) or are_token_ids(each) for each in given):
        raise fields.wrong("prompt", taken)
    return given


@dataclass
class _Choice:
    """What has come of one completion. echoed: the prompt's text, if it is to be part of it.

    ids: the prompt's. scores: the log-probabilities of its tokens, if they are told, of which n_unscored are to come.
    waiting: those of the text that comes next.
    """

    prompt: Prompt
    number: int
    echoed: str
    offsets: TextOffsets
    ids: Sequence[int] = ()
    scores: list[TokenLogprob] = field(default_factory=list)
    n_unscored: int = 0
    begun: bool = False
    text: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[TokenLogprob] = field(default_factory=list)
    reply: Reply | None = None


class TextCompletion(WireAnswer):
    """A completion, and its chunks."""

    def __init__(self, request: CompletionRequest, serving: Serving, name: str) -> None:
        super().__init__(name, "cmpl-")
        self._request, self._serving = request, serving
        self._n_top = request.logprobs if request.echo else None  # of the prompt's tokens
        self._choices = [self._choice(prompt, n) for prompt in request.prompts for n in range(request.n)]

    def _choice(self, prompt: Prompt, number: int) -> _Choice:
        if not self._request.echo:
            return _Choice(prompt, number, "", TextOffsets(""))
        text = prompt if isinstance(prompt, str) else self._serving.model.detokenize(prompt, special=True)
        return _Choice(prompt, number, text, TextOffsets(text))

    def starts(self) -> list[Start]:
        """See `WireAnswer`; they raise what `Model.generate` raises."""
        return [partial(self._begin, choice) for choice in self._choices]

    def _begin(self, choice: _Choice) -> Generation:
        asked, model, k = self._request, self._serving.model, self._n_top
        given = choice.prompt
        choice.ids = model.tokenize(given, special=True, add_bos=True) if isinstance(given, str) else given
        if k is not None:
            choice.scores = self._serving.scored.known(choice.ids, k)
            choice.n_unscored = len(choice.ids) - len(choice.scores)
        return model.generate(
            choice.ids, max_tokens=asked.max_tokens, stop=asked.stop, constraint=asked.constraint,
            sampling=sampling_of(asked.sampling, Sampling(**model.recommended.sampling), choice.number),
            logprobs=asked.logprobs, prompt_logprobs=k, prompt_logprobs_from=len(choice.scores),
            processors=asked.processors, scheduler=self._serving.scheduler, timeout=self._serving.timeout,
        )  # fmt: skip

    def opened(self) -> Iterable[Sent]:
        """See `WireAnswer`: an echoed prompt comes later, with its log-probabilities, once it is read."""
        return ()

    def add(self, index: int, event: Event) -> Iterable[Sent]:
        """See `WireAnswer`."""
        choice = self._choices[index]
        if isinstance(event, TokenLogprob):
            if choice.n_unscored:
                choice.n_unscored -= 1
                choice.scores.append(event)
            else:
                choice.waiting.append(event)
        elif isinstance(event, TextDelta):
            yield from self._echo(index, choice)
            yield self._told(index, choice, event.text)
        elif isinstance(event, Done):
            yield from self._echo(index, choice)
            choice.reply = event.reply
            if choice.waiting and event.reply.stop_reason != "stop":  # without text: what ended it, half a character
                yield self._told(index, choice, "")
            reason = finish_reason(event.reply.stop_reason, calls=False)
            yield self._chunk(index, "", None, reason, {"timings": timings(event.reply)})

    def closed(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        if self._request.with_usage:
            yield Sent({**self._head(), "choices": [], "usage": self._usage()})
        yield Sent("[DONE]")

    def failed(self, error: ApiError) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield Sent(error.to_openai())
        yield Sent("[DONE]")

    def whole(self) -> dict[str, Any]:
        """See `WireAnswer`."""
        return {
            **self._head(),
            "choices": [self._whole_choice(index, choice) for index, choice in enumerate(self._choices)],
            "usage": self._usage(),
        }

    def _echo(self, index: int, choice: _Choice) -> Iterator[Sent]:
        """The prompt, once, before what follows it."""
        if choice.begun or not self._request.echo:
            return
        choice.begun = True
        if self._n_top is not None:
            self._serving.scored.keep(choice.ids, choice.scores, self._n_top)
        choice.waiting = [*choice.scores, *choice.waiting]
        yield self._told(index, choice, choice.echoed, len(choice.scores))
        choice.offsets.skip_to_end()

    def _told(self, index: int, choice: _Choice, text: str, n: int | None = None) -> Sent:
        """The chunk with the next text of a completion, and with the log-probabilities of its n tokens, or all so far.

        Each token has its entry, also without text: harnesses count them.
        """
        choice.text += text
        if self._request.logprobs is None:
            return self._chunk(index, text, None)
        tokens, choice.waiting = choice.waiting[:n], [] if n is None else choice.waiting[n:]
        choice.logprobs.append(completion_logprobs(tokens, choice.offsets))
        return self._chunk(index, text, choice.logprobs[-1])

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "system_fingerprint": "subbyte",
        }  # fmt: skip

    def _chunk(
        self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Sent:  # fmt: skip
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return Sent({**self._head(), "choices": [choice], **(more or {})})

    def _whole_choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        assert choice.reply is not None
        return {
            "index": index,
            "text": choice.text,
            "logprobs": None if self._request.logprobs is None else joined(choice.logprobs),
            "finish_reason": finish_reason(choice.reply.stop_reason, calls=False),
        }

    def _usage(self) -> dict[str, Any]:
        """Each prompt counts once, however many completions it has."""
        replies = [choice.reply for choice in self._choices if choice.reply is not None]
        first = [usage(replies[i : i + self._request.n]) for i in range(0, len(replies), self._request.n)]
        total = usage(replies)
        total["prompt_tokens"] = sum(each["prompt_tokens"] for each in first)
        total["total_tokens"] = total["prompt_tokens"] + total["completion_tokens"]
        cached = sum(each["prompt_tokens_details"]["cached_tokens"] for each in first)
        return {**total, "prompt_tokens_details": {"cached_tokens": cached}}

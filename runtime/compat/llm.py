"""A plugin of simonw's `llm` (https://llm.datasette.io), by entry point: `llm -m subbyte/smollm2 "…"`, in process.

`llm` imports all plugins at each start, so that nothing is imported here that it has not imported itself; a model is
loaded with the first prompt, and stays for the next ones of a chat.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import llm
from llm.parts import ReasoningPart, StreamEvent, TextPart, ToolCallPart, ToolResultPart

from subbyte.errors import SubbyteError

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.generation.events import Event, Reply
    from subbyte.runtime.grammar.constraint import Constraint
    from subbyte.runtime.model import Model
    from subbyte.runtime.scheduler.scheduler import Scheduler

_SAMPLING = (
    "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "seed",
)  # fmt: skip
_loading = Lock()


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """The built-in models, those of the hub's cache, and `subbyte`, which takes a file by its option path."""
    for name in _names():
        register(SubbyteModel(name), SubbyteAsyncModel(name))
    register(SubbyteModel(None), SubbyteAsyncModel(None))


@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """The same models, as those that embed."""
    for name in _names():
        register(SubbyteEmbeddingModel(name))


def _names() -> list[str]:
    from subbyte.runtime.store.resolve import available, installed

    return [model.name for model in installed()] + [model.name for model in available()]


class Options(llm.Options):
    """Options of a prompt, `-o NAME VALUE`: those of `Model.chat` and `Sampling`; not given: the model's own."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    thinking: bool | None = None
    reasoning_budget: int | None = None
    tool_choice: str | None = None
    n_ctx: int | None = None


class PathOptions(Options):
    """Options of the model `subbyte`: path is what `subbyte.load` takes, such as the path of a GGUF file."""

    path: str | None = None


class _Subbyte:
    """What the synchronous and the asynchronous model share. name: what is loaded; None: what the option path says."""

    can_stream = True
    supports_schema = True
    supports_tools = True
    model_id: str

    def __init__(self, name: str | None) -> None:
        self._name = name
        self.model_id = f"subbyte/{name}" if name else "subbyte"
        self.Options = Options if name else PathOptions

    def _begin(self, prompt: Any) -> tuple[Chat, Constraint | None]:
        """The conversation that a prompt ends, with what its answer must be."""
        from subbyte.runtime.generation.sampling import Sampling
        from subbyte.runtime.grammar.constraint import Constraint

        options = prompt.options
        name = self._name or options.path
        if name is None:
            raise llm.ModelError("give a model: llm -m subbyte -o path model.gguf, or llm -m subbyte/NAME (llm models)")
        with _model_errors():
            model, scheduler = _scheduler(name, options.n_ctx)
            given = {key: value for key in _SAMPLING if (value := getattr(options, key)) is not None}
            chat = model.chat(
                messages=_messages(prompt.messages), tools=[_tool(tool) for tool in prompt.tools],
                tool_choice=options.tool_choice or "auto",
                sampling=Sampling(**{**model.recommended.sampling, **given}), max_tokens=options.max_tokens,
                stop=[options.stop] if isinstance(options.stop, str) else options.stop or (),
                thinking=options.thinking, reasoning_budget=options.reasoning_budget, scheduler=scheduler,
            )  # fmt: skip
            return chat, Constraint.json_schema(_closed(prompt.schema)) if prompt.schema else None


class SubbyteModel(_Subbyte, llm.Model):
    """A model that `llm` runs in its own process."""

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[Any]:
        """The events of an answer, as `llm` has them."""
        chat, constraint = self._begin(prompt)
        with chat, _model_errors():
            for event in chat.stream_reply(constraint=constraint):
                yield from _events(event, response)


class SubbyteAsyncModel(_Subbyte, llm.AsyncModel):
    """The same for an event loop, which waits for nothing."""

    async def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> AsyncGenerator[Any, None]:
        """The events of an answer, as `llm` has them."""
        from asyncio import to_thread
        from contextlib import aclosing

        from subbyte.runtime.generation.asynchronous import stream_events

        chat, constraint = await to_thread(self._begin, prompt)
        with chat, _model_errors():
            async with aclosing(stream_events(lambda: chat.stream_reply(constraint=constraint))) as events:
                async for event in events:
                    for each in _events(event, response):
                        yield each


class SubbyteEmbeddingModel(llm.EmbeddingModel):
    """A model that embeds texts, pooled as its file says."""

    batch_size = 64

    def __init__(self, name: str) -> None:
        self._name = name
        self.model_id = f"subbyte/{name}"

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        """A vector of length 1 for each text."""
        with _model_errors():
            yield from _model(self._name).embed(list(items)).tolist()


@contextmanager
def _model_errors() -> Iterator[None]:
    try:
        yield
    except SubbyteError as error:
        raise llm.ModelError(str(error)) from error


def _model(name: str) -> Model:
    with _loading:
        return _loaded(name)


def _scheduler(name: str, n_ctx: int | None) -> tuple[Model, Scheduler]:
    """A model with what makes its answers: beside one another, each from what earlier ones have computed."""
    with _loading:
        model = _loaded(name)
        return model, _scheduled(model, n_ctx)


@lru_cache(1)
def _loaded(name: str) -> Model:
    import sys

    from tqdm import tqdm

    from subbyte.runtime.loading import load
    from subbyte.runtime.store.resolve import resolve

    with tqdm(desc=f"Fetching {name}", unit="B", unit_scale=True, delay=1, disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = resolve(name, progress)
    return load(path)


@lru_cache(1)
def _scheduled(model: Model, n_ctx: int | None) -> Scheduler:
    return model.scheduler(n_ctx=n_ctx, activations=model.recommended.activations)


def _messages(messages: Iterable[Any]) -> list[Message]:
    """A conversation, as `Model.chat` takes it."""
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.tools.call import ToolCall, call_id

    found: list[Message] = []
    n_calls = 0
    for message in messages:
        text, thinking, calls = "", "", []
        for part in message.parts:
            if isinstance(part, TextPart):
                text += part.text
            elif isinstance(part, ReasoningPart):
                thinking += part.text
            elif isinstance(part, ToolCallPart):
                calls.append(ToolCall(part.tool_call_id or call_id(n_calls), part.name, part.arguments))
                n_calls += 1
            elif isinstance(part, ToolResultPart):
                found.append(Message("tool", part.output, tool_call_id=part.tool_call_id, name=part.name))
            else:
                raise llm.ModelError(f"a {type(part).__name__} in a message: this model takes texts and tools")
        if message.role != "tool":
            found.append(Message(message.role, text, thinking, tuple(calls)))
    return found


def _tool(tool: Any) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema or None}


def _closed(schema: Any) -> Any:
    """A schema whose objects have no members but those that it names, where it does not say otherwise.

    `llm` writes schemas without a word on others, and a small model would go on with members of its own.
    """
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in ("enum", "const", "default", "allOf") else _closed(value)
              for key, value in schema.items()}  # fmt: skip
    if isinstance(schema.get("properties"), dict) and "allOf" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _events(event: Event, response: Any) -> Iterator[Any]:
    """What `llm` is told of an event."""
    from subbyte.runtime.generation.events import Done, TextDelta, ThinkingDelta
    from subbyte.runtime.tools.call import ToolCall

    if isinstance(event, TextDelta):
        yield StreamEvent(type="text", chunk=event.text)
    elif isinstance(event, ThinkingDelta):
        yield StreamEvent(type="reasoning", chunk=event.text)
    elif isinstance(event, ToolCall):
        response.add_tool_call(llm.ToolCall(tool_call_id=event.id, name=event.name, arguments=event.arguments))
        yield StreamEvent(type="tool_call_name", chunk=event.name, tool_call_id=event.id)
        yield StreamEvent(type="tool_call_args", chunk=json.dumps(event.arguments), tool_call_id=event.id)
    elif isinstance(event, Done):
        _note(event.reply, response)


def _note(reply: Reply, response: Any) -> None:
    """What `llm` logs of an answer."""
    usage = reply.usage
    details = {"cached_tokens": usage.reused, "reasoning_tokens": usage.thinking}
    response.set_usage(
        input=usage.prompt, output=usage.completion, details={name: n for name, n in details.items() if n} or None
    )
    response.response_json = {"stop_reason": reply.stop_reason, "timings": reply.timings.to_dict()}

"""Conversations: messages to prompts, over one session whose KV cache is kept from turn to turn."""

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from subbyte.runtime import arguments
from subbyte.runtime.chat.calling import Calling
from subbyte.runtime.chat.chat_context import ChatContext
from subbyte.runtime.chat.chat_state import NO_TOOL_FORMAT, checked_system
from subbyte.runtime.chat.history import History
from subbyte.runtime.chat.messages import Message, MessageSource, begin_with
from subbyte.runtime.chat.objects import as_object
from subbyte.runtime.chat.prompt_rows import PromptRows
from subbyte.runtime.chat.saved_chat import read_conversation, write_conversation
from subbyte.runtime.chat.turns import Forgotten
from subbyte.runtime.generation.events import Event, Reply
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.grammar.constraint import Constraint

if TYPE_CHECKING:
    from subbyte.runtime.tools.tool import ToolSource

T = TypeVar("T")


class Chat(ChatContext):
    """A conversation. It owns `session` and closes it; a context manager.

    An answer that is cancelled, closed or interrupted stays in `messages` with the text that came; one of which nothing
    came leaves `messages` as before, and its question in `unanswered`. So the conversation is whole at any time,
    whatever ended an answer. `tools` are those that the model may call, by name: an answer with calls is followed by
    `send_tool_results`. One thread at a time may use it: while one waits in `send`, another gets SessionBusy, and
    nothing is changed.
    `stop` strings count in answers, not in reasoning. `variables` are given to the chat template. `reasoning` "open":
    each answer begins with reasoning whose open tag nobody writes; "auto": prompt or answer tell. `max_tokens`, `stop`,
    `logprobs`, `processors` and `timeout` may be set for the next answers, as `Model.chat` takes them; so may
    `constraint`, what answers must be that are asked for without one of their own. speculation: makes answers faster,
    see `Decoder`.
    """

    instead = "save it, and load it into another of Model.chat"

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End a running answer and free the session's memory. Raises SessionBusy while another thread uses it."""
        with self._lock:
            self._settle()
            self._speculation = None  # a draft model's session goes with the last reference
            self.session.close()

    def send(self, text: str, *, prefill: str = "", constraint: Constraint | None = None) -> Reply:
        """Sends a user message and waits for the reply. As `stream`; Ctrl-C keeps what came in `messages`."""
        with self._lock:
            return self._answer_to(text, prefill, constraint).run()

    def stream(self, text: str, *, prefill: str = "", constraint: Constraint | None = None) -> Generation:
        """Sends a user message; iterate over the result for the events of the answer.

        prefill: how the answer begins; the model goes on from there, without reasoning. It is part of the answer's
        text, but not of the events. constraint: what the text must be, reasoning apart; it counts also where the answer
        is continued or made again. Raises ContextOverflow if the conversation no longer fits and TemplateError if the
        model's template refuses it, both before anything is computed or changed.
        """
        with self._lock:
            return self._answer_to(text, prefill, constraint)

    def astream(
        self, text: str, *, prefill: str = "", constraint: Constraint | None = None
    ) -> AsyncGenerator[Event, None]:
        """Sends a user message; the events of the answer for an event loop, which waits for none of them. As `stream`.

        Closing the generator, or cancelling the task that awaits it, ends the answer, and `messages` keeps what came.
        """
        from subbyte.runtime.generation.asynchronous import stream_events

        return stream_events(lambda: self.stream(text, prefill=prefill, constraint=constraint))

    @overload
    def object(self, text: str, schema: type[T], *, prefill: str = "") -> T: ...
    @overload
    def object(self, text: str, schema: Mapping[str, Any] | str, *, prefill: str = "") -> Any: ...
    def object(self, text: str, schema: Any, *, prefill: str = "") -> Any:
        """Sends a user message; the answer as a value of a type, or as plain data for a JSON schema.

        schema: a dataclass, TypedDict, msgspec.Struct or pydantic model, or a JSON schema; needs
        `pip install 'subbyte[json]'`. The model is not shown the schema: the text should say what is wanted. Raises
        UnfitAnswer, which has the text, for an answer that was cut or that its type refuses; ValueError for a schema
        that can't be kept to the letter, before anything is computed.
        """
        reply = self.send(text, prefill=prefill, constraint=Constraint.json_schema(schema))
        return as_object(schema, reply)

    def send_tool_results(self, results: Iterable[Any]) -> Reply:
        """Gives the results of the last answer's calls, and waits for the model to go on. As `stream_tool_results`."""
        with self._lock:
            return self._with_results(results).run()

    def stream_tool_results(self, results: Iterable[Any]) -> Generation:
        """Gives the results of the last answer's calls; iterate over the result for the events of what follows.

        results: one for each of `Reply.tool_calls`, in their order: a text, or a value that JSON has. Raises ValueError
        if there are no such calls, or more or fewer.
        """
        with self._lock:
            return self._with_results(results)

    def reply(self, *, prefill: str = "", constraint: Constraint | None = None) -> Reply:
        """Answers what the conversation ends with, and waits for that. As `stream_reply`."""
        with self._lock:
            return self._go_on(prefill, constraint).run()

    def stream_reply(self, *, prefill: str = "", constraint: Constraint | None = None) -> Generation:
        """Answers what the conversation ends with: the user's message, or results of tools, that it began with.

        prefill, constraint: as for `stream`. Raises ValueError if it ends with an answer.
        """
        with self._lock:
            return self._go_on(prefill, constraint)

    def prompt(self, *, prefill: str = "") -> list[int]:
        """The token ids that an answer to what the conversation ends with would follow; `stream_reply` without one."""
        with self._lock:
            self._settle()
            start = self._start(self._conversation(self._history.to_answer()), _begun(prefill))
            return [*start.prompt, *start.begun.tokens]

    def _begun_tokens(self, tokens: Iterable[int]) -> list[int]:
        ids: list[int] = arguments.token_ids(
            "tokens", arguments.items("tokens", tokens, "a list of token ids"), self.tokenizer.n_vocab
        ).tolist()
        if ends := self.tokenizer.eog.intersection(ids):
            raise ValueError(f"tokens: {min(ends)} ends an answer, so that none can begin with it")
        return ids

    def _answer_to(self, text: str, prefill: str, constraint: Constraint | None) -> Generation:
        message = Message("user", arguments.text("text", text))
        begun = _begun(prefill)
        self._settle()
        return self._new_answer(self._history.asked(message), begun, constraint)

    def _go_on(self, prefill: str, constraint: Constraint | None) -> Generation:
        begun = _begun(prefill)
        self._settle()
        return self._new_answer(self._history.to_answer(), begun, constraint)

    def _with_results(self, results: Iterable[Any]) -> Generation:
        self._settle()
        return self._new_answer(self._history.with_results(results), None, None)

    def _new_answer(self, asked: list[Message], begun: Message | None, constraint: Constraint | None) -> Generation:
        before, self._constraint = self._constraint, constraint
        try:
            return self._reply_to(asked, begun)
        except BaseException:
            self._constraint = before
            raise

    def continue_answer(self) -> Generation:
        """Go on with the last answer where it was cut, by `max_tokens` or by an early end; it stays one message.

        Its reasoning goes on, too, if it was cut there. Text, reasoning and tokens of the reply are the whole answer's,
        usage and timings those of what is new. From a cut answer of this session it goes on token by token, as if there
        had been no cut. Raises ValueError if there is no answer, or one that the model or a stop string ended.
        """
        with self._lock:
            self._settle()
            if self._history.waiting:
                raise ValueError("there is no answer to continue: the last question was stopped before one came")
            asked, answer = self._history.last_answer("continue")
            if answer.tool_calls:
                raise ValueError("there is nothing to continue: the last answer calls tools; give their results")
            ended = self._ended_as(self._conversation(asked), answer)
            if ended is not None and ended.stop_reason in ("eog", "stop"):
                by = "the model" if ended.stop_reason == "eog" else "a stop string"
                raise ValueError(f"there is nothing to continue: {by} ended the last answer")
            return self._reply_to(asked, answer)

    def regenerate(self, *, tokens: Iterable[int] = ()) -> Generation:
        """Answer the last message again; the old answer is kept until something of the new one came.

        tokens: ids that the answer begins with, such as some of the old one's and another token: they are part of its
        text and tokens, but not of the events. Raises ValueError for one that ends an answer.
        """
        begun = self._begun_tokens(tokens)
        with self._lock:
            self._settle()
            if self._history.waiting:
                return self._reply_to(self._history.to_answer(), begun)
            return self._reply_to(self._history.last_answer("make again")[0], begun)

    def score_answer(self, top: int = 0) -> Generation:
        """Reads the last answer once more, whoever wrote it: `prompt_logprobs` of the reply are those of its tokens.

        top: how many of the most probable tokens are told with each. Reasoning comes first, tags and all. The
        conversation stays as it is. Raises ValueError without an answer that has text, ContextOverflow.
        """
        with self._lock:
            self._settle()
            asked, answer = self._history.last_answer("score")
            if not answer.content and not answer.thinking:
                raise ValueError("there is nothing to score: the last answer has no text")
            start = self._start(self._conversation(asked), answer)
            self._seen = [*start.prompt, *start.begun.tokens]
            options = GenerationOptions(max_tokens=0, prompt_logprobs=top, prompt_logprobs_from=len(start.prompt))
            return Generation(self.session, self.tokenizer, self._seen, options)

    def use_tools(self, tools: "Iterable[ToolSource]") -> None:
        """Gives the next answers other tools, functions or descriptions as `Model.chat` takes them; none: no tools.

        Raises ValueError, and changes nothing, for a model whose template knows no tools. `tool_choice` is "auto" then.
        """
        from subbyte.runtime.tools.tool import tools_by_name

        known = tools_by_name(tools)
        format = self._calling.format or (self._find_tool_format() if known else None)
        if known and format is None:
            raise ValueError(NO_TOOL_FORMAT)
        with self._lock:
            self._settle()
            self._calling = Calling(known, format, self.tokenizer, strict=self._calling.strict)
            self._rows = PromptRows(self.template, format, known.values())

    def undo(self) -> str:
        """Take back the user's last message and all that followed it: answers, calls, results; the message's text."""
        with self._lock:
            self._settle()
            text = self._history.undo()
            self._constraint = None
            return text

    def clear(self) -> None:
        """Begin a new conversation; the system text stays."""
        with self._lock:
            self._settle()
            self._history, self._constraint, self._now = History(), None, datetime.now()
            self._forgotten = Forgotten()

    def fork(self) -> "Chat":
        """A conversation of its own that begins with the same messages and settings; what is computed is copied.

        Raises ResourceError without memory for that.
        """
        with self._lock:
            self._settle()
            options = GenerationOptions(
                self.sampling, self.max_tokens, reasoning_budget=self._reasoning_budget, logprobs=self.logprobs,
                processors=self.processors, timeout=self.timeout,
            )  # fmt: skip
            other = Chat(
                self.session.fork(), self.tokenizer, self.template, reasoning_format=self._reasoning_format,
                options=options, system=self._system, thinking=self._thinking, variables=self.variables,
                reasoning="open" if self._begins_open else "auto", messages=self._history.everything, tools=self.tools,
                tool_format=self._calling.format, find_tool_format=self._find_tool_format, tool_choice=self.tool_choice,
                strict_tools=self._calling.strict,
                speculation=None if self._speculation is None else self._speculation.fork(),
            )  # fmt: skip
            other.context_policy, other.n_ctx_train = self.context_policy, self.n_ctx_train
            other.stop, other.constraint, other._constraint = self.stop, self.constraint, self._constraint
            other._forgotten = self._forgotten
            other._seen, other._now, other._ended = self._seen, self._now, self._ended
            return other

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write system text and messages as JSON, whole or not at all. overwrite: also over a saved conversation.

        Raises ResourceError, and FileExists for any other file.
        """
        arguments.flag("overwrite", overwrite)
        write_conversation(arguments.path("path", path), self._system, self.messages, overwrite=overwrite)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on with a saved conversation. Raises SubbyteError and changes nothing if the file holds no such thing."""
        system, messages = read_conversation(arguments.path("path", path))
        self.resume(messages, system=system)

    def resume(self, messages: Iterable[MessageSource], *, system: str | None = None) -> None:
        """Go on with these messages in place of the conversation's own; what the cache has of them is not read again.

        messages, system: as `Model.chat` takes them. Raises ValueError as that does, and then changes nothing.
        """
        system, checked = begin_with(system, messages)
        system = checked_system(system)
        with self._lock:
            self._settle()
            self._system, self._history, self._constraint = system, History(checked), None
            self._forgotten = Forgotten()


def _begun(prefill: str) -> Message | None:
    """An answer that begins so; None where there is no beginning."""
    message = Message("assistant", arguments.text("prefill", prefill))
    return message if message.content else None

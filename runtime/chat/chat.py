"""Conversations: messages to prompts, over one session whose KV cache is kept from turn to turn."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, get_args

from subbyte.errors import memory_errors
from subbyte.kernels import TryLock
from subbyte.runtime import arguments
from subbyte.runtime.chat.answer_start import AnswerStart, AnswerStarts, Conversation
from subbyte.runtime.chat.messages import Message, clean, read_conversation, write_conversation
from subbyte.runtime.chat.prompt_cache import keep_cached_tokens
from subbyte.runtime.chat.reasoning import ReasoningFormat, ReasoningStart
from subbyte.runtime.chat.settings import ChatSettings
from subbyte.runtime.generation.events import Reply, StopReason
from subbyte.runtime.generation.generation import Generation, Host
from subbyte.runtime.generation.options import Begun, GenerationOptions
from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS, checked_budget
from subbyte.runtime.generation.sampling import Sampler, Sampling
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.handles import Handle
from subbyte.runtime.protocols import Session, Tokenizer
from subbyte.runtime.speculation.speculation import Speculation
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.types import CheckpointUse


class _Ended(NamedTuple):
    """The last answer in the conversation, as it was made: to go on with it from its very tokens."""

    conversation: Conversation
    start: AnswerStart
    tokens: list[int]
    message: Message
    stop_reason: StopReason


class Chat(Handle):
    """A conversation. It owns `session` and closes it; a context manager.

    An answer that is cancelled, closed or interrupted stays in `messages` with the text that came; one of which nothing
    came leaves `messages` as before, and its question in `unanswered`. So the conversation is whole at any time,
    whatever ended an answer. One thread at a time may use it: while one waits in `send`, another gets SessionBusy, and
    nothing is changed.
    `stop` strings count in answers, not in reasoning. `variables` are given to the chat template. `reasoning` "open":
    each answer begins with reasoning whose open tag nobody writes; "auto": prompt or answer tell. speculation: makes
    answers faster, see `Decoder`.
    """

    instead = "save it, and load it into another of Model.chat"

    def __init__(
        self,
        session: Session | Host,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        reasoning_format: ReasoningFormat = ReasoningFormat(),  # noqa: B008 (immutable)
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        system: str | None = None,
        thinking: bool | None = None,
        variables: Mapping[str, Any] | None = None,
        reasoning: ReasoningStart = "auto",
        speculation: Speculation | None = None,
    ) -> None:
        self.session, self.tokenizer, self.template = session, tokenizer, template
        self.max_tokens, self.stop = options.max_tokens, (*options.stop, *template.stop)
        self.logprobs, self.processors = options.logprobs, options.processors
        self.variables = dict(variables or {})
        self._system = _system_text(system)
        self._begins_open = arguments.choice("reasoning", reasoning, get_args(ReasoningStart)) == "open"
        if self._begins_open and reasoning_format.tags is None:
            reasoning_format = replace(reasoning_format, tags=KNOWN_TAGS[0])
        self._reasoning_format = reasoning_format
        self._starts = AnswerStarts(template, tokenizer, reasoning_format.tags)
        self._opened: dict[str, str | None] = {}  # by the template's variables: `ReasoningFormat.opened`
        self.thinking, self._reasoning_budget = thinking, options.reasoning_budget
        self._sampler, self._speculation = Sampler(options.sampling), speculation
        self._messages: list[Message] = []
        self._constraint: Constraint | None = None  # of the last answer
        self._unanswered: str | None = None
        self._asked: list[Message] = []  # what the answer in `_answer` follows
        self._answer: Generation | None = None
        self._follows: tuple[Conversation, AnswerStart] | None = None  # what `_answer` goes on from
        self._ended: _Ended | None = None
        self._last: Reply | None = None
        self._seen: list[int] = []  # the last prompt and the tokens of its answer, as they are in the cache
        self._lock = TryLock("this conversation", "give each thread a chat of its own")
        self._now = datetime.now()  # templates see one time: a minute later the whole cache would be of no use

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

    def _answer_to(self, text: str, prefill: str, constraint: Constraint | None) -> Generation:
        message = Message("user", clean(arguments.text("text", text)))
        begun = Message("assistant", clean(arguments.text("prefill", prefill)))
        self._settle()
        before, self._constraint = self._constraint, constraint
        try:
            return self._reply_to([*self._messages, message], begun if begun.content else None)
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
            if self._unanswered is not None:
                raise ValueError("there is no answer to continue: the last question was stopped before one came")
            if not self._messages:
                raise ValueError("there is no answer to continue: nothing was said yet")
            *asked, answer = self._messages
            ended = self._ended_as(self._conversation(asked), answer)
            if ended is not None and ended.stop_reason in ("eog", "stop"):
                by = "the model" if ended.stop_reason == "eog" else "a stop string"
                raise ValueError(f"there is nothing to continue: {by} ended the last answer")
            return self._reply_to(asked, answer)

    def regenerate(self) -> Generation:
        """Answer the last message again; the old answer is kept until something of the new one came."""
        with self._lock:
            self._settle()
            if self._unanswered is not None:
                return self._reply_to([*self._messages, Message("user", self._unanswered)])
            if not self._messages:
                raise ValueError("there is no answer to make again: nothing was said yet")
            return self._reply_to(self._messages[:-1])

    def undo(self) -> str:
        """Take back the last message and its answer; the message's text."""
        with self._lock:
            self._settle()
            if self._unanswered is not None:
                text, self._unanswered = self._unanswered, None
                return text
            if not self._messages:
                raise ValueError("there is nothing to take back: nothing was said yet")
            self._constraint = None
            text = self._messages[-2].content
            del self._messages[-2:]
            return text

    def clear(self) -> None:
        """Begin a new conversation; the system text stays."""
        with self._lock:
            self._settle()
            self._messages, self._unanswered, self._constraint, self._now = [], None, None, datetime.now()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write system text and messages as JSON, whole or not at all. overwrite: also over a saved conversation.

        Raises ResourceError, and FileExists for any other file.
        """
        arguments.flag("overwrite", overwrite)
        write_conversation(arguments.path("path", path), self._system, self.messages, overwrite=overwrite)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on with a saved conversation. Raises SubbyteError and changes nothing if the file holds no such thing."""
        system, messages = read_conversation(arguments.path("path", path))
        with self._lock:
            self._settle()
            self._system, self._messages, self._unanswered, self._constraint = system, messages, None, None

    @property
    def messages(self) -> list[Message]:
        """What was said so far, in turn by the user and the model, a running answer included; a copy."""
        answer = self._answer
        if answer is None or not self._came(answer):
            return list(self._messages)
        return [*self._asked, Message("assistant", answer.text, answer.thinking)]

    @property
    def unanswered(self) -> str | None:
        """A last question that nothing was answered to yet; `regenerate` asks it again, another one takes its place."""
        if self._answer is None:
            return self._unanswered
        asked_anew = len(self._asked) <= len(self._messages)
        return None if asked_anew or self._came(self._answer) else self._asked[-1].content

    @property
    def system(self) -> str | None:
        """The system prompt; may be changed at any time."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        system = _system_text(text)
        with self._lock:
            self._settle()
            self._system = system

    @property
    def settings(self) -> ChatSettings:
        """All settings of the next answer, also those that the model's defaults gave."""
        options = self.session.options
        return ChatSettings(
            self.sampling, options.activations, options.cache_type, self.n_ctx, self.max_tokens, self.stop,
            self._system, self._thinking, self._reasoning_budget,
        )  # fmt: skip

    @property
    def sampling(self) -> Sampling:
        """Sampling parameters; a new value starts from its seed again."""
        return self._sampler.sampling

    @sampling.setter
    def sampling(self, sampling: Sampling) -> None:
        self._sampler = Sampler(arguments.instance("sampling", sampling, Sampling))

    @property
    def can_think(self) -> bool:
        """Whether `thinking` can be switched on and off. A model may reason all the same: EXAONE Deep always does."""
        return self._reasoning_format.switch is not None

    @property
    def thinking(self) -> bool | None:
        """Whether the model is told to reason before it answers; None: it does as it was trained to.

        Setting it raises ValueError where the model has no such switch. Models that are switched by system text get
        that line in front of `system`.
        """
        return self._thinking

    @thinking.setter
    def thinking(self, thinking: bool | None) -> None:
        self._reasoning_format.check(thinking)
        self._thinking = thinking

    @property
    def reasoning_budget(self) -> int | None:
        """Tokens of reasoning after which the model is made to close it and to answer; 0: at once, None: no limit."""
        return self._reasoning_budget

    @reasoning_budget.setter
    def reasoning_budget(self, budget: int | None) -> None:
        self._reasoning_budget = checked_budget(budget)

    @property
    def n_ctx(self) -> int:
        """Tokens that the context holds."""
        return self.session.n_ctx

    @property
    def n_past(self) -> int:
        """Tokens of the context that the conversation uses; what is left of a forgotten one does not count."""
        return self.session.n_past if self._messages or self._answer else 0

    @property
    def checkpoints(self) -> CheckpointUse:
        """What its session keeps of recurrent states to go back to."""
        return self.session.checkpoints

    @property
    def last(self) -> Reply | None:
        """The last answer with its figures, also while it runs; None before the first."""
        return self._answer.reply if self._answer else self._last

    @memory_errors("begin an answer")
    def _reply_to(self, asked: list[Message], begun: Message | None = None) -> Generation:
        conversation = self._conversation(asked)
        start = self._start(conversation, begun)
        options = GenerationOptions(
            self.sampling, self.max_tokens, self.stop, self.reasoning_budget, self._reasoning_format.tags, start.opened,
            self.template.answer_lead, logprobs=self.logprobs, processors=self.processors,
            constraint=self._constraint,
        )  # fmt: skip
        answer = Generation(
            self.session, self.tokenizer, start.prompt, options, self._sampler,
            begun=start.begun, speculation=self._speculation,
        )  # fmt: skip
        self._asked, self._follows, self._answer = asked, (conversation, start), answer
        return answer

    def _conversation(self, messages: list[Message]) -> Conversation:
        system = self._reasoning_format.system(self._system, self._thinking)
        rows = [{"role": "system", "content": system}] if system is not None else []
        rows += [{"role": m.role, "content": m.content} for m in messages]
        return Conversation(rows, self._variables())

    def _start(self, conversation: Conversation, begun: Message | None) -> AnswerStart:
        """Where the answer starts, in tokens of the cache where they spell the same."""
        opened = "" if self._begins_open else self._opened_by_template(conversation)
        if begun is None:
            start = self._starts.new(conversation, opened)
        elif (ended := self._ended_as(conversation, begun)) is not None:
            return replace(ended.start, begun=Begun(ended.tokens, begun.content, begun.thinking))
        else:
            start = self._starts.within(conversation, begun, opened)
        prompt = keep_cached_tokens(self._seen, start.prompt, self.tokenizer.piece)
        return replace(start, prompt=prompt)

    def _ended_as(self, conversation: Conversation, answer: Message) -> _Ended | None:
        """How this answer to this conversation ended; None if that is not known."""
        ended = self._ended
        same = ended is not None and (ended.conversation, ended.message) == (conversation, answer)
        return ended if same else None

    def _came(self, answer: Generation) -> bool:
        """Whether there is something of the answer, were it that the model chose to say nothing more."""
        n_begun = len(self._follows[1].begun.tokens) if self._follows else 0
        new = len(answer.tokens) > n_begun if n_begun else answer.text or answer.thinking
        return bool(new) or answer.stop_reason in ("eog", "stop")

    def _variables(self) -> dict[str, Any]:
        switched = self._reasoning_format.variables(self._thinking, self._reasoning_budget)
        return {"now": self._now, **self.variables, **switched}

    def _opened_by_template(self, conversation: Conversation) -> str | None:
        format, variables = self._reasoning_format, conversation.variables
        if format.by_text:
            return format.opened(self.template, variables, conversation.rows)
        key = repr(variables)
        if key not in self._opened:
            self._opened = {key: format.opened(self.template, variables)}
        return self._opened[key]

    def _settle(self) -> None:
        """End a running answer, and take what came of it into the conversation."""
        if self._answer is None:
            return
        self._answer.close()
        if self._follows is not None and self._came(self._answer):
            reply, message = self._answer.reply, self.messages[-1]
            self._ended = _Ended(*self._follows, self._answer.tokens, message, reply.stop_reason)
        self._messages, self._unanswered = self.messages, self.unanswered
        self._seen = self._answer.prompt + self._answer.tokens
        self._last, self._answer = self._answer.reply, None


def _system_text(text: str | None) -> str | None:
    return None if text is None else clean(arguments.text("system", text)) or None

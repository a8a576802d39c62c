"""The state of a conversation: its settings, its messages, and the answer that is being made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from subbyte.kernels import TryLock
from subbyte.runtime import arguments
from subbyte.runtime.chat.answer_start import AnswerStart, AnswerStarts, Conversation, EndedAnswer, Question
from subbyte.runtime.chat.calling import Calling
from subbyte.runtime.chat.history import History
from subbyte.runtime.chat.messages import Message, clean
from subbyte.runtime.chat.prompt_cache import keep_cached_tokens
from subbyte.runtime.chat.prompt_rows import PromptRows
from subbyte.runtime.chat.reasoning import ReasoningFormat, ReasoningStart
from subbyte.runtime.chat.settings import ChatSettings
from subbyte.runtime.chat.turns import remembered
from subbyte.runtime.generation.events import Reply
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

if TYPE_CHECKING:
    from subbyte.runtime.tools.format import ToolFormat
    from subbyte.runtime.tools.tool import Tool

NO_TOOL_FORMAT = (
    "this model can't be given tools: its chat template does not show them, or calls in no known way; "
    "give another template, or take a model that was trained for tools"
)


class ChatState(Handle):
    """What a conversation answers with and remembers, and how an answer begins; `Chat` has what is done with it."""

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
        messages: Sequence[Message] = (),
        tools: Mapping[str, Tool] | None = None,
        tool_format: ToolFormat | None = None,
        find_tool_format: Callable[[], ToolFormat | None] = lambda: None,
        tool_choice: str = "auto",
        strict_tools: bool = True,
        speculation: Speculation | None = None,
    ) -> None:
        self.session, self.tokenizer, self.template = session, tokenizer, template
        self.max_tokens, self.stop = options.max_tokens, (*options.stop, *template.stop)
        self.logprobs, self.processors, self.timeout = options.logprobs, options.processors, options.timeout
        self.constraint: Constraint | None = None
        self.variables = dict(variables or {})
        self._system = checked_system(system)
        self._begins_open = arguments.choice("reasoning", reasoning, get_args(ReasoningStart)) == "open"
        if self._begins_open and reasoning_format.tags is None:
            reasoning_format = replace(reasoning_format, tags=KNOWN_TAGS[0])
        self._reasoning_format = reasoning_format
        self._starts = AnswerStarts(template, tokenizer, reasoning_format.tags)
        self._opened: dict[str, str | None] = {}  # by the template's variables: `ReasoningFormat.opened`
        self.thinking, self._reasoning_budget = thinking, options.reasoning_budget
        self._sampler, self._speculation = Sampler(options.sampling), speculation
        strict_tools = arguments.flag("strict_tools", strict_tools)
        self._calling = Calling(tools or {}, tool_format, tokenizer, strict=strict_tools)
        self._calling.choose(tool_choice)
        self._find_tool_format = find_tool_format
        self._rows = PromptRows(template, tool_format, self.tools.values())
        self._history = History(messages)
        self._constraint: Constraint | None = None  # of the last answer, where it was asked for with one of its own
        self._asked: list[Message] = []  # what the answer in `_answer` follows
        self._answer: Generation | None = None
        self._follows: tuple[Conversation, AnswerStart] | None = None  # what `_answer` goes on from
        self._ended: EndedAnswer | None = None
        self._last: Reply | None = None
        self._seen: list[int] = []  # the last prompt and the tokens of its answer, as they are in the cache
        self._lock = TryLock("this conversation", "give each thread a chat of its own")
        self._now = datetime.now()  # templates see one time: a minute later the whole cache would be of no use

    @property
    def messages(self) -> list[Message]:
        """What was said so far, up to the last answer, a running one included; a copy."""
        answer = self._answer
        if answer is None or not self._came(answer):
            return list(self._history.messages)
        return [*self._asked, Message("assistant", answer.text, answer.thinking, tuple(answer.tool_calls))]

    @property
    def unanswered(self) -> str | None:
        """A last question that nothing was answered to yet; `regenerate` asks it again, another one takes its place.

        Results of tools that nothing was answered to stay: `reply` goes on with them.
        """
        waiting = self.waiting
        return waiting[-1].content if waiting else None

    @property
    def waiting(self) -> Sequence[Message]:
        """The messages behind the last answer that nothing was answered to yet: a question, or results of tools."""
        if self._answer is None:
            return self._history.waiting
        asked_anew = len(self._asked) <= len(self._history.messages)
        return () if asked_anew or self._came(self._answer) else self._asked[len(self._history.messages) :]

    @property
    def system(self) -> str | None:
        """The system prompt; may be changed at any time."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        system = checked_system(text)
        with self._lock:
            self._settle()
            self._system = system

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools that the model may call, by name."""
        return self._calling.tools

    @property
    def tool_choice(self) -> str:
        """Whether answers call tools: "auto", "none", "required", or a tool's name; may be changed at any time.

        With "none" what looks like a call is text; the tools stay in the prompt, and so in the cache. "required" and a
        name need llguidance; an answer then is a call and ends with it, or with "required" several calls, where the
        model's format marks each.
        """
        return self._calling.choice

    @tool_choice.setter
    def tool_choice(self, choice: str) -> None:
        self._calling.choose(choice)

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
        return self.session.n_past if self._history.messages or self._answer else 0

    @property
    def checkpoints(self) -> CheckpointUse:
        """What its session keeps of recurrent states to go back to."""
        return self.session.checkpoints

    @property
    def last(self) -> Reply | None:
        """The last answer with its figures, also while it runs; None before the first."""
        return self._answer.reply if self._answer else self._last

    def _question(self, asked: list[Message], answer: Message | Sequence[int] | None = None) -> Question:
        conversation = self._conversation(asked)
        return Question(asked, answer, conversation, self._start(conversation, answer))

    def _answer_question(self, question: Question) -> Generation:
        asked, begun, conversation, start = question
        required = None if begun else self._calling.required()
        constraint = self.constraint if self._constraint is None else self._constraint
        options = GenerationOptions(
            self.sampling, self.max_tokens, self.stop, self.reasoning_budget, self._reasoning_format.tags, start.opened,
            self.template.answer_lead, required if constraint is None else constraint,
            self._calling.use(asked) if constraint is None else None, logprobs=self.logprobs,
            processors=self.processors, timeout=self.timeout,
        )  # fmt: skip
        answer = Generation(
            self.session, self.tokenizer, start.prompt, options, self._sampler,
            begun=start.begun, speculation=self._speculation,
        )  # fmt: skip
        self._asked, self._follows, self._answer = asked, (conversation, start), answer
        return answer

    def _conversation(self, messages: list[Message]) -> Conversation:
        system = self._reasoning_format.system(self._system, self._thinking)
        return Conversation(self._rows.rows(system, remembered(messages)), self._variables())

    def _start(self, conversation: Conversation, begun: Message | Sequence[int] | None) -> AnswerStart:
        """Where the answer starts, in tokens of the cache where they spell the same."""
        opened = "" if self._begins_open else self._opened_by_template(conversation)
        if not isinstance(begun, Message):
            start = replace(self._starts.new(conversation, opened), begun=Begun(begun or ()))
        elif (ended := self._ended_as(conversation, begun)) is not None:
            return replace(ended.start, begun=Begun(ended.tokens, begun.content, begun.thinking))
        else:
            start = self._starts.within(conversation, begun, opened)
        prompt = keep_cached_tokens(self._seen, start.prompt, self.tokenizer.piece)
        return replace(start, prompt=prompt)

    def _ended_as(self, conversation: Conversation, answer: Message) -> EndedAnswer | None:
        """How this answer to this conversation ended; None if that is not known."""
        ended = self._ended
        same = ended is not None and (ended.conversation, ended.message) == (conversation, answer)
        return ended if same else None

    def _came(self, answer: Generation) -> bool:
        """Whether there is something of the answer, were it that the model chose to say nothing more."""
        n_begun = len(self._follows[1].begun.tokens) if self._follows else 0
        new = len(answer.tokens) > n_begun if n_begun else answer.text or answer.thinking or answer.tool_calls
        return bool(new) or answer.stop_reason in ("eog", "stop")

    def _variables(self) -> dict[str, Any]:
        switched = self._reasoning_format.variables(self._thinking, self._reasoning_budget)
        return {"now": self._now, **self._rows.variables, **self.variables, **switched}

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
            self._ended = EndedAnswer(*self._follows, self._answer.tokens, message, reply.stop_reason)
        self._history = History([*self.messages, *self.waiting])
        self._seen = self._answer.prompt + self._answer.tokens
        self._last, self._answer = self._answer.reply, None


def checked_system(text: str | None) -> str | None:
    """System text as it is kept: real Unicode, None for an empty one."""
    return None if text is None else clean(arguments.text("system", text)) or None

"""Conversations: messages to prompts, over one session whose KV cache is kept from turn to turn."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from subbyte.runtime.chat.messages import Message, clean, read_conversation, write_conversation
from subbyte.runtime.chat.prompt_cache import keep_cached_tokens
from subbyte.runtime.chat.reasoning import ReasoningFormat
from subbyte.runtime.generation.events import Reply
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.reasoning_parser import checked_budget
from subbyte.runtime.generation.sampling import Sampler, Sampling
from subbyte.runtime.protocols import Session, Tokenizer
from subbyte.runtime.template.chat_template import ChatTemplate


class Chat:
    """A conversation. It owns `session` and closes it; a context manager.

    An answer that is cancelled, closed or interrupted stays in `messages` with the text that came; one of which nothing
    came leaves `messages` as before. So the conversation is whole at any time, whatever ended an answer.
    `stop` strings count in answers, not in reasoning. `variables` are given to the chat template.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        reasoning_format: ReasoningFormat = ReasoningFormat(),  # noqa: B008 (immutable)
        options: GenerationOptions = GenerationOptions(),  # noqa: B008 (immutable)
        system: str | None = None,
        thinking: bool | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self.session, self.tokenizer, self.template = session, tokenizer, template
        self.max_tokens, self.stop = options.max_tokens, (*options.stop, *template.stop)
        self.variables = dict(variables or {})
        self._system = clean(system) if system else None
        self._reasoning_format = reasoning_format
        self.thinking, self._reasoning_budget = thinking, options.reasoning_budget
        self._sampler = Sampler(options.sampling)
        self._messages: list[Message] = []
        self._asked: list[Message] = []  # what the answer in `_answer` follows
        self._answer: Generation | None = None
        self._last: Reply | None = None
        self._seen: list[int] = []  # the last prompt and the tokens of its answer, as they are in the cache
        self._now = datetime.now()  # templates see one time: a minute later the whole cache would be of no use

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End a running answer and free the session's memory."""
        self._settle()
        self.session.close()

    def send(self, text: str) -> Reply:
        """Sends a user message and waits for the reply. Errors as `stream`; Ctrl-C keeps what came in `messages`."""
        return self.stream(text).run()

    def stream(self, text: str) -> Generation:
        """Sends a user message; iterate over the result for the events of the answer.

        Raises ContextOverflow if the conversation no longer fits and TemplateError if the model's template refuses it,
        both before anything is computed or changed.
        """
        self._settle()
        return self._reply_to([*self._messages, Message("user", clean(text))])

    def regenerate(self) -> Generation:
        """Answer the last message again; the old answer is kept until something of the new one came."""
        self._settle()
        if not self._messages:
            raise ValueError("there is no answer to make again: nothing was said yet")
        return self._reply_to(self._messages[:-1])

    def undo(self) -> str:
        """Take back the last message and its answer; the message's text."""
        self._settle()
        if not self._messages:
            raise ValueError("there is nothing to take back: nothing was said yet")
        text = self._messages[-2].content
        del self._messages[-2:]
        return text

    def clear(self) -> None:
        """Begin a new conversation; the system text stays."""
        self._settle()
        self._messages, self._now = [], datetime.now()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write system text and messages as JSON, whole or not at all. overwrite: also over a saved conversation.

        Raises ResourceError, and FileExists for any other file.
        """
        write_conversation(path, self._system, self.messages, overwrite=overwrite)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on with a saved conversation. Raises SubbyteError and changes nothing if the file holds no such thing."""
        system, messages = read_conversation(path)
        self._settle()
        self._system, self._messages = system, messages

    @property
    def messages(self) -> list[Message]:
        """What was said so far, in turn by the user and the model, a running answer included; a copy."""
        answer = self._answer
        if answer is None or not (answer.text or answer.thinking or answer.stop_reason in ("eog", "stop")):
            return list(self._messages)
        return [*self._asked, Message("assistant", answer.text, answer.thinking)]

    @property
    def system(self) -> str | None:
        """The system prompt; may be changed at any time."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        self._settle()
        self._system = clean(text) if text else None

    @property
    def sampling(self) -> Sampling:
        """Sampling parameters; a new value starts from its seed again."""
        return self._sampler.sampling

    @sampling.setter
    def sampling(self, sampling: Sampling) -> None:
        self._sampler = Sampler(sampling)

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
    def last(self) -> Reply | None:
        """The last answer with its figures, also while it runs; None before the first."""
        return self._answer.reply if self._answer else self._last

    def _reply_to(self, asked: list[Message]) -> Generation:
        prompt = keep_cached_tokens(self._seen, self._encode(asked), self.tokenizer.piece)
        tags = self._reasoning_format.tags
        options = GenerationOptions(self.sampling, self.max_tokens, self.stop, self.reasoning_budget, tags)
        answer = Generation(self.session, self.tokenizer, prompt, options, self._sampler)
        self._asked, self._answer = asked, answer
        return answer

    def _encode(self, messages: list[Message]) -> list[int]:
        system = self._reasoning_format.system(self._system, self._thinking)
        rows = [{"role": "system", "content": system}] if system is not None else []
        rows += [{"role": m.role, "content": m.content} for m in messages]
        variables = {**self.variables, **self._reasoning_format.variables(self._thinking)}
        return self.template.encode(rows, **{"now": self._now, **variables})

    def _settle(self) -> None:
        """End a running answer, and take what came of it into the conversation."""
        if self._answer is None:
            return
        self._answer.close()
        self._messages = self.messages
        self._seen = self._answer.prompt + self._answer.tokens
        self._last, self._answer = self._answer.reply, None

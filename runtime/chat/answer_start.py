"""Where an answer starts: behind its prompt, or behind a beginning that it has by now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from subbyte.errors import TemplateError
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.generation.channels import Channels
from subbyte.runtime.generation.events import StopReason
from subbyte.runtime.generation.options import Begun
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template.chat_template import ChatTemplate

_TAIL = 16  # tokens at the end of a prompt that may spell a close tag and the newlines after it


@dataclass(frozen=True, slots=True)
class AnswerStart:
    """A prompt, with what it has behind the open tag that the answer begins in (None: in none), and the beginning."""

    prompt: Sequence[int]
    opened: str | None
    begun: Begun = field(default_factory=Begun)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the chat template is given for an answer: the messages before it and variables. Equal ones give a prompt."""

    rows: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Any]


class Question(NamedTuple):
    """What is to be answered, and where the answer starts.

    asked: the messages before the answer, forgotten ones included. answer: what there is of it by now, as a message or
    as tokens.
    """

    asked: list[Message]
    answer: Message | Sequence[int] | None
    conversation: Conversation
    start: AnswerStart

    @property
    def n_tokens(self) -> int:
        """Tokens that are there before the next one of the answer."""
        return len(self.start.prompt) + len(self.start.begun.tokens)


class EndedAnswer(NamedTuple):
    """The last answer in the conversation, as it was made: to go on with it from its very tokens."""

    conversation: Conversation
    start: AnswerStart
    tokens: list[int]
    message: Message
    stop_reason: StopReason


class AnswerStarts:
    """Finds the starts of answers for one model: `tags` surround its reasoning, None if it has none."""

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer, tags: Tags | Channels | None) -> None:
        self._template, self._tokenizer, self._tags = template, tokenizer, tags

    def new(self, conversation: Conversation, opened: str | None) -> AnswerStart:
        """The start of a new answer. opened: where the template begins it inside reasoning, as in `AnswerStart`."""
        prompt = self._template.encode(conversation.rows, **conversation.variables)
        if not prompt:
            raise TemplateError("the chat template renders nothing for this conversation, so there is no prompt")
        return AnswerStart(prompt, opened)

    def within(self, conversation: Conversation, answer: Message, opened: str | None) -> AnswerStart:
        """The start behind the text of `answer`, and behind its reasoning, which is closed if there is text.

        Raises TemplateError if the template has no place for a begun answer.
        """
        if self._tags is not None and answer.thinking:
            start = self.new(conversation, opened)
            tokens = self._reasoning(self._tags, answer, opened)
        else:
            start = self._behind_reasoning(conversation, opened)
            tokens = self._encode(self._template.answer_lead + answer.content, start.prompt)
        return AnswerStart(start.prompt, start.opened, Begun(tokens, answer.content, answer.thinking))

    def _behind_reasoning(self, conversation: Conversation, opened: str | None) -> AnswerStart:
        """The place of an answer's text: as the template shows answers, with no reasoning left open before it."""
        if self._template.answer_lead:  # the model writes it
            return self.new(conversation, opened)
        rows = [*conversation.rows, {"role": "assistant", "content": ""}]
        prompt = self._template.encode(rows, continue_final_message=True, **conversation.variables)
        if self._tags is None or opened is None:
            return AnswerStart(prompt, None)
        if self._tags.close not in self._tokenizer.decode(prompt[-_TAIL:], special=True):
            closing = self._tags.parser(opened).closing()
            prompt = [*self.new(conversation, opened).prompt, *self._tokenizer.encode(closing, special=True)]
        return AnswerStart(prompt, None)

    def _reasoning(self, tags: Tags | Channels, answer: Message, opened: str | None) -> list[int]:
        """The tokens of an answer with reasoning."""
        head = "" if opened is not None else tags.head
        parser = tags.parser(opened)
        parser.feed(head + answer.thinking)
        tokens = self._tokenizer.encode(head, special=True)
        tokens += self._encode(answer.thinking, tokens)
        if answer.content:
            tokens += self._tokenizer.encode(parser.closing(), special=True)
            tokens += self._encode(answer.content, tokens)
        return tokens

    def _encode(self, text: str, before: Sequence[int]) -> list[int]:
        return self._tokenizer.encode(text, after=before[-1] if before else None)

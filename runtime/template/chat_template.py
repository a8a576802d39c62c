"""Chat templates: messages to the token ids a model expects, as Hugging Face renders them."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from subbyte.errors import TemplateError
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template import helper as template_helper
from subbyte.runtime.template.abilities import MARKED_ANSWER, Abilities, Message, text_of
from subbyte.runtime.template.answers import find_answers
from subbyte.runtime.template.call_arguments import as_object, as_text, with_arguments
from subbyte.runtime.template.marks import ROLES, Marks
from subbyte.runtime.template.process import Failure

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRANSCRIPT = (
    "{% for message in messages %}"
    "{{ {'user': 'User: ', 'assistant': 'Assistant: '}.get(message.role, '') + message.content | trim + '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
QUESTION: Sequence[Message] = ({"role": "user", "content": "?"},)
_MAX_SOURCE = 1 << 16  # characters, about a second to compile; the longest known templates have 20,000
_MAX_CHECKED = 20_000  # characters of a prompt that is tokenized twice to check the marks

_log = logging.getLogger("subbyte")


class ChatTemplate:
    """A model's chat template; may be shared between threads. It runs in `runtime/template/helper.py`'s process.

    `source` is the file's `tokenizer.chat_template`; without one (None or "") ChatML is used, or a transcript where the
    vocabulary has not its tokens, and a warning logged. Text in messages never becomes a control token
    (`runtime/template/marks.py` says why), and a hostile template is stopped. Messages are given to the template in the
    form that it shows (`runtime/template/abilities.py`); a warning says what is left out all the same. Raises
    TemplateError, with the line, for a template that can't be compiled, and ResourceError if no helper process can be
    started.
    """

    def __init__(self, source: str | None, tokenizer: Tokenizer) -> None:
        self.stop: tuple[str, ...] = ()  # strings that end an answer where the vocabulary has no token for it
        if not source:
            source, self.stop = _fallback(tokenizer)
        if not isinstance(source, str) or len(source) > _MAX_SOURCE:
            raise TemplateError(f"the chat template is no text of at most {_MAX_SOURCE} characters")
        self.source = source
        self._tokenizer, self._marks = tokenizer, Marks(tokenizer)
        self._checked = False
        self._template = {"source": source, "marks": self._marks.controls(source), "roles": self._marks.roles()}
        self._run(self._template)

    def render(self, messages: Sequence[Message], *, continue_final_message: bool = False, **variables: Any) -> str:
        """The prompt as text, with control tokens spelt out: to look at, not to be tokenized. Arguments as `encode`."""
        return self._marks.plain(self._prompt(messages, continue_final_message, variables))

    def encode(
        self, messages: Sequence[Message], *, continue_final_message: bool = False, **variables: Any
    ) -> list[int]:
        """The prompt's token ids, with one BOS token if the model wants one.

        `messages` have `role` and `content`, a text or a list of `{"type": "text", "text": …}`; arguments of tool calls
        may be objects or, as in OpenAI's API, JSON text. `variables` go to the template as JSON, above all
        `add_generation_prompt` (default True), but for `now`, the `datetime` it sees (default: the current time).
        continue_final_message: the last message is the assistant's and stays open, so that the prompt ends with its
        text; TemplateError if the template has no place for it, ValueError if it has no text, but a tool call.
        Raises TemplateError if the template refuses the messages, fails, or takes too much; ValueError if messages or
        variables are not JSON; ResourceError if they are larger than 32 MiB or there is no helper process.
        """
        text = self._prompt(messages, continue_final_message, variables)
        ids = self._marks.encode(text)
        self._check_once(text, ids, messages)
        return ids if self._tokenizer.leading_bos in ids else self._tokenizer.with_bos(ids)  # it may follow white space

    def encode_answers(self, messages: Sequence[Message], **variables: Any) -> tuple[list[int], list[bool]]:
        """The token ids of a whole conversation, and which of them the assistant writes where it answers.

        These are the answers' own, behind what the template puts before them and with the token that ends the turn. At
        both borders the text is tokenized apart, as it is where an answer is generated. Arguments and errors as
        `encode`.
        """
        variables = {"now": datetime.now(), **variables, "add_generation_prompt": False}

        def render(messages: Sequence[Message]) -> str:
            return self._marks.named(self._fill_in(self.abilities.adapt(messages), variables))

        text, ids, is_answer, at = self._render(messages, variables), list[int](), list[bool](), 0
        for span in find_answers(self._marks.named(text), messages, render, self.answer_lead):
            start, end = self._marks.whole(text, *span, self._tokenizer.eog)
            for to, of_answer in ((start, False), (end, True)):
                ids += self._marks.encode(text[at:to], ids)
                is_answer += [of_answer] * (len(ids) - len(is_answer))
                at = to
        ids += self._marks.encode(text[at:], ids)
        is_answer += [False] * (len(ids) - len(is_answer))
        whole = ids if self._tokenizer.leading_bos in ids else self._tokenizer.with_bos(ids)
        return whole, [False] * (len(whole) - len(ids)) + is_answer

    def marked(self, text: str) -> str:
        """Text for a message in which control tokens count as such: of the caller's own, never of a user's."""
        controls = self._marks.controls(text)
        longest_first = "|".join(map(re.escape, sorted(controls, key=len, reverse=True)))
        return re.sub(longest_first, lambda found: controls[found[0]], text) if controls else text

    def common_prefix(self, messages: Sequence[Message], **variables: Any) -> list[int]:
        """The token ids that the prompts of all conversations begin with whose first messages these are."""
        last = messages[-1].get("role") if messages else None
        role = "assistant" if last == "user" else "user"
        a, b = (self.encode([*messages, {"role": role, "content": text}], **variables) for text in ("A", "1"))
        same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        return a[:same]

    @cached_property
    def answer_lead(self) -> str:
        """White space between the prompt and an answer in the history, which the model writes as part of the answer.

        Of a transcript: "Assistant:" and " Paris". "" where the prompt ends with it, as in most templates.
        """
        question = [{"role": "user", "content": "?"}]
        now = datetime.now()
        try:
            prompt = self.render(question, now=now)
            history = self.render(
                [*question, {"role": "assistant", "content": "A"}], now=now, add_generation_prompt=False
            )
        except TemplateError:
            return ""
        lead, answer, _ = history.removeprefix(prompt).partition("A")
        return lead if answer and history.startswith(prompt) and lead.isspace() else ""

    def generation_prompt(self, messages: Sequence[Message] = QUESTION, **variables: Any) -> str:
        """What the template writes where an answer begins, as text; "" if it does not tell. Variables as `encode`.

        messages: what it answers, where that may make a difference.
        """
        try:
            without, text = (
                self.render(messages, **{**variables, "add_generation_prompt": on}) for on in (False, True)
            )
        except TemplateError:
            return ""
        same = next((i for i, (a, b) in enumerate(zip(without, text, strict=False)) if a != b), len(without))
        return text[same:]

    @cached_property
    def abilities(self) -> Abilities:
        """What the template shows of a conversation, and how; a warning says what it does not show."""

        def attempt(messages: Sequence[Message]) -> str | None:
            try:
                return self._fill_in(messages, {})
            except TemplateError as error:
                if _met_a_bound(error):
                    raise
                return None

        try:
            found = Abilities.of(attempt)
        except TemplateError:  # it is not tried further: each time would take as long
            found = Abilities(dict.fromkeys(ROLES, "string"))
        if found.forms["system"] is None:
            _log.info("the chat template has no place for system text: it goes in front of the first message")
        if found.forms["assistant"] is None:
            _log.warning("the chat template leaves out the model's earlier answers")
        return found

    def _prompt(self, messages: Sequence[Message], open: bool, variables: Mapping[str, Any]) -> str:
        return self._render_open(messages, variables) if open else self._render(messages, variables)

    def _render_open(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """The prompt up to the end of the last message's text: rendered with a marked text, and cut where it stands."""
        text = _text_to_continue(messages)
        marked = [*messages[:-1], {**messages[-1], "content": MARKED_ANSWER}]
        rendered = self._render(marked, {**variables, "add_generation_prompt": False})
        before, *behind = rendered.split(MARKED_ANSWER)
        asked = (text_of(messages[-2]) or "").strip() if len(messages) > 1 else ""
        if len(behind) != 1 or (asked in behind[0] and asked not in before):
            raise TemplateError(
                "the chat template does not show an answer behind its question, so none can be begun or continued; "
                "give another template"
            )
        return before + text

    def _render(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        text = self._render_first(messages, variables) if "abilities" not in self.__dict__ else None
        if text is None:
            text = self._fill_in(self.abilities.adapt(messages), variables)
        _warn_if_dropped(text, messages)
        return text

    def _render_first(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str | None:
        """The prompt for messages as they are; None if the template, once its abilities are known, needs other ones.

        So one that takes too much does so once, before it is tried.
        """
        try:
            text = self._fill_in(messages, variables)
        except TemplateError as error:
            if _met_a_bound(error) or self.abilities.adapt(messages) == [{**message} for message in messages]:
                raise
            return None
        return text if self.abilities.adapt(messages) == [{**message} for message in messages] else None

    def _fill_in(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        marks, tokenizer = self._marks, self._tokenizer
        context = {"add_generation_prompt": True, "tools": None, "documents": None, **variables}
        now = context.pop("now", None) or datetime.now()
        context |= {"bos_token": marks.token(tokenizer.bos), "eos_token": marks.token(tokenizer.eos)}
        request = {**self._template, "now": now.isoformat()}
        objects, texts = ([with_arguments(message, form) for message in messages] for form in (as_object, as_text))
        try:
            return self._run({**request, "context": {**context, "messages": objects}})
        except TemplateError as error:
            if objects == texts or _met_a_bound(error):
                raise
            return self._run({**request, "context": {**context, "messages": texts}})  # for a template that wants text

    def _run(self, request: Mapping[str, Any]) -> str:
        try:
            return template_helper.ask(request)
        except Failure as failure:
            what = "".join(c if c.isprintable() else " " for c in self._marks.plain(failure.what))[:300]
            where = f" in line {failure.line}" if failure.line else ""
            raise TemplateError(f"the chat template fails{where}: {what}") from failure

    def _check_once(self, text: str, ids: list[int], messages: Sequence[Message]) -> None:
        """Warn about a template that makes control tokens in a way marks can't follow, such as `'<' + '|im_end|>'`."""
        if self._checked or len(text) > _MAX_CHECKED:
            return
        if any(self._marks.has_control(content) for m in messages if (content := text_of(m)) is not None):
            return  # rightly different
        self._checked = True
        if self._tokenizer.encode(self._marks.plain(text), special=True) != ids:
            _log.warning("the chat template puts control tokens together from parts: they are sent as plain text")


def is_base(source: str | None, tokenizer: Tokenizer) -> bool:
    """Whether a model is taken for a base model: it has no chat template, and its vocabulary not ChatML's tokens."""
    return not source and None in map(tokenizer.id, CHATML_TOKENS)


def _fallback(tokenizer: Tokenizer) -> tuple[str, tuple[str, ...]]:
    """The template for a file that has none, and the strings that end an answer.

    Such a file is most often a base model's. It goes on with a transcript, but was not trained with the control tokens
    that its family's vocabulary has for turns: after them, Gemma-3-270m writes noise without end.
    """
    if not is_base(None, tokenizer):
        _log.warning("the model has no chat template: using ChatML, whose tokens it has")
        return CHATML, () if tokenizer.id("<|im_end|>") in tokenizer.eog else ("<|im_end|>",)
    _log.warning(
        "the model has no chat template: using a transcript (User: … Assistant: …), as for a base model; such a model "
        "was trained to continue text, not to answer (`subbyte generate` does that)"
    )
    return TRANSCRIPT, ("\n\nUser:", "\nUser:")


def _text_to_continue(messages: Sequence[Message]) -> str:
    """The text of the last message; ValueError if that is no answer with a text."""
    if not messages or messages[-1].get("role") != "assistant":
        raise ValueError("continue_final_message wants the assistant's message at the end")
    if messages[-1].get("tool_calls"):
        raise ValueError("a tool call can't be continued: continue_final_message wants a message with text alone")
    text = text_of(messages[-1])
    if text is None:
        raise ValueError("continue_final_message wants a text, or parts of text alone, in the last message")
    return text


def _met_a_bound(error: TemplateError) -> bool:
    return isinstance(error.__cause__, Failure) and error.__cause__.bound


def _warn_if_dropped(text: str, messages: Sequence[Message]) -> None:
    """Warn where system text or the last message is not in the prompt; earlier ones may rightly be shortened."""
    named = [("text of the last message", message) for message in messages[-1:]]
    named += [("system text", message) for message in messages[:1] if message.get("role") == "system"]
    for what, message in named:
        said = (text_of(message) or "").strip()
        if said not in text and json.dumps(said, ensure_ascii=False)[1:-1] not in text:
            _log.warning("the chat template leaves out the %s", what)

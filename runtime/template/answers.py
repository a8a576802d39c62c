"""Where the assistant's answers stand in a rendered conversation: exactly, whatever the template writes around them.

A template may trim an answer, cut its reasoning off, or write a call in a syntax of its own, so an answer can't be
searched for. Instead the conversation is rendered once more with a text in place of the answer that occurs nowhere
else. What stands where that text stood is the answer; what is the same in both is the template's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from subbyte.errors import TemplateError
from subbyte.runtime.template.abilities import MARKED_ANSWER

Message = Mapping[str, Any]
Render = Callable[[Sequence[Message]], str]


def find_answers(text: str, messages: Sequence[Message], render: Render, lead: str) -> list[tuple[int, int]]:
    """Where each answer begins and ends in `text`, which `render` made of the messages; of those that are shown.

    lead: white space that the model writes before an answer, see `ChatTemplate.answer_lead`.
    """
    found, behind = [], 0
    for start, end in _find_at_once(text, messages, render) or _find_each(text, messages, render):
        start = max(start, behind)
        if start < end:
            lead_fits = text[behind:start].endswith(lead)
            found.append((start - len(lead) * lead_fits, end))
            behind = end
    return found


def _find_at_once(text: str, messages: Sequence[Message], render: Render) -> list[tuple[int, int]] | None:
    """All answers by one more rendering; None where one is not shown as it is, but for white space at its ends.

    A long conversation would else be rendered as often as it has answers.
    """
    answers = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
    if any({*messages[i]} != {"role", "content"} or not isinstance(messages[i]["content"], str) for i in answers):
        return None
    marks = {i: f"{MARKED_ANSWER}{i}." for i in answers}
    try:
        marked = render([{**each, "content": marks.get(i, each.get("content"))} for i, each in enumerate(messages)])
    except TemplateError:
        return None
    parts = re.split(rf"({MARKED_ANSWER}\d+\.)", marked)
    if parts[1::2] != list(marks.values()) or not text.startswith(parts[0]):
        return None
    found, at = [], len(parts[0])
    for i, behind in zip(answers, parts[2::2], strict=True):
        answer = messages[i]["content"]
        forms = (answer, answer.strip(), answer.rstrip(), answer.lstrip())
        shown = next((form for form in forms if text.startswith(form + behind, at)), None)
        if shown is None:
            return None
        found.append((at, at + len(shown)))
        at += len(shown) + len(behind)
    return found if at == len(text) else None


def _find_each(text: str, messages: Sequence[Message], render: Render) -> Iterator[tuple[int, int]]:
    for i, message in enumerate(messages):
        if message.get("role") == "assistant":
            yield _find(text, messages, i, render)


def _find(text: str, messages: Sequence[Message], i: int, render: Render) -> tuple[int, int]:
    marked = [*messages[:i], {"role": "assistant", "content": MARKED_ANSWER}]
    if messages[i].get("tool_calls"):  # whose results are refused, or not shown, behind anything but a call
        up_to = render(messages[: i + 1])
        start, end = _difference(up_to, render(marked))
        if text.startswith(up_to[:end]):
            return start, end
    return _difference(text, render([*marked, *messages[i + 1 :]]))


def _difference(text: str, marked: str) -> tuple[int, int]:
    """Where in `text` that stands which differs in `marked`, and the marked answer at least."""
    before, *behind = marked.split(MARKED_ANSWER)
    if len(behind) != 1:
        return 0, 0  # the template shows no answer here
    start = _common(before, text)
    tail = _common(behind[0][::-1], text[start:][::-1])
    return start, len(text) - tail


def _common(a: str, b: str) -> int:
    """How many characters two texts begin with in common."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])

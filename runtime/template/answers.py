"""Where the assistant's answers stand in a rendered conversation: exactly, whatever the template writes around them.

A template may trim an answer, cut its reasoning off, or write a call in a syntax of its own, so an answer can't be
searched for. Instead the conversation is rendered once more with a text in place of the answer that occurs nowhere
else. What stands where that text stood is the answer; what is the same in both is the template's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from subbyte.runtime.template.abilities import MARKED_ANSWER

Message = Mapping[str, Any]
Render = Callable[[Sequence[Message]], str]


def find_answers(text: str, messages: Sequence[Message], render: Render, lead: str) -> list[tuple[int, int]]:
    """Where each answer begins and ends in `text`, which `render` made of the messages; of those that are shown.

    lead: white space that the model writes before an answer, see `ChatTemplate.answer_lead`.
    """
    found, behind = [], 0
    for i, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        start, end = _find(text, messages, i, render)
        start = max(start, behind)
        if start < end:
            lead_fits = text[behind:start].endswith(lead)
            found.append((start - len(lead) * lead_fits, end))
            behind = end
    return found


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

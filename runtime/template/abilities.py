"""What a chat template shows of a conversation: found by rendering marked text, never by reading the template.

Templates of vision models take `content` as a list of parts and render nothing of a string; some know no system text,
and leave it out or refuse it. So each role's text is tried as string and as parts, once for a template.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Message: TypeAlias = Mapping[str, Any]
Form: TypeAlias = Literal["string", "parts"]

_TEXTS = {role: f"4c8{i}zq7x0k{i}vw9" for i, role in enumerate(("system", "user", "assistant"))}  # no template has them
MARKED_ANSWER = _TEXTS["assistant"]
_CONVERSATIONS: Mapping[str, tuple[str, ...]] = {
    "user": ("user",),
    "system": ("system", "user"),
    "assistant": ("user", "assistant", "user"),
}


@dataclass(frozen=True, slots=True)
class Abilities:
    """For each role the form in which a template shows its text, or None if it shows none.

    lists: whether it shows parts, too, where it shows strings.
    """

    forms: Mapping[str, Form | None]
    lists: bool = False

    @classmethod
    def of(cls, render: Callable[[Sequence[Message]], str | None]) -> "Abilities":
        """What a template shows. render: the prompt for messages, None where the template fails.

        A template that shows no text of the user in either form may need variables, and is given strings.
        """
        strings: dict[str, Form | None] = dict.fromkeys(_CONVERSATIONS, "string")
        everyone = ("system", "user", "assistant", "user")
        if _shown(render, everyone, strings) == set(_TEXTS):
            return cls(strings, _shown(render, everyone, dict.fromkeys(_CONVERSATIONS, "parts")) == set(_TEXTS))
        forms = dict(strings)
        for role, conversation in _CONVERSATIONS.items():
            forms[role] = next(
                (form for form in ("string", "parts") if role in _shown(render, conversation, {**forms, role: form})),
                None,
            )
            if forms["user"] is None:
                return cls(strings)
        return cls(forms)

    def adapt(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The messages in the form that the template shows; system text that it shows in none goes to the first user.

        Content that is neither a string nor parts of text alone stays as it is.
        """
        rows = [{**message} for message in messages]
        if rows and rows[0].get("role") == "system" and self.forms["system"] is None:
            system = text_of(rows[0])
            user = next((row for row in rows if row.get("role") == "user"), None)
            text = None if user is None else text_of(user)
            if user is not None and system is not None and text is not None:
                user["content"] = f"{system}\n\n{text}" if system else text
                rows = rows[1:]
        return [{**row, **self._content(row)} for row in rows]

    def _content(self, row: Message) -> dict[str, Any]:
        form, text = self.forms.get(str(row.get("role"))), text_of(row)
        if form is None or text is None:
            return {}
        if isinstance(row["content"], list) and (form == "parts" or self.lists):
            return {}
        return {"content": text if form == "string" else [{"type": "text", "text": text}]}


def text_of(message: Message) -> str | None:
    """The text of a message; None if it has none, or parts that are no text."""
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str) for p in content):
            return None
        return "".join(part["text"] for part in content)
    return content if isinstance(content, str) else None


def _shown(
    render: Callable[[Sequence[Message]], str | None], conversation: Sequence[str], forms: Mapping[str, Form | None]
) -> set[str]:
    """The roles whose text is shown in a conversation of these roles, each in its form."""
    messages = [{"role": role, "content": _TEXTS[role]} for role in conversation]
    messages = Abilities({**forms, "system": forms["system"] or "string"}).adapt(messages)
    text = (render(messages) or "").casefold()
    if any(form == "parts" for form in forms.values()) and "'text'" in text.replace('"', "'"):
        return set()  # a list written as a list
    return {role for role in conversation if _TEXTS[role] in text}

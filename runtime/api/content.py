"""Content of messages in all APIs: a text, or parts of text; and how many messages and tools a request may have."""

from __future__ import annotations

from subbyte.runtime.api.fields import Fields

MAX_MESSAGES, MAX_TOOLS = 4096, 512
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


def text_of_content(message: Fields, name: str) -> str:
    """The text of a field that is a text, null, or a list of parts. Raises ApiError for a part of another kind."""
    if not isinstance(message.get(name), list):
        return message.text(name) or ""
    return "".join(text_of_part(part) for part in message.objects(name))


def text_of_part(part: Fields) -> str:
    """The text of one part."""
    if part.get("type") not in _TEXT_PARTS:
        raise part.wrong("type", '"text": this server reads text alone')
    return part.needed_text("refusal" if part.get("type") == "refusal" else "text")

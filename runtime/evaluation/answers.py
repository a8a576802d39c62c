"""The tokens of a conversation in a model's own chat template, and which of them the assistant wrote."""

from __future__ import annotations

from datetime import datetime

from subbyte.runtime.chat.prompt_rows import PromptRows
from subbyte.runtime.evaluation.texts import Conversation
from subbyte.runtime.model import Model

NOW = datetime(2026, 1, 1)  # what templates that tell the date are told, so that a measurement can be made again


def encode_conversation(model: Model, conversation: Conversation) -> tuple[list[int], list[bool]]:
    """Token ids, and which of them the assistant wrote; see `ChatTemplate.encode_answers`.

    Raises ValueError for tools that the template does not know; TemplateError.
    """
    calls = any(message.tool_calls for message in conversation.messages)
    format = model.tool_format if conversation.tools or calls else None
    if conversation.tools and format is None:
        raise ValueError("it has tools, but the chat template knows none")
    rows = PromptRows(model.template, format, conversation.tools)
    return model.template.encode_answers(
        rows.rows(conversation.system, conversation.messages), now=NOW, **rows.variables
    )

"""Requests of Anthropic's messages API: messages of blocks to messages of text (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from subbyte.runtime.api.chat_request import ChatRequest
from subbyte.runtime.api.content import MAX_MESSAGES, MAX_TOOLS, text_of_content
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.sampling_fields import MAX_TOKENS, format_constraint, sampling_fields
from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.tools.tool import Tool, tools_by_name

BILLING = "x-anthropic-billing-header:"
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_messages_request(fields: Fields) -> ChatRequest:
    """A request for a message. Raises ApiError, or ValueError in the library's words, for what is wrong in it."""
    limit = fields.whole("max_tokens", 1, MAX_TOKENS)
    if limit is None:
        raise fields.wrong("max_tokens", "a number of tokens")
    return read_prompt_request(fields, limit)


def read_prompt_request(fields: Fields, limit: int | None = None) -> ChatRequest:
    """A request, or one to count its tokens, which has no limit."""
    tools = tuple(tools_by_name(_tools(fields)).values())
    choice = fields.object("tool_choice") or Fields({})
    thinking, budget = _thinking(fields)
    output = fields.object("output_config") or Fields({})
    format = output.object("format") or fields.object("output_format")  # its name when it was new
    return ChatRequest(
        fields.text("model") or "",
        _read_messages(fields),
        tools,
        _tool_choice(choice, tools),
        one_call=choice.flag("disable_parallel_tool_use"),
        sampling=sampling_fields(fields),
        max_tokens=limit,
        stop=fields.texts("stop_sequences"),
        constraint=None if format is None else format_constraint(format),
        thinking=thinking,
        effort=output.text("effort"),
        reasoning_budget=budget,
        stream=fields.flag("stream"),
    )


def _thinking(fields: Fields) -> tuple[bool | None, int | None]:
    """Whether the model is to reason, and for how many tokens. By default it is not, as in Anthropic's API."""
    asked = fields.object("thinking")
    if asked is None or asked.needed_text("type") == "disabled":
        return False, None
    return True, asked.whole("budget_tokens", 0, MAX_TOKENS)


def _tools(fields: Fields) -> Iterator[Mapping[str, Any]]:
    """Tools with a schema. Others are Anthropic's own: done by its servers, or known to its models by heart."""
    if len(fields.items("tools")) > MAX_TOOLS:
        raise fields.wrong("tools", f"a list of at most {MAX_TOOLS}")
    for tool in fields.objects("tools"):
        if tool.get("type") in (None, "custom"):
            schema = tool.object("input_schema")
            if schema is None:
                raise tool.wrong("input_schema", "a JSON schema")
            yield {"name": tool.get("name"), "description": tool.get("description"), "parameters": schema.values}


def _tool_choice(choice: Fields, tools: tuple[Tool, ...]) -> str:
    kind = choice.choice("type", (*_CHOICES, "tool")) or "auto"
    if kind == "tool":
        return choice.needed_text("name")
    if kind == "any" and not tools:
        raise ApiError(400, 'tool_choice is "any", but there are no tools with a schema', param="tool_choice")
    return _CHOICES[kind]


def _read_messages(fields: Fields) -> list[Message]:
    rows: list[dict[str, Any]] = []
    if system := _system(fields):
        rows.append({"role": "system", "content": system})
    if not 0 < len(fields.items("messages")) <= MAX_MESSAGES:
        raise fields.wrong("messages", f"a list of 1 to {MAX_MESSAGES} messages")
    for message in fields.objects("messages"):
        rows += _message(message)
    return checked_messages(rows)


def _system(fields: Fields) -> str:
    """The system text. Claude Code's line for billing differs in each request, and no cached prompt would fit then."""
    if isinstance(fields.get("system"), str):
        return fields.needed_text("system")
    texts = [_block_text(block) for block in fields.objects("system")]
    return "\n\n".join(text for text in texts if not text.startswith(BILLING))


def _message(message: Fields) -> list[dict[str, Any]]:
    """The messages that a message of blocks stands for: results of tools are messages of their own."""
    role = message.choice("role", ("user", "assistant", "system"))
    if role is None:
        raise message.wrong("role", '"user" or "assistant"')
    if not isinstance(message.get("content"), list):
        return [{"role": role, "content": message.needed_text("content")}]
    blocks = [*message.objects("content")]
    if role == "assistant":
        return [_answer(blocks)]
    results = [_result(block) for block in blocks if block.get("type") == "tool_result"]
    texts = [_block_text(block) for block in blocks if block.get("type") != "tool_result"]
    return [*results, *([{"role": role, "content": "\n\n".join(texts)}] if texts or not results else [])]


def _answer(blocks: list[Fields]) -> dict[str, Any]:
    """What the assistant said, reasoned and called. Reasoning that is redacted is another server's."""
    thinking, texts, calls = [], [], []
    for block in blocks:
        match block.get("type"):
            case "thinking":
                thinking.append(block.needed_text("thinking"))
            case "redacted_thinking":
                pass
            case "tool_use":
                given = block.object("input") or Fields({})
                row = {"id": block.needed_text("id"), "name": block.needed_text("name"), "arguments": given.values}
                calls.append(row)
            case _:
                texts.append(_block_text(block))
    content, reasoning = "\n\n".join(texts), "\n\n".join(thinking)
    return {"role": "assistant", "content": content, "thinking": reasoning, "tool_calls": calls}


def _result(block: Fields) -> dict[str, Any]:
    id = block.needed_text("tool_use_id")
    return {"role": "tool", "tool_call_id": id, "content": text_of_content(block, "content")}


def _block_text(block: Fields) -> str:
    if block.get("type") != "text":
        raise block.wrong("type", '"text", or a call or result of a tool: this server reads text alone')
    return block.needed_text("text")

"""Requests of Anthropic's messages API: messages of blocks to messages of text (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from subbyte.runtime.api.chat_request import ChatRequest
from subbyte.runtime.api.content import MAX_MESSAGES, MAX_TOOLS, text_of_content
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.sampling_fields import MAX_TOKENS, format_constraint, sampling_fields
from subbyte.runtime.api.turns import Turn, add_turn, messages_of
from subbyte.runtime.chat.messages import Message
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
    turns: list[Turn] = []
    if system := _system(fields):
        turns.append(Turn("system", [system]))
    if not 0 < len(fields.items("messages")) <= MAX_MESSAGES:
        raise fields.wrong("messages", f"a list of 1 to {MAX_MESSAGES} messages")
    for message in fields.objects("messages"):
        for turn in _turns(message):
            if turn.role == "system" and turns and turns[-1].role != "system":
                turn.role = "user"  # Claude Code sends some; few templates know any but the first
            add_turn(turns, turn)
    return messages_of(turns)


def _system(fields: Fields) -> str:
    """The system text. Claude Code's line for billing differs in each request, and no cached prompt would fit then."""
    if isinstance(fields.get("system"), str):
        return fields.needed_text("system")
    texts = [_block_text(block) for block in fields.objects("system")]
    return "\n\n".join(text for text in texts if not text.startswith(BILLING))


def _turns(message: Fields) -> Iterator[Turn]:
    """The turns that a message of blocks stands for: results of tools are turns of their own."""
    role = message.choice("role", ("user", "assistant", "system"))
    if role is None:
        raise message.wrong("role", '"user" or "assistant"')
    if not isinstance(message.get("content"), list):
        yield Turn(role, [message.needed_text("content")])
        return
    turn = Turn(role)
    for block in message.objects("content"):
        if block.get("type") == "tool_result" and role == "user":
            id = block.needed_text("tool_use_id")
            yield Turn("tool", [text_of_content(block, "content")], tool_call_id=id)
        elif role == "assistant":
            _add_block(turn, block)
        else:
            turn.texts.append(_block_text(block))
    if turn.texts or role == "assistant":
        yield turn


def _add_block(turn: Turn, block: Fields) -> None:
    """Adds what the assistant said, reasoned or called. Reasoning that is redacted is another server's."""
    match block.get("type"):
        case "thinking":
            turn.thoughts.append(block.needed_text("thinking"))
        case "redacted_thinking":
            pass
        case "tool_use":
            given = block.object("input") or Fields({})
            call = {"id": block.needed_text("id"), "name": block.needed_text("name"), "arguments": given.values}
            turn.calls.append(call)
        case _:
            turn.texts.append(_block_text(block))


def _block_text(block: Fields) -> str:
    if block.get("type") != "text":
        raise block.wrong("type", '"text", or a call or result of a tool: this server reads text alone')
    return block.needed_text("text")

"""The fuzz target of the server's APIs: what a request says, from its JSON to what the library takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from subbyte.errors import SubbyteError
from subbyte.runtime.api.anthropic_request import read_messages_request
from subbyte.runtime.api.chat_completions import read_chat_request
from subbyte.runtime.api.completions import read_completion_request
from subbyte.runtime.api.embeddings import read_embedding_request
from subbyte.runtime.api.errors import ApiError, api_error
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.responses_request import read_responses_request

READERS = (
    read_chat_request,
    read_completion_request,
    read_embedding_request,
    read_responses_request,
    read_messages_request,
)


def read_requests(data: bytes) -> None:
    """A request of each API, for an error of which there is an answer: in OpenAI's form, and in one line."""
    try:
        fields = Fields.of(msgspec.json.decode(data))
    except (ApiError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise SubbyteError("this is no JSON object") from None
    n_read = 0
    for read in READERS:
        try:
            read(fields)
            n_read += 1
        except (ApiError, ValueError) as error:
            told = api_error(error)
            assert told.status == 400 and told.message.isprintable(), repr(told.message)
            json.dumps([told.to_openai(), told.to_anthropic()]).encode()
    if not n_read:
        raise SubbyteError("no API takes this")


REQUESTS: list[Any] = [
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}],
     "model": "m", "temperature": 0.5, "top_p": 1, "max_tokens": 5, "stop": ["a"], "n": 2, "seed": 1, "stream": True,
     "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2, "logit_bias": {"1": -1},
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
     "tool_choice": "auto", "parallel_tool_calls": False, "response_format": {"type": "text"}},
    {"prompt": ["a", [1, 2]], "max_tokens": 1, "echo": True, "logprobs": 1},
    {"input": ["a", [1]], "encoding_format": "base64"},
    {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}], "instructions": "b",
     "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "system": "s", "max_tokens": 1,
     "tools": [{"name": "f", "input_schema": {"type": "object"}}], "thinking": {"type": "enabled", "budget_tokens": 9}},
]  # fmt: skip

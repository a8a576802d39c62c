"""Counts and times of answers in OpenAI's words, and in those of llama.cpp's server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from subbyte.runtime.generation.events import Reply, StopReason


def usage(replies: Sequence[Reply]) -> dict[str, Any]:
    """OpenAI's `usage` of all answers to one request, whose prompt is one."""
    prompt = max((reply.usage.prompt for reply in replies), default=0)
    completion = sum(reply.usage.completion for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min((reply.usage.reused for reply in replies), default=0)},
        "completion_tokens_details": {"reasoning_tokens": sum(reply.usage.thinking for reply in replies)},
    }


def timings(reply: Reply) -> dict[str, Any]:
    """Times of an answer by the names of llama.cpp's server, which many clients show."""
    used, times = reply.usage, reply.timings
    n_prompt = used.prompt - used.reused
    return {
        "cache_n": used.reused,
        "prompt_n": n_prompt,
        "prompt_ms": times.prefill * 1e3,
        "prompt_per_second": times.prefill_rate,
        "predicted_n": used.completion,
        "predicted_ms": times.generation * 1e3,
        "predicted_per_second": times.generation_rate,
        "draft_n": used.drafted,
        "draft_n_accepted": used.accepted,
    }


def finish_reason(stop_reason: StopReason, calls: bool) -> str:
    """OpenAI's word for why an answer ended; one whose time was over was cut, as by a limit of tokens."""
    if stop_reason in ("length", "timeout"):
        return "length"
    return "tool_calls" if calls else "stop"

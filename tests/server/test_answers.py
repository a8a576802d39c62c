"""Answers to a request, taken from generations: what comes behind the call that ends one is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from subbyte.runtime.generation.events import Done, Reply, Timings, Usage
from subbyte.runtime.server.answers import Answers
from subbyte.runtime.tools.call import ToolCall

CALLS = [ToolCall(f"call{i}", "lamp", {"n": i}) for i in range(2)]


class Quick:
    """An answer whose second call was made before it could be cancelled."""

    def cancel(self) -> None:
        pass

    async def astream(self) -> AsyncGenerator[Any, None]:
        for call in CALLS:
            yield call
        yield Done(Reply("", (), Usage(1, 0, 2), Timings(0, 0, 0, 0), "cancelled", tool_calls=tuple(CALLS)))


@pytest.mark.parametrize("ends_with_call, n_calls", [(True, 1), (False, 2)])
def test_nothing_follows_the_call_that_ends_an_answer(ends_with_call: bool, n_calls: int) -> None:
    async def taken() -> list[Any]:
        answers = Answers([lambda: Quick()], 1, ends_with_call)  # type: ignore[arg-type, return-value]
        await answers.begin()
        events = answers.events(1000)
        found = []
        while len(found) < n_calls + ends_with_call:
            found.append((await anext(events))[1])  # type: ignore[index]
        await events.aclose()
        return found

    found = asyncio.run(taken())
    assert [event for event in found if isinstance(event, ToolCall)] == CALLS[:n_calls]

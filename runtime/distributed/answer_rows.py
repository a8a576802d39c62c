"""Rows with answers: completions of prompts, and replies to conversations."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from subbyte.runtime import arguments
from subbyte.runtime.distributed.columns import Batch, Column, read_column
from subbyte.runtime.distributed.rows import RowFunction, attempt
from subbyte.runtime.generation.events import Reply
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.model import Model
from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.tools.tool import ToolSource, tools_by_name
from subbyte.runtime.types import Activations, CacheType


class _AnswerRows(RowFunction[Reply]):
    """Rows whose answers one scheduler makes, n_parallel at once."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        column: str,
        output: str,
        error: str | None,
        *,
        max_tokens: int | None,
        sampling: Sampling | None,
        stop: Iterable[str],
        constraint: Constraint | None,
        n_parallel: int,
        **settings: Any,
    ) -> None:
        super().__init__(model, output, error, n_parallel=n_parallel, **settings)
        checked = GenerationOptions(
            Sampling() if sampling is None else sampling, max_tokens, stop, constraint=constraint
        )
        self._column, self._constraint = column, constraint
        self._options: dict[str, Any] = {"sampling": sampling, "max_tokens": checked.max_tokens, "stop": checked.stop}

    def _find(self, batch: Batch) -> list[Reply | Exception]:
        rows = read_column(batch, self._column)
        if not rows:
            return []
        model, scheduler = self._settings.open_model(), self._settings.open_scheduler()
        self._check(model, scheduler)
        with ThreadPoolExecutor(self._settings.n_parallel, "subbyte-rows") as pool:
            return list(pool.map(lambda row: attempt(self._answer, model, scheduler, row), rows))

    def _columns(self, found: Sequence[Reply | None]) -> dict[str, Column]:
        return {
            self._output: [of and of.text for of in found],
            self._name("stop_reason"): [of and of.stop_reason for of in found],
            self._name("prompt_tokens"): np.array([of.usage.prompt if of else 0 for of in found], np.int64),
            self._name("tokens"): np.array([of.usage.completion if of else 0 for of in found], np.int64),
        }

    def _check(self, model: Model, scheduler: Scheduler) -> None:
        """Raises what is wrong with the arguments for this model, which no row could mend."""

    @abstractmethod
    def _answer(self, model: Model, scheduler: Scheduler, row: Any) -> Reply:
        """The answer to one row."""


class GenerateRows(_AnswerRows):
    """Completes the prompt of each row, as `Model.generate` does; for `map_batches` and `map_partitions`.

    Further columns: `output`, the text, None in a row with an error; OUTPUT_stop_reason; OUTPUT_prompt_tokens and
    OUTPUT_tokens, int64; and `error`, what was wrong with a row, else None.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        prompt: str = "prompt",
        output: str = "answer",
        error: str | None = "error",
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Iterable[str] = (),
        constraint: Constraint | None = None,
        n_parallel: int = 8,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        threads: int | None = None,
    ) -> None:
        """model: as for `load`, which is called where the rows are. prompt: the column of prompts, raw texts or lists
        of token ids. output: the column of texts, and the beginning of the names of others. error: the column of
        errors; None: the first one is raised. n_parallel: answers made at once. threads: None for what Ray gave the
        actor, or what the machine has. The others are those of `Model.generate`; the same seed goes for each row.
        """
        super().__init__(
            model, arguments.text("prompt", prompt), output, error, max_tokens=max_tokens, sampling=sampling, stop=stop,
            constraint=constraint, n_parallel=n_parallel, n_ctx=n_ctx, cache_type=cache_type, activations=activations,
            threads=threads,
        )  # fmt: skip

    def _answer(self, model: Model, scheduler: Scheduler, row: Any) -> Reply:
        return model.generate(row, constraint=self._constraint, scheduler=scheduler, **self._options).run()


class ChatRows(_AnswerRows):
    """Answers the conversation of each row, as `Chat.reply` does; for `map_batches` and `map_partitions`.

    Further columns: those of `GenerateRows`; OUTPUT_thinking, the reasoning before the answer; with tools
    OUTPUT_tool_calls, a list in JSON of `{"id": …, "name": …, "arguments": {…}}`. Nothing is called.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        messages: str = "messages",
        output: str = "answer",
        error: str | None = "error",
        system: str | None = None,
        tools: Iterable[ToolSource] = (),
        tool_choice: str = "auto",
        thinking: bool | None = None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Iterable[str] = (),
        constraint: Constraint | None = None,
        n_parallel: int = 8,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations | None = None,
        threads: int | None = None,
    ) -> None:
        """messages: the column of conversations, lists of messages in the form of OpenAI's API; a text is one message
        of the user. constraint: what the answer's text must be, such as `Constraint.json_schema(…)`. The arguments that
        are not told of here are those of `GenerateRows` and of `Model.chat`.
        """
        super().__init__(
            model, arguments.text("messages", messages), output, error, max_tokens=max_tokens, sampling=sampling,
            stop=stop, constraint=constraint, n_parallel=n_parallel, n_ctx=n_ctx, cache_type=cache_type,
            activations=activations, threads=threads,
        )  # fmt: skip
        tools = arguments.items("tools", tools, "a list of functions, Tools or mappings")
        tools_by_name(tools)
        self._has_tools = bool(tools)
        self._options |= {"system": system, "tools": tools, "tool_choice": tool_choice, "thinking": thinking}

    def _columns(self, found: Sequence[Reply | None]) -> dict[str, Column]:
        columns = super()._columns(found)
        columns[self._name("thinking")] = [of and of.thinking for of in found]
        if self._has_tools:
            columns[self._name("tool_calls")] = [of and _calls(of) for of in found]
        return columns

    def _answer(self, model: Model, scheduler: Scheduler, row: Any) -> Reply:
        messages = [{"role": "user", "content": row}] if isinstance(row, str) else row
        with model.chat(messages=messages, scheduler=scheduler, **self._options) as chat:
            return chat.reply(constraint=self._constraint)

    def _check(self, model: Model, scheduler: Scheduler) -> None:
        model.chat(scheduler=scheduler, **self._options).close()


def _calls(reply: Reply) -> str:
    return json.dumps([call.to_dict() for call in reply.tool_calls], ensure_ascii=False)

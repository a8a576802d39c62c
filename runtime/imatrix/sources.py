"""What an importance matrix is collected over: chunks of texts and of conversations, and what their tokens count."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice, zip_longest
from typing import TypeVar

import numpy as np

from subbyte.errors import SubbyteError
from subbyte.runtime import arguments
from subbyte.runtime.chat.messages import begin_with
from subbyte.runtime.chat.prompt_rows import PromptRows
from subbyte.runtime.evaluation.corpus import N_CTX, Chunk, Corpus, read_corpora
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.model import Model
from subbyte.runtime.tools.tool import tools_by_name

T = TypeVar("T")

NOW = datetime(2026, 1, 1)  # for templates that tell the date, so that a run can be made again


def read_sources(
    model: Model,
    texts: Sequence[str | bytes],
    conversations: Sequence[str | bytes],
    weights: Sequence[float],
    options: EvalOptions,
) -> tuple[Corpus, tuple[float, ...]]:
    """The chunks of all sources, which take turns, and the weight of each chunk.

    A run that is ended early has seen something of each. A conversation begins a chunk of its own, and one that is
    longer than n_ctx goes on in further ones. weights: of the texts, then of the conversations; none for 1 each.
    """
    n_ctx = options.n_ctx or N_CTX
    of_texts = [read_corpora([model], [text], options)[0].chunks for text in texts]
    of_conversations = [_first(_chunks(model, _bytes(data), n_ctx), options.chunks) for data in conversations]
    sources = [*of_texts, *of_conversations]
    if not sources:
        raise ValueError("no text to measure on; give at least one text or file of conversations")
    if weights and len(weights) != len(sources):
        raise ValueError(f"weights are {len(weights)}, texts and files of conversations {len(sources)}; give one each")
    weighted = [[(chunk, w) for chunk in of] for of, w in zip(sources, weights or [1.0] * len(sources), strict=True)]
    in_turn = (pair for pair in chain.from_iterable(zip_longest(*weighted)) if pair is not None)
    kept = _first(in_turn, options.chunks)
    digest = hashlib.sha256()
    for data in (*texts, *conversations):
        digest.update(_bytes(data))
    chunks, of_each = zip(*kept, strict=True)
    return Corpus(chunks, digest.hexdigest(), None, n_ctx, None), of_each


def _first(items: Iterator[T], n: int | None) -> list[T]:
    return list(islice(items, None if n is None else min(n, sys.maxsize)))


def checked_weights(weights: object) -> tuple[float, ...]:
    """Weights of an argument of that name: finite numbers above 0."""
    found = arguments.items("weights", weights, "a list of numbers")
    for i, weight in enumerate(found):
        if arguments.number(f"weights[{i}]", weight, 0) == 0:
            raise ValueError(f"weights[{i}] is 0, but must be above: leave out what is not to count")
    return tuple(map(float, found))


def _chunks(model: Model, data: bytes, n_ctx: int) -> Iterator[Chunk]:
    """Raises ValueError that names the line for what is no conversation, or refused by the template."""
    n_lines = 0
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        n_lines += 1
        try:
            tokens = np.array(_encode(model, line), np.int32)
        except (ValueError, SubbyteError) as error:
            raise ValueError(f"conversations: line {number}: {error}") from None
        for start in range(0, len(tokens) - 1, n_ctx):
            window = tokens[start : start + n_ctx]
            if len(window) > 1:
                yield Chunk.of(window, 0, model.tokenizer.leading_bos if start else None)
    if not n_lines:
        raise ValueError('conversations: no line; give lines of JSON with "messages"')


def _encode(model: Model, line: bytes) -> list[int]:
    """The tokens of a line as `subbyte batch` has it, rendered by the model's own template."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict) or "messages" not in row:
        raise ValueError('no JSON object with "messages"')
    if (system := row.get("system")) is not None:
        arguments.text("system", system)
    system, messages = begin_with(system, row["messages"])
    tools = tools_by_name(row.get("tools") or ()).values()
    format = model.tool_format if tools or any(message.tool_calls for message in messages) else None
    if tools and format is None:
        raise ValueError("it has tools, but the chat template knows none")
    rows = PromptRows(model.template, format, tools)
    return model.template.encode(
        rows.rows(system, messages), now=NOW, **{"add_generation_prompt": False, **rows.variables}
    )


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text

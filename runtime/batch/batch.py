"""Batch inference: many prompts and conversations from lines of JSON, answered together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from subbyte.errors import ModelChanged, SubbyteError
from subbyte.runtime import arguments
from subbyte.runtime.batch.parallel import in_parallel
from subbyte.runtime.batch.results import ResultsFile, line_digest, model_facts
from subbyte.runtime.generation.events import Reply
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.json_lines import parse_line
from subbyte.runtime.model import Model
from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.text import quoted
from subbyte.runtime.types import SessionOptions

_SAMPLING = tuple(Sampling.__dataclass_fields__)
_OWN = ("id", "prompt", "messages", "system", "tools", "schema", "regex", "choices", "max_tokens", "stop", "thinking")


@dataclass(frozen=True)
class BatchOptions:
    """What holds for lines that say nothing else. n_parallel: how many are answered at once."""

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    n_parallel: int = 8
    session: SessionOptions = field(default_factory=SessionOptions)


def conditions_of(model: Model, options: BatchOptions) -> bytes:
    """What decides an answer beside its line: a result of other ones is of another run. Raises ModelChanged.

    Not what is for speed or memory alone.
    """
    session = options.session
    found = {
        **model_facts(model), "sampling": asdict(options.sampling), "max_tokens": options.max_tokens,
        "stop": [*options.stop], "n_ctx": session.n_ctx, "cache_type": session.cache_type,
        "activations": session.activations,
    }  # fmt: skip
    return json.dumps(found, sort_keys=True).encode()


def results_file(
    path: str | os.PathLike[str], model: Model, lines: Mapping[int, bytes], options: BatchOptions
) -> ResultsFile:
    """The file of these lines' results; raises as `ResultsFile`, also for results of another model or other options."""
    conditions = conditions_of(model, options)
    return ResultsFile(path, {index: line_digest(conditions, line) for index, line in lines.items()})


def run_batch(model: Model, lines: Mapping[int, bytes], options: BatchOptions) -> Iterator[dict[str, Any]]:
    """Answers lines of JSON, by their index in the input; yields a result for each as soon as it is there.

    A line is an object with `prompt`, raw text, or `messages`, a conversation for the chat template, as OpenAI's API
    has it, with `system`, `tools` and `thinking`; and whatever of `max_tokens`, `stop`, `schema`, `regex` or `choices`
    (what the text must be) and the parameters of `Sampling` holds for it. A result has `index`, `line` (`line_digest`
    under `conditions_of`), the line's `id`, and the fields of `Reply`, or `error` where a line can't be answered.
    Raises ModelChanged, and what `Model.scheduler` raises.
    """
    s, conditions = options.session, conditions_of(model, options)
    with model.scheduler(
        n_parallel=options.n_parallel, n_ctx=s.n_ctx, cache_type=s.cache_type, activations=s.activations,
        checkpoint_bytes=s.checkpoint_bytes,
    ) as scheduler:  # fmt: skip

        def result(line: tuple[int, bytes]) -> dict[str, Any]:
            index, text = line
            head = {"index": index, "line": line_digest(conditions, text)}
            return head | _result(model, scheduler, options, text)

        yield from in_parallel(result, lines.items(), scheduler, options.n_parallel)


def _result(model: Model, scheduler: Scheduler, options: BatchOptions, line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = {}
    try:
        fields = _read(line)
        if "id" in fields:
            row["id"] = fields["id"]
        return row | _answer(model, scheduler, options, fields).to_dict()
    except ModelChanged:
        raise
    except (SubbyteError, ValueError, TypeError) as error:
        return {**row, "error": str(error)}


def _read(line: bytes) -> Mapping[str, Any]:
    fields = parse_line(line)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    if unknown := fields.keys() - {*_OWN, *_SAMPLING}:
        raise ValueError(f"a field {quoted(min(unknown), 40)}; known are {', '.join((*_OWN, *_SAMPLING))}")
    if ("prompt" in fields) == ("messages" in fields):
        raise ValueError('needs "prompt" or "messages", one of the two')
    return fields


def _answer(model: Model, scheduler: Scheduler, options: BatchOptions, fields: Mapping[str, Any]) -> Reply:
    given = {name: fields[name] for name in _SAMPLING if name in fields}
    if "logit_bias" in given:
        given["logit_bias"] = _biases(given["logit_bias"])
    sampling = replace(options.sampling, **given)
    constraint = _constraint(fields)
    limits: dict[str, Any] = {
        "sampling": sampling, "max_tokens": fields.get("max_tokens", options.max_tokens),
        "stop": fields.get("stop", options.stop), "scheduler": scheduler,
    }  # fmt: skip
    if "prompt" in fields:
        if only := [name for name in ("system", "tools", "thinking") if name in fields]:
            raise ValueError(f'"{only[0]}" is for "messages"; a "prompt" is raw text')
        if not isinstance(fields["prompt"], str):
            raise ValueError('"prompt" is no text')
        return model.generate(fields["prompt"], constraint=constraint, **limits).run()
    more = {name: fields[name] for name in ("system", "tools", "thinking", "messages") if name in fields}
    with model.chat(**more, **limits) as chat:
        return chat.reply(constraint=constraint)


def _biases(given: object) -> dict[int, Any]:
    """Biases by token id; names in JSON are texts."""
    biases = arguments.mapping("logit_bias", given)
    if wrong := [token for token in biases if not (token.isascii() and token.isdigit())]:
        raise ValueError(f"logit_bias has a key {quoted(wrong[0], 40)}, but must have token ids")
    return {int(token): bias for token, bias in biases.items()}


def _constraint(fields: Mapping[str, Any]) -> Constraint | None:
    kinds = {"schema": Constraint.json_schema, "regex": Constraint.regex, "choices": Constraint.choice}
    named = [name for name in kinds if name in fields]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)}: give one of them")
    return kinds[named[0]](fields[named[0]]) if named else None

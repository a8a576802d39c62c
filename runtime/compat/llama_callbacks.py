"""What a program gives to llama-cpp-python's calls beside numbers: grammars, logits processors, stopping criteria."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.files import read_regular
from subbyte.runtime.generation.options import LogitsFunction
from subbyte.runtime.grammar.constraint import Constraint

MAX_GRAMMAR = 1 << 20  # bytes of a file


class LlamaGrammar:
    """What a completion's text must be; needs `pip install 'subbyte[json]'`. constraint: the same for the library."""

    def __init__(self, constraint: Constraint) -> None:
        self.constraint = constraint

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """Of a grammar in GBNF."""
        return cls(Constraint.gbnf(grammar))

    @classmethod
    def from_file(cls, file: str | Path, verbose: bool = True) -> LlamaGrammar:
        """Of a file with a grammar in GBNF."""
        return cls.from_string(read_regular(Path(file), MAX_GRAMMAR).decode())

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        """Of a JSON schema, as text."""
        return cls(Constraint.json_schema(json_schema))


class LogitsProcessorList(list[Callable[[NDArray[np.intc], NDArray[np.float32]], NDArray[np.float32]]]):
    """Functions of the token ids so far and the next token's logits, which return the logits that count."""

    def __call__(self, input_ids: NDArray[np.intc], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[Callable[[NDArray[np.intc], NDArray[np.float32]], bool]]):
    """Functions of the token ids so far and the next token's logits; where one is true, no token follows."""

    def __call__(self, input_ids: NDArray[np.intc], logits: NDArray[np.float32]) -> bool:
        return any([criterion(input_ids, logits) for criterion in self])


def processors_of(
    logits_processor: Callable[..., Any] | None, stopping_criteria: Callable[..., bool] | None, eog: Sequence[int]
) -> list[LogitsFunction]:
    """These as the library takes them. eog: tokens that end an answer. Raises ValueError without one, to stop with."""
    found: list[LogitsFunction] = []
    if stopping_criteria is not None:
        if not eog:
            raise ValueError("stopping_criteria: this model has no token that ends an answer; leave them out")
        found.append(_stopping(stopping_criteria, eog[0]))
    if logits_processor is not None:
        found.append(_changing(logits_processor))
    return found


def _changing(processor: Callable[..., Any]) -> LogitsFunction:
    def change(logits: NDArray[np.float32], tokens: Sequence[int]) -> None:
        found = processor(np.array(tokens, np.intc), logits)
        if found is not logits:
            logits[:] = found

    return change


def _stopping(criteria: Callable[..., bool], end: int) -> LogitsFunction:
    def stop(logits: NDArray[np.float32], tokens: Sequence[int]) -> None:
        if criteria(np.array(tokens, np.intc), logits):
            logits[:] = -np.inf
            logits[end] = 0.0

    return stop

"""A model's forward pass, open in the middle: run layer by layer, tapped, begun from a stored hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import Operation, Plan
from subbyte.runtime.gguf.names import is_routed, kind_of, layer_of
from subbyte.runtime.model import Model
from subbyte.runtime.types import SessionOptions, Tokens

Values: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = Sequence[int] | NDArray[np.int32]
"""Indices of a batch's tokens."""


class Input(NamedTuple):
    """What the matrices of one operation are multiplied with: their tensors' names, and x, float32 [n, row length].

    experts: int64 [n], the expert, or the head, whose matrix each row meets; None where a tensor is one matrix.
    """

    tensors: tuple[str, ...]
    x: Values
    experts: NDArray[np.int64] | None = None


class Forward:
    """One sequence through a model, a batch at a time, with memory of its own; for one thread.

    Positions are given by the caller: a batch at `pos` sees what was computed at earlier positions, and replaces what
    was at its own. plan: the model's own, or another one from `Model.plan_with`. Errors as `Session.eval`.
    """

    def __init__(self, model: Model, options: SessionOptions, plan: Plan | None = None) -> None:
        self.plan = plan or model.plan
        self._operations = self.plan.operations
        self._starts = layer_starts(self._operations)
        self._embedded: Tokens | None = None  # whose embeddings, but for the hidden state, are in the slots
        self._embeds_for_layers = embeds_for_layers(self._operations, self._starts[0])
        self._runner = model.runner(options, plan)
        self._sequence = self._runner.new_sequence(options.cache_type)
        self._engine, self.n_batch = self._runner.engine, self._runner.n_batch

    @property
    def n_layer(self) -> int:
        """Layers of the model."""
        return len(self._starts) - 1

    def run(self, tokens: Tokens, pos: int, layers: range | None = None) -> None:
        """All layers over at most n_batch tokens, embedding included; or some consecutive ones, over the hidden state.

        layers: as counted in the file; of none only the head is left to ask for. The hidden state is what the layers
        before left, or what `hidden` was set to; where a run may begin so, `self_contained` says.
        """
        first, last = 0, len(self._operations) - 1
        if layers is not None:
            first, last = self._starts[layers.start], self._starts[layers.stop]
            if self._embeds_for_layers and self._embedded is not tokens:
                hidden = self.hidden
                self.embed(tokens, pos)
                self.hidden = hidden
        self._step(tokens, pos, first, last)

    def embed(self, tokens: Tokens, pos: int) -> None:
        """What comes before the first layer: the hidden state from the embeddings."""
        self._step(tokens, pos, 0, self._starts[0])

    @property
    def hidden(self) -> Values:
        """The residual stream of the latest batch behind what has been run, a copy, float32 [n, n_embd]."""
        return self._engine.read(self.plan.stream)

    @hidden.setter
    def hidden(self, values: Values) -> None:
        self._engine.write(self.plan.stream, values)

    def logits(self, rows: Rows) -> Values:
        """Next-token logits of rows of the latest batch, all of its layers run; float32 [len(rows), n_vocab]."""
        with self._runner.unchanged():
            return self._engine.head(rows)

    def logprobs(self, rows: Rows, targets: Tokens) -> tuple[Values, NDArray[np.bool_]]:
        """log p(targets[i]) of rows of the latest batch, and whether no other token is likelier.

        float32 and bool [len(rows)], without the memory of their logits.
        """
        with self._runner.unchanged():
            return self._engine.head(rows, targets), self._engine.greedy

    def inputs(self, tokens: Tokens, pos: int) -> Iterator[Input]:
        """Runs all layers and yields what goes into projections: each input once, with the names of all it meets.

        A row that goes to several experts is there once for each of them.
        """
        for i, operation in enumerate(self._operations[:-1]):
            if operation.kind == "experts_up":  # which says where rows go
                x = self._input(operation)
                self._step(tokens, pos, i, i + 1)
                yield from self._experts_inputs(operation, x, x, operation.writes[1])
                continue
            if operation.kind == "experts_down":
                x, shared = self._input(operation), self._engine.read(operation.reads[-1])
                yield from self._experts_inputs(operation, x, shared, operation.reads[1])
            elif operation.kind == "head_linear":
                yield from self._heads_inputs(operation, self._operations[i - 1])
            elif operation.multiplies:
                yield Input(operation.weights, self._input(operation))
            self._step(tokens, pos, i, i + 1)
        yield Input(self._operations[-1].weights, self._input(self._operations[-1]))

    def _experts_inputs(self, of: Operation, x: Values, shared: Values, routing: int) -> Iterator[Input]:
        """What goes to a token's experts: x, [n, row length] for all of them or [n, n_used * row length] for each.

        shared: what goes to the shared one, if there is one. routing: the slot of expert ids, and their weights behind.
        """
        n_used, cols = of.parameters["n_used"], of.matrices[0].cols
        experts = self._engine.read(routing)[:, :n_used].astype(np.int64).reshape(-1)
        rows = (np.repeat(x, n_used, axis=0) if x.shape[1] == cols else x).reshape(-1, cols)
        yield Input(tuple(filter(is_routed, of.weights)), rows, experts)
        if names := tuple(name for name in of.weights if not is_routed(name)):
            yield Input(names, shared)

    def _heads_inputs(self, of: Operation, before: Operation) -> Iterator[Input]:
        """What each head's map is multiplied with: the first values of the head.

        A tensor of maps to keys and values, which absorbed ones are made of, is one matrix: it goes by what both are
        made of, the normed vector that attention has cached.
        """
        n_head, cols = of.parameters["n_head"], of.matrices[0].cols
        if kind_of(of.weights[0]) != "attn_kv_b":
            x = self._engine.read(of.reads[0])
            heads = np.tile(np.arange(n_head), len(x))
            yield Input(of.weights, x.reshape(len(x) * n_head, -1)[:, :cols], heads)
        elif before.kind == "attention":
            yield Input(of.weights, self._engine.read(before.reads[1])[:, :cols])

    def _input(self, operation: Operation) -> Values:
        return operation.normed(self._engine.read(operation.reads[0]))

    def _step(self, tokens: Tokens, pos: int, first: int, last: int) -> None:
        ids = np.asarray(tokens, np.int32)
        with self._runner.unchanged():
            self._engine.step(ids, ((self._sequence.cache, len(ids), pos),), operations=(first, last))
        if first < self._starts[0]:
            self._embedded = tokens


def embeds_for_layers(operations: Sequence[Operation], start: int) -> bool:
    """Whether what is before the first layer, at operation start, leaves more for layers than the hidden state."""
    aside = {slot for operation in operations[:start] for slot in operation.writes} - {operations[-1].reads[0]}
    for operation in operations[start:]:
        if aside.intersection(operation.reads):
            return True
        aside -= set(operation.writes)
    return False


def self_contained(operations: Sequence[Operation], layer: int) -> int:
    """The last layer, `layer` at most, that a run may begin with: from it on none attends to keys of one before it."""
    starts = layer_starts(operations)
    first = starts[layer]
    for i in reversed(range(len(operations))):
        if i >= first and (keys_of := operations[i].parameters.get("keys_of", -1)) >= 0:
            first = min(first, keys_of)
    return max(i for i, start in enumerate(starts[: layer + 1]) if start <= first)


def layer_starts(operations: Sequence[Operation]) -> list[int]:
    """The first operation of each layer, and the head, which is where the last layer ends.

    A layer begins with the first operation that has one of its matrices. The norm before it is part of that operation,
    or one of its own, then what has no matrices and reads the residual stream. A layer of no operations is empty.
    """
    first: dict[int, int] = {}
    stream = operations[-1].reads[:1]

    def leads(before: Operation) -> bool:
        return not before.matrices and before.reads[:1] == stream

    for i, operation in enumerate(operations):
        for name in operation.weights:
            if (layer := layer_of(name)) is not None:
                first.setdefault(layer, i - 1 if leads(operations[i - 1]) else i)
    n_layer = max(first, default=-1) + 1
    starts = [0] * n_layer + [len(operations) - 1]
    for layer in reversed(range(n_layer)):
        starts[layer] = first.get(layer, starts[layer + 1])
    return starts

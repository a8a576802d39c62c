"""Saved sessions: a sequence and what is remembered of it in a safetensors file, bound to its model.

The tensors: `tokens`, int32; `part.I`, the parts of a `Cache` as bytes: recurrent states, keys and values;
`checkpoint.N`, the recurrent states behind N tokens. The metadata says of which model and cache_type they are, how many
tokens the parts hold, and which checkpoints end turns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime.files import FileKind, atomic_write, open_regular, read_limited
from subbyte.runtime.session.checkpoints import Checkpoint
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.text import printable, quoted

_FORMAT = "subbyte-session-1"
SAVED = FileKind("a saved session", lambda head: f'"{_FORMAT}"'.encode() in head)
_MAX_HEADER = 1 << 20  # bytes of a file beside tensors

Array: TypeAlias = NDArray[np.int32] | NDArray[np.uint8]


def save_sequence(sequence: Sequence, path: str | os.PathLike[str], model: str, *, overwrite: bool) -> None:
    """Writes a sequence and what is remembered of it. model: the digest of its file. Errors as `Session.save`."""
    cache, n = sequence.cache, sequence.n_held
    tensors: dict[str, Array] = {"tokens": np.array(sequence.tokens, np.int32)}
    for i in range(len(cache.parts(n))):
        tensors[f"part.{i}"] = cache.copy_part(i, n)
    for kept in sequence.checkpoints.kept:
        tensors[f"checkpoint.{kept.n_tokens}"] = kept.state
    turns = [kept.n_tokens for kept in sequence.checkpoints.kept if kept.ends_turn]
    metadata = {"format": _FORMAT, "held": str(n), "turns": " ".join(map(str, turns)), **_conditions(sequence, model)}
    try:
        with atomic_write(path, SAVED, overwrite=overwrite) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"can't write {printable(str(path))}: {reason}; give another place") from None


def load_sequence(like: Sequence, path: str | os.PathLike[str], model: str) -> Sequence:
    """A sequence from a file, of the plan, context and cache_type of `like`. Errors as `Session.load`."""
    return _SavedFile(like, path).sequence(model)


def _conditions(sequence: Sequence, model: str) -> dict[str, str]:
    """What must be the same where the file is loaded."""
    long_ropes = str(sequence.plan.n_long_ropes(sequence.n_ctx))
    return {"model": model, "cache_type": sequence.cache_type, "long_ropes": long_ropes}


class _SavedFile:
    """A file as it was read; nothing in it is believed before it was looked at."""

    def __init__(self, like: Sequence, path: str | os.PathLike[str]) -> None:
        self._like, self._name = like, printable(str(path))
        kept = like.checkpoints
        most = like.plan.cache_bytes(like.n_ctx, like.cache_type) + 4 * like.n_ctx + kept.capacity * kept.state_bytes
        try:
            with open_regular(path) as file:
                content = read_limited(file, most + _MAX_HEADER)
        except OSError as error:
            raise ResourceError(f"{self._name}: can't be read: {error.strerror or error}") from None
        self._metadata = self._read_metadata(content)
        try:
            self._tensors: Mapping[str, Array] = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._refuse(f"damaged: {quoted(str(error), 80)}")

    def sequence(self, model: str) -> Sequence:
        for name, wanted in _conditions(self._like, model).items():
            if (found := self._metadata.get(name)) != wanted:
                self._refuse(f"of {name} {quoted(str(found), 20)}, this session is of {quoted(wanted, 20)}")
        tokens = self._tokens()
        like, n = self._like, self._held(len(tokens))
        sequence = Sequence(like.plan, like.n_ctx, like.cache_type, like.checkpoints.max_bytes)
        parts = sequence.cache.parts(n)
        names = {"tokens", *(f"part.{i}" for i in range(len(parts)))}
        if missing := names - self._tensors.keys():
            self._refuse(f"{min(missing)} is missing")
        for i, n_bytes in enumerate(parts):
            sequence.cache.set_part(i, n, self._bytes(f"part.{i}", n_bytes))
        sequence.tokens, sequence.n_held = tokens, n
        self._add_checkpoints(sequence, self._tensors.keys() - names)
        return sequence

    def _read_metadata(self, content: bytes) -> Mapping[str, object]:
        """The metadata in the header, a JSON object behind its length; `load` checks the rest of it."""
        length = int.from_bytes(content[:8], "little")
        try:
            header = json.loads(content[8 : 8 + min(length, _MAX_HEADER)])
            metadata = header["__metadata__"]
            if metadata["format"] == _FORMAT and isinstance(metadata, dict):
                return metadata
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        self._refuse("not a saved session of this version")

    def _tokens(self) -> list[int]:
        ids, n_vocab = self._tensors.get("tokens"), self._like.plan.n_vocab
        if ids is None or ids.dtype != np.int32 or ids.ndim != 1:
            self._refuse("no list of tokens")
        if len(ids) > self._like.n_ctx:
            self._refuse(f"{len(ids)} tokens do not fit a context of {self._like.n_ctx}")
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < n_vocab:
            self._refuse(f"a token id outside of 0 to {n_vocab - 1}")
        return [int(id) for id in ids]

    def _held(self, most: int) -> int:
        """Of how many tokens the parts are."""
        held = str(self._metadata.get("held"))
        if (n := _number(held, most)) is None:
            self._refuse(f"what is remembered of {quoted(held, 20)} of {most} tokens")
        return n

    def _add_checkpoints(self, sequence: Sequence, names: set[str]) -> None:
        """As many as there is room for. names: the tensors that are left."""
        positions = {}
        for name in names:
            word, _, number = name.partition(".")
            if word != "checkpoint" or not (n_tokens := _number(number, sequence.n_past)):
                self._refuse(f"a tensor {quoted(name, 40)}")
            positions[n_tokens] = self._bytes(name, sequence.plan.state_bytes)
        turns = str(self._metadata.get("turns")).split()
        for n_tokens, state in sorted(positions.items()):
            if sequence.checkpoints.capacity:
                sequence.checkpoints.make_room()
                sequence.checkpoints.add(Checkpoint(n_tokens, str(n_tokens) in turns, state))

    def _bytes(self, name: str, n_bytes: int) -> NDArray[np.uint8]:
        data = self._tensors[name]
        if data.dtype != np.uint8 or data.shape != (n_bytes,):
            self._refuse(f"{name} has {data.nbytes} bytes, not {n_bytes}")
        return np.ascontiguousarray(data, np.uint8)

    def _refuse(self, reason: str) -> NoReturn:
        raise SubbyteError(f"{self._name}: {reason}; give a file that Session.save wrote of this model")


def _number(text: str, most: int) -> int | None:
    """A whole number of 0 to most; None for anything else."""
    return int(text) if text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most else None

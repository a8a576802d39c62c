"""The models that are here, of every place that programs keep them, each with its facts and whether memory holds it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subbyte.errors import SubbyteError
from subbyte.models import ARCHITECTURES
from subbyte.runtime.catalog.facts import Facts, read_facts
from subbyte.runtime.catalog.kept_facts import KeptFacts, State
from subbyte.runtime.files import open_regular
from subbyte.runtime.gguf.shard import MAGIC
from subbyte.runtime.machine import PROCESS_BYTES, available_memory
from subbyte.runtime.records import Record
from subbyte.runtime.store.found import Installed
from subbyte.runtime.store.resolve import cache_folder, installed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry(Record):
    """A model that is here. size: bytes of all its files. place: whose folder it is in. license: None if not known.

    supported: whether subbyte runs its architecture. fits: whether the free memory holds the weights, without any
    context; mixtures of experts run without it, slower. problem: why the file can't be read; its facts are None then.
    """

    name: str
    path: str
    size: int
    place: str
    license: str | None
    facts: Facts | None
    supported: bool | None
    fits: bool
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Name and place first, then the facts, all on one level."""
        facts = self.facts.to_dict() if self.facts else dict.fromkeys(Facts.__dataclass_fields__)
        return {
            "name": self.name, "size": self.size, "license": self.license, "base_model": facts.pop("base_model"),
            "place": self.place, **facts, "supported": self.supported, "fits": self.fits, "problem": self.problem,
            "path": self.path,
        }  # fmt: skip


def catalog() -> list[Entry]:
    """The models of all places, in the places' order; what is no GGUF file is passed over, and the log says so."""
    models = installed()
    kept = KeptFacts(cache_folder() / "facts.json")
    entries = list(_entries(models, kept, available_memory() - PROCESS_BYTES))
    kept.save(model.path for model in models)
    return entries


def _entries(models: list[Installed], kept: KeptFacts, room: int) -> Iterator[Entry]:
    for model in models:
        facts, problem = None, None
        try:
            state = State.of(model.path)
            facts = kept.get(model.path, state)
            if facts is None:
                facts = read_facts(model.path)
                kept.put(model.path, state, facts)
        except (SubbyteError, OSError) as error:
            problem = str(error)
            if not _is_gguf(model.path):
                _log.info("%s: passed over: %s", model.name, problem)
                continue
            _log.info("%s", problem)
        supported = None if facts is None else facts.architecture in ARCHITECTURES
        yield Entry(
            model.name, str(model.path), model.size, model.place, model.license, facts, supported, model.size <= room,
            problem,
        )  # fmt: skip


def _is_gguf(path: Path) -> bool:
    """Whether it begins as GGUF files do, so that a person would look for it in the list."""
    try:
        with open_regular(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False

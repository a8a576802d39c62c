"""Models by name: each loaded when it is asked for, with a scheduler for all its answers, within a memory budget."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ModelNotFound, ResourceError
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.serving import Serving
from subbyte.runtime.embedding import tokens_of
from subbyte.runtime.loading import load
from subbyte.runtime.machine import available_memory
from subbyte.runtime.model import Model
from subbyte.runtime.opened_model import CHECKPOINT_BYTES
from subbyte.runtime.server.settings import ServerSettings
from subbyte.runtime.text import quoted

ANY = "*"  # the name of the model that answers to all names that no other has
MAX_WAIT = 60.0  # seconds that a request waits for models in use to make room for its own
EMBEDDED_TOKENS = 2048  # of texts that are embedded together
LEAST_CONTEXT = 4096  # positions of a conversation, if the model was trained for as many


class ServedModel:
    """A model that is open, and what makes its answers. n_users: requests that use it now."""

    def __init__(self, name: str, serving: Serving) -> None:
        self.name, self.serving = name, serving
        self.n_users, self.last_used = 0, time.monotonic()
        self._embedding = asyncio.Lock()

    @property
    def n_bytes(self) -> int:
        """Memory that it may take: its file, and all its conversations."""
        return self.serving.model.gguf.size + self.serving.scheduler.use.max_bytes

    async def embed(
        self, inputs: Sequence[str | list[int]], is_wanted: Callable[[], Awaitable[bool]]
    ) -> tuple[NDArray[np.float32], int]:
        """Vectors of texts or token ids, and how many tokens there were; for one request at a time.

        Raises ApiError once they are not wanted any more, which is asked now and then.
        """
        model = self.serving.model
        async with self._embedding:
            tokens = await asyncio.to_thread(tokens_of, inputs, model.tokenizer, model.config.n_ctx_train)
            found: list[NDArray[np.float32]] = []
            for group in _groups(tokens):
                if not await is_wanted():
                    raise ApiError(503, "nobody waits for these embeddings any more", type="server_error")
                found.append(await asyncio.to_thread(model.embed, group))
            return np.concatenate(found), sum(map(len, tokens))

    def close(self) -> None:
        """Ends all its answers, and gives its memory back."""
        self.serving.scheduler.close()
        self.serving.model.close()


def _groups(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Texts in groups of about EMBEDDED_TOKENS."""
    group: list[list[int]] = []
    for tokens in texts:
        group.append(tokens)
        if sum(map(len, group)) >= EMBEDDED_TOKENS:
            yield group
            group = []
    if group:
        yield group


class ModelPool:
    """The models that the server has names for. Those that nobody uses make room for one that is asked for.

    paths: by name; the first is what requests without a name get. threads: of each model.
    """

    def __init__(self, paths: Mapping[str, Path], settings: ServerSettings, threads: int | None = None) -> None:
        self.paths, self._settings, self._threads = dict(paths), settings, threads
        self.open: dict[str, ServedModel] = {}
        self._max_bytes = settings.max_bytes or available_memory()
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._wanted: Counter[str] = Counter()  # requests that have not got their model yet
        self._one_load, self._released = asyncio.Lock(), asyncio.Event()

    def name_of(self, asked: str) -> str:
        """The name of the model that answers to `asked`. Raises ApiError 404 for one that there is not."""
        if not asked:
            return next(iter(self.paths))
        if asked in self.paths:
            return asked
        if ANY in self.paths:
            return ANY
        known = ", ".join(self.paths)
        message = f"there is no model {quoted(asked, 80)} here; there is {known} (serve '*=MODEL' answers to any name)"
        raise ApiError(404, message, param="model", code="model_not_found")

    @asynccontextmanager
    async def use(self, asked: str) -> AsyncIterator[ServedModel]:
        """The model for a request, which stays open within; loaded first if it is not."""
        name = self.name_of(asked)
        self._wanted[name] += 1
        try:
            while (served := self.open.get(name)) is None:
                await self._loaded(name)
            served.n_users += 1
        finally:
            self._wanted[name] -= 1
        try:
            yield served
        finally:
            served.n_users -= 1
            served.last_used = time.monotonic()
            self._released.set()

    async def _loaded(self, name: str) -> None:
        """Loads a model, once for all requests that ask for it meanwhile, also where one of these goes away."""
        if (load := self._loads.get(name)) is None:
            load = self._loads[name] = asyncio.create_task(self._open(name))
            load.add_done_callback(partial(self._load_ended, name))
        await asyncio.shield(load)

    def _load_ended(self, name: str, load: asyncio.Task[None]) -> None:
        del self._loads[name]
        if not load.cancelled():
            load.exception()  # is known now, also if nobody waits for it any more

    async def _open(self, name: str) -> None:
        async with self._one_load:  # at a time, since each counts on the room that it finds
            try:
                size = self.paths[name].stat().st_size
            except OSError as error:
                raise ModelNotFound(f"the file of model {quoted(name)} can't be read: {error.strerror}") from None
            await self._make_room(name, size)
            self.open[name] = await asyncio.to_thread(self._load, name, size)

    async def _make_room(self, name: str, size: int) -> None:
        """Closes models, the one that was used longest ago first, until this one fits; waits for those in use."""
        wanted, until = size + self._conversation_bytes(size), time.monotonic() + MAX_WAIT
        while self.open and sum(each.n_bytes for each in self.open.values()) + wanted > self._max_bytes:
            if idle := [each for each in self.open.values() if not each.n_users and not self._wanted[each.name]]:
                oldest = min(idle, key=lambda each: each.last_used)
                del self.open[oldest.name]
                await asyncio.to_thread(oldest.close)
                continue
            self._released.clear()
            try:
                await asyncio.wait_for(self._released.wait(), until - time.monotonic())
            except asyncio.TimeoutError:
                found = f"there is no room for model {quoted(name)} beside those in use"
                raise ResourceError(f"{found}; ask again later, or serve with more --memory") from None

    def _conversation_bytes(self, size: int) -> int:
        """Memory for a model's conversations: half of what its file leaves of the budget, or of its share in that."""
        return max(self._max_bytes // len(self.paths) - size, 0) // 2

    def _load(self, name: str, size: int) -> ServedModel:
        settings = self._settings
        model = load(self.paths[name], threads=self._threads)
        try:
            n_ctx = settings.n_ctx or self._context(model, self._conversation_bytes(size))
            one = model.plan.cache_bytes(n_ctx, settings.cache_type)
            checkpoints = CHECKPOINT_BYTES // settings.n_parallel if model.plan.state_bytes else 0
            scheduler = model.scheduler(
                n_parallel=settings.n_parallel, n_waiting=settings.n_waiting, n_ctx=n_ctx,
                max_bytes=max(self._conversation_bytes(size), one + checkpoints), cache_type=settings.cache_type,
                activations=settings.activations or model.recommended.activations,
            )  # fmt: skip
        except BaseException:
            model.close()
            raise
        return ServedModel(name, Serving(model, scheduler, settings.timeout))

    def _context(self, model: Model, max_bytes: int) -> int:
        """Positions of each conversation: what the model was trained for, as far as one of that size has room."""
        fixed = model.plan.state_bytes
        position = model.plan.cache_bytes(1, self._settings.cache_type) - fixed
        room = max(max_bytes - fixed, 0) // position if position else model.config.n_ctx_train
        return min(model.config.n_ctx_train, max(room, LEAST_CONTEXT))

    async def close(self) -> None:
        """Ends all answers of all models; those that are being loaded are waited for."""
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        for served in self.open.values():
            await asyncio.to_thread(served.close)
        self.open.clear()

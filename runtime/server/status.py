"""Endpoints that tell of the server: its page, models, slots, health, and figures."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.server.models import ServedModel
from subbyte.runtime.server.page import chat_page
from subbyte.runtime.server.responses import json_response
from subbyte.runtime.server.state import Active, ServerState


class StatusEndpoints:
    """What can be asked without asking a model anything."""

    def __init__(self, state: ServerState) -> None:
        self._state, self._created = state, int(time.time())

    async def page(self, _: Request) -> Response:
        """The page to chat in."""
        page, headers = chat_page()
        return Response(page, headers=headers)

    async def models(self, _: Request) -> Response:
        """All models by name; those that are loaded tell more of themselves."""
        return json_response({"object": "list", "data": [self._model(name) for name in self._state.pool.paths]})

    async def model(self, request: Request) -> Response:
        """One model, by the name that requests give it."""
        return json_response(self._model(self._state.pool.name_of(request.path_params["model"])))

    def _model(self, name: str) -> dict[str, Any]:
        served = self._state.pool.open.get(name)
        entry: dict[str, Any] = {
            "id": name, "object": "model", "created": self._created, "owned_by": "subbyte",
            "status": "loaded" if served else "unloaded",
        }  # fmt: skip
        return entry if served is None else {**entry, "meta": _meta(served)}

    async def health(self, _: Request) -> Response:
        """That the server answers."""
        return json_response({"status": "ok"})

    async def slots(self, _: Request) -> Response:
        """Each place for an answer, of each model that is loaded: what is being made there, or nothing."""
        slots: list[dict[str, Any]] = []
        for served in self._state.pool.open.values():
            busy = [
                {"id_task": active.id, **_progress(active, answer)}
                for active in self._state.active.values()
                if active.model == served.name
                for answer in active.answers.begun.values()
                if answer.stop_reason is None
            ]
            n_ctx = served.serving.scheduler.options.n_ctx
            for i in range(max(self._state.settings.n_parallel, len(busy))):
                slot = busy[i] if i < len(busy) else {}
                slots.append({"id": i, "model": served.name, "n_ctx": n_ctx, "is_processing": bool(slot), **slot})
        return json_response(slots)

    async def metrics(self, _: Request) -> Response:
        """Counters and gauges for Prometheus."""
        return Response(self._state.metrics.text(), media_type="text/plain; version=0.0.4")


def _meta(served: ServedModel) -> dict[str, Any]:
    info = served.serving.model.info
    return {
        "n_ctx": served.serving.scheduler.options.n_ctx, "n_ctx_train": info.n_ctx_train, "n_vocab": info.n_vocab,
        "n_embd": info.n_embd, "n_params": info.n_params, "size": info.size, "architecture": info.architecture,
        "bits_per_weight": info.bits_per_weight,
    }  # fmt: skip


def _progress(active: Active, answer: Generation) -> dict[str, Any]:
    used = answer.reply.usage
    return {
        "path": active.path, "seconds": time.monotonic() - active.began, "n_prompt": used.prompt,
        "n_cached": used.reused, "n_decoded": used.completion,
    }  # fmt: skip

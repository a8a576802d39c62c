"""Endpoints around texts: tokens of a text and back, prompts that a chat template makes, embeddings."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from subbyte.runtime.api.anthropic_request import read_prompt_request
from subbyte.runtime.api.chat_completions import read_chat_request
from subbyte.runtime.api.embeddings import read_embedding_request
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.server.responses import json_response
from subbyte.runtime.server.state import ServerState


class TextEndpoints:
    """What is asked of a model without an answer from it."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def tokenize(self, request: Request) -> Response:
        """`content` (or `prompt`) to `tokens`; `add_special`: with BOS; `parse_special`: control tokens count as such;
        `with_pieces`: each with its text."""
        fields = await self._state.fields(request)
        text = fields.text("content") if "content" in fields else fields.needed_text("prompt")
        special, bos = fields.flag("parse_special", True), fields.flag("add_special")
        async with self._state.model(fields) as served:
            model = served.serving.model
            ids = await run_in_threadpool(model.tokenize, text or "", special=special, add_bos=bos)
            body: dict[str, object] = {
                "tokens": ids,
                "count": len(ids),
                "max_model_len": served.serving.scheduler.options.n_ctx,
            }
            if fields.flag("with_pieces"):
                pieces = [model.tokenizer.piece(id, special=True).decode(errors="replace") for id in ids]
                body["tokens"] = [{"id": id, "piece": piece} for id, piece in zip(ids, pieces, strict=True)]
        return json_response(body)

    async def tokenizer_info(self, request: Request) -> Response:
        """BOS, EOS and the chat template, as vLLM's server tells them, so that harnesses need no other tokenizer;
        `?model=` names the model where there are several."""
        async with self._state.model(Fields({"model": request.query_params.get("model")})) as served:
            model = served.serving.model
            ids = {"bos_token": model.tokenizer.bos, "eos_token": model.tokenizer.eos}
            body = {name: None if id is None else model.tokenizer.text(id) for name, id in ids.items()}
            template = await run_in_threadpool(lambda: model.template.source)
        return json_response({**body, "chat_template": template})

    async def detokenize(self, request: Request) -> Response:
        """`tokens` to `content`, control tokens included."""
        fields = await self._state.fields(request)
        async with self._state.model(fields) as served:
            text = await run_in_threadpool(served.serving.model.detokenize, fields.items("tokens"), special=True)
        return json_response({"content": text, "prompt": text})

    async def apply_template(self, request: Request) -> Response:
        """A chat request's `prompt` as text, to look at: as tokens it may differ where messages hold control tokens."""
        fields = await self._state.fields(request)
        asked = read_chat_request(fields)
        async with self._state.model(fields) as served:
            ids = await run_in_threadpool(asked.prompt, served.serving)
            text = served.serving.model.detokenize(ids, special=True)
        return json_response({"prompt": text, "n_tokens": len(ids)})

    async def count_tokens(self, request: Request) -> Response:
        """How many tokens the prompt of a message of Anthropic's API has."""
        fields = await self._state.fields(request)
        asked = read_prompt_request(fields)
        async with self._state.model(fields) as served:
            ids = await run_in_threadpool(asked.prompt, served.serving)
        return json_response({"input_tokens": len(ids)})

    async def embeddings(self, request: Request) -> Response:
        """OpenAI's embeddings."""
        fields = await self._state.fields(request)
        asked = read_embedding_request(fields)

        async def is_wanted() -> bool:
            return not (self._state.ending or await request.is_disconnected())

        async with self._state.model(fields) as served:
            asked.check(served.serving.model.config.n_embd)
            vectors, n_tokens = await served.embed(asked.inputs, is_wanted)
        return json_response(asked.answer(served.name, vectors, n_tokens))

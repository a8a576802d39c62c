"""llama-cpp-python's `Llama` on this runtime, so that one changed import moves a program:

    from subbyte.runtime.compat.llama_cpp import Llama

Arguments, defaults and shapes are those of version 0.3. Completions and chats go through a scheduler: a prompt begins
from what an earlier one has computed, and threads may share a `Llama`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from subbyte.runtime.api.chat_completions import ChatCompletion, read_chat_request
from subbyte.runtime.api.completions import CompletionRequest, TextCompletion
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.serving import Serving
from subbyte.runtime.api.wire_answer import WireAnswer
from subbyte.runtime.compat.llama_callbacks import (
    LlamaGrammar,
    LogitsProcessorList,
    StoppingCriteriaList,
    processors_of,
)
from subbyte.runtime.compat.llama_hub import pretrained_path
from subbyte.runtime.compat.llama_options import read_options
from subbyte.runtime.compat.llama_tokens import LlamaState, LlamaTokens, value_errors
from subbyte.runtime.loading import load
from subbyte.runtime.template.chat_template import CHATML

__all__ = ["Llama", "LlamaGrammar", "LlamaState", "LogitsProcessorList", "StoppingCriteriaList"]

_POOLING = {-1: None, 1: "mean", 2: "cls", 3: "last"}  # llama.cpp's enum llama_pooling_type
_INFILL = (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))


class Llama(LlamaTokens):
    """A model, by llama-cpp-python's names; a context manager.

    model_path: a path, or whatever `subbyte.load` takes. chat_format: "chatml"; all others: the file's own template.
    Arguments of GPUs, batches and memory change nothing; others that are not done here are logged as warnings, and
    those without which results make no sense (LoRA, chat handlers) are ValueError. Errors as `subbyte.load`.
    """

    def __init__(
        self, model_path: str | os.PathLike[str], *, n_ctx: int = 512, n_threads: int | None = None,
        seed: int = 0xFFFFFFFF, kv_overrides: Mapping[str, bool | int | float | str] | None = None,
        logits_all: bool = False, last_n_tokens_size: int = 64, pooling_type: int = -1, chat_format: str | None = None,
        type_k: int | None = None, type_v: int | None = None, **others: Any,
    ) -> None:  # fmt: skip
        options = read_options(
            n_ctx=n_ctx, seed=seed, last_n_tokens_size=last_n_tokens_size, logits_all=logits_all, type_k=type_k,
            type_v=type_v, others=others,
        )  # fmt: skip
        if pooling_type not in _POOLING:
            raise ValueError(f"pooling_type is {pooling_type}, but must be 1 (mean), 2 (cls), 3 (last) or -1")
        self._pooling: Any = _POOLING[pooling_type]
        self.model_path, self.chat_format = os.fspath(model_path), chat_format
        template = {"tokenizer.chat_template": CHATML} if chat_format == "chatml" else {}
        model = load(model_path, threads=n_threads, override_kv={**template, **(kv_overrides or {})} or None)
        super().__init__(model, options)
        session = options.session(model)
        self._serving = Serving(
            model,
            model.scheduler(n_ctx=session.n_ctx, cache_type=session.cache_type, activations=session.activations),
        )

    @classmethod
    def from_pretrained(
        cls, repo_id: str, filename: str | None = None, additional_files: Sequence[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Llama:  # fmt: skip
        """A model of the Hugging Face hub, fetched if it must be. filename: of one file, `*` stands for anything."""
        options.pop("local_dir_use_symlinks", None)
        return cls(pretrained_path(repo_id, filename, additional_files or (), local_dir, cache_dir), **options)

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata but for lists, as text."""
        found = {key: self._model.metadata[key] for key in self._model.metadata}
        return {
            key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in found.items()
            if isinstance(value, str | int | float)
        }

    def create_completion(
        self, prompt: str | Sequence[int], suffix: str | None = None, max_tokens: int | None = 16,
        temperature: float = 0.8, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        logprobs: int | None = None, echo: bool = False, stop: str | Sequence[str] | None = (),
        frequency_penalty: float = 0.0, presence_penalty: float = 0.0, repeat_penalty: float = 1.0, top_k: int = 40,
        stream: bool = False, seed: int | None = None, model: str | None = None, stopping_criteria: Any = None,
        logits_processor: Any = None, grammar: LlamaGrammar | None = None,
        logit_bias: Mapping[int, float] | None = None, **others: Any,
    ) -> Any:  # fmt: skip
        """Goes on with a prompt: a dict in the form of OpenAI's completions, or with stream an iterator over chunks.

        max_tokens None, 0 or less: as many as the context holds. suffix: what the text is to stand before, where the
        model knows how to fill in; else it is put behind the text. logprobs need no logits_all. Raises ValueError for a
        prompt that the context does not hold, before anything is computed.
        """
        tokens, behind = self._prompt(prompt, suffix)
        request = CompletionRequest(
            "", [tokens], echo=echo, logprobs=logprobs, max_tokens=_limit(max_tokens), stop=_texts(stop),
            sampling=self._options.sampling(
                temperature=temperature, top_p=top_p, min_p=min_p, typical_p=typical_p, top_k=top_k, seed=seed,
                frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, repeat_penalty=repeat_penalty,
                logit_bias=logit_bias, **others,
            ),
            constraint=None if grammar is None else grammar.constraint,
            processors=self._processors(logits_processor, stopping_criteria),
        )  # fmt: skip
        wire = TextCompletion(request, self._serving, model or self.model_path)
        if stream:
            return self._chunks(wire)
        whole = self._whole(wire)
        whole["choices"][0]["text"] += behind
        return whole

    __call__ = create_completion

    def create_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: Any = None, tools: Sequence[Mapping[str, Any]] | None = None, tool_choice: Any = None,
        temperature: float = 0.2, top_p: float = 0.95, top_k: int = 40, min_p: float = 0.05, typical_p: float = 1.0,
        stream: bool = False, stop: str | Sequence[str] | None = (), seed: int | None = None,
        response_format: Mapping[str, Any] | None = None, max_tokens: int | None = None,
        presence_penalty: float = 0.0, frequency_penalty: float = 0.0, repeat_penalty: float = 1.0,
        model: str | None = None, logits_processor: Any = None, grammar: LlamaGrammar | None = None,
        logit_bias: Mapping[int, float] | None = None, logprobs: bool | None = None, top_logprobs: int | None = None,
        **others: Any,
    ) -> Any:  # fmt: skip
        """Answers a conversation: a dict in the form of OpenAI's chat completions, or an iterator over chunks.

        Calls are also in `function_call`, the older form. Raises ValueError for what is wrong in the arguments.
        """
        if functions is not None:
            tools = [{"type": "function", "function": function} for function in functions]
        if function_call is not None:
            named = isinstance(function_call, Mapping)
            tool_choice = {"type": "function", "function": function_call} if named else function_call
        fields = {
            "messages": list(messages), "tools": None if tools is None else list(tools), "tool_choice": tool_choice,
            "response_format": response_format, "logprobs": logprobs, "top_logprobs": top_logprobs,
        }  # fmt: skip
        with value_errors():
            request = read_chat_request(Fields(fields))
        request = replace(
            request, max_tokens=_limit(max_tokens), stop=_texts(stop),
            sampling=self._options.sampling(
                temperature=temperature, top_p=top_p, min_p=min_p, typical_p=typical_p, top_k=top_k, seed=seed,
                frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, repeat_penalty=repeat_penalty,
                logit_bias=logit_bias, **others,
            ),
            constraint=request.constraint if grammar is None else grammar.constraint,
            processors=self._processors(logits_processor, None),
        )  # fmt: skip
        wire = ChatCompletion(request, self._serving, model or self.model_path)
        if stream:
            return map(_with_function_call, self._chunks(wire))
        return _with_function_call(self._whole(wire))

    def create_chat_completion_openai_v1(self, *given: Any, **options: Any) -> Any:
        """The same as `openai`'s objects, ChatCompletion or ChatCompletionChunk; needs that package."""
        from openai.types.chat import ChatCompletion as Whole
        from openai.types.chat import ChatCompletionChunk as Chunk

        found = self.create_chat_completion(*given, **options)
        return (Chunk(**chunk) for chunk in found) if options.get("stream") else Whole(**found)

    def embed(
        self, input: str | Sequence[str], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> Any:
        """The embedding of a text, or of each of several, as lists of floats: one vector a text, pooled.

        truncate: what is too long is cut, at the end. return_count: with the number of tokens of all.
        """
        texts = [input] if isinstance(input, str) else list(input)
        tokens = [self._model.tokenize(text, add_bos=True) for text in texts]
        if truncate:
            tokens = [ids[: self._model.config.n_ctx_train] for ids in tokens]
        with value_errors():
            vectors = self._model.embed(tokens, pooling=self._pooling, normalize=normalize).tolist()
        found = vectors[0] if isinstance(input, str) else vectors
        return (found, sum(map(len, tokens))) if return_count else found

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> dict[str, Any]:
        """Embeddings in the form of OpenAI's API."""
        texts = [input] if isinstance(input, str) else list(input)
        vectors, n_tokens = self.embed(texts, return_count=True)
        data = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(vectors)]
        used = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        return {"object": "list", "data": data, "model": model or self.model_path, "usage": used}

    def set_cache(self, cache: object) -> None:
        """Changes nothing: what prompts have in common is kept anyway."""

    def set_seed(self, seed: int) -> None:
        """The seed of calls that give none."""
        self._options = replace(self._options, seed=seed)

    def close(self) -> None:
        """Ends all answers and gives the memory back. Closing twice is no error."""
        self._serving.scheduler.close()
        if self._session is not None:
            self._session.close()
        self._model.close()

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prompt(self, prompt: str | Sequence[int], suffix: str | None) -> tuple[list[int], str]:
        """The tokens of a prompt, and what comes behind the text as it is."""
        if not isinstance(prompt, str):
            return list(prompt), suffix or ""
        if suffix is None:
            return self._model.tokenize(prompt, special=True, add_bos=True), ""
        for names in _INFILL:
            begin, middle, end = map(self._model.tokenizer.id, names)
            if begin is not None and middle is not None and end is not None:
                before, after = (self._model.tokenize(text) for text in (prompt, suffix))
                return self._model.tokenizer.with_bos([begin, *before, middle, *after, end]), ""
        return self._model.tokenize(prompt, add_bos=True), suffix

    def _processors(self, logits_processor: Any, stopping_criteria: Any) -> list[Any]:
        return processors_of(logits_processor, stopping_criteria, sorted(self._model.tokenizer.eog))

    def _whole(self, wire: WireAnswer) -> dict[str, Any]:
        for _ in self._sent(wire):
            pass
        return wire.whole()

    def _chunks(self, wire: WireAnswer) -> Iterator[dict[str, Any]]:
        for sent in wire.opened():
            if isinstance(sent.data, dict):
                yield sent.data
        yield from self._sent(wire)

    def _sent(self, wire: WireAnswer) -> Iterator[dict[str, Any]]:
        with value_errors():
            (start,) = wire.starts()
            with closing(start()) as answer:
                for event in answer:
                    for sent in wire.add(0, event):
                        if isinstance(sent.data, dict):
                            yield sent.data


def _with_function_call(completion: dict[str, Any]) -> dict[str, Any]:
    """A chat's answer, or a chunk of it, whose first call is also in `function_call`."""
    for choice in completion["choices"]:
        said = choice.get("message") or choice.get("delta") or {}
        if calls := said.get("tool_calls"):
            said["function_call"] = calls[0]["function"]
    return completion


def _limit(max_tokens: int | None) -> int | None:
    return None if max_tokens is None or max_tokens <= 0 else max_tokens


def _texts(stop: str | Sequence[str] | None) -> list[str]:
    return [stop] if isinstance(stop, str) else list(stop or ())

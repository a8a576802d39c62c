"""A model class for lm-evaluation-harness (`pip install lm-eval`): benchmarks on a GGUF file, in this process.

The harness finds models of other packages once they are imported, not by entry points, so this module is its command
line as well:

    python -m subbyte.runtime.compat.lm_eval --model subbyte --model_args pretrained=smollm2 --tasks arc_easy
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import model_registry
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm

from subbyte.errors import ContextOverflow
from subbyte.runtime import arguments
from subbyte.runtime.compat.shared_prefixes import shared_prefixes
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.loading import load
from subbyte.runtime.model import Model
from subbyte.runtime.text import quoted
from subbyte.runtime.types import Activations

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from subbyte.runtime.generation.generation import Generation
    from subbyte.runtime.scheduler.scheduler import Scheduler

_log = logging.getLogger(__name__)

_SAMPLING = {  # the harness's words, which are those of transformers
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "seed": "seed",
}


class SubbyteLM(TemplateLM):
    """A model for lm-evaluation-harness: tokenizes, cuts and counts as the harness does for Hugging Face models.

    Requests of one context are scored together, and contexts that begin alike, as with few-shot examples, read the
    beginning once. What is too long is cut from the left, which is warned of with a count.

    pretrained: a path, a built-in name, hf:user/repo:QUANT, or a `Model`. max_length: tokens of context; None: what the
    model was trained for. max_gen_toks: of an answer, where a task says nothing. n_parallel: answers made at once.
    threads: None for what the machine grants. activations: how answers are computed; scores always with "int8x2".
    add_bos_token: None: as the file says. prefix_token_id: what stands before a text without context; None: BOS, or
    else EOS. enable_thinking, chat_template_args: variables of the chat template. think_end_token: text that ends
    reasoning; the answer is what comes behind it. device, batch_size, max_batch_size: what the harness's command line
    always gives, a GPU among it; nothing depends on them here. Errors as `load`.
    """

    def __init__(
        self,
        pretrained: str | Model,
        *,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        n_parallel: int = 8,
        threads: int | None = None,
        activations: Activations = "int8x2",
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        enable_thinking: bool | None = None,
        chat_template_args: dict[str, Any] | None = None,
        think_end_token: str | None = None,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if max_length is not None:
            max_length = arguments.whole("max_length", max_length, 2, hint="tokens of context")
        self._max_gen_toks = arguments.whole("max_gen_toks", max_gen_toks, 1)
        self._n_parallel = arguments.whole("n_parallel", n_parallel, 1)
        self._activations: Activations = activations
        self.model = pretrained if isinstance(pretrained, Model) else load(pretrained, threads=threads)
        self._max_length = min(max_length or self.model.config.n_ctx_train, self.model.config.n_ctx_train)
        tokenizer = self.model.tokenizer
        self._add_bos = tokenizer.add_bos if add_bos_token is None else arguments.flag("add_bos_token", add_bos_token)
        given = (prefix_token_id, tokenizer.bos, tokenizer.eos)
        self._prefix_token_id = next((token for token in given if token is not None), None)
        self._variables = dict(chat_template_args or {})
        if enable_thinking is not None:
            self._variables["enable_thinking"] = enable_thinking
        self._think_end = think_end_token
        self.n_truncated = 0  # requests so far that were cut from the left

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.prefix_token_id if self.model.tokenizer.eos is None else self.model.tokenizer.eos

    @property
    def prefix_token_id(self) -> int:
        """The token before a text that has no context."""
        if self._prefix_token_id is None:
            raise ValueError("this model has no token that begins or ends a text: give prefix_token_id")
        return self._prefix_token_id

    @property
    def max_length(self) -> int:
        """Tokens of context."""
        return self._max_length

    @property
    def max_gen_toks(self) -> int:
        """Tokens of an answer, where a task says nothing."""
        return self._max_gen_toks

    @property
    def tokenizer_name(self) -> str:
        """What tells its chat template from others in the harness's cache of requests."""
        return self.model.path.name

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into its results."""
        info = self.model.info
        return {
            "model_num_parameters": info.n_params,
            "model_architecture": info.architecture,
            "model_bits_per_weight": info.bits_per_weight,
        }

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text, control tokens in it as such; BOS where the model wants it and the text has none."""
        ids: list[int] = self.model.tokenizer.encode(string, special=True)
        bos = self.model.tokenizer.bos
        if add_special_tokens is False or not self._add_bos or bos is None or ids[:1] == [bos]:
            return ids
        return [bos, *ids]

    def tok_decode(self, tokens: Iterable[int], **_: Any) -> str:
        """The text of token ids."""
        return self.model.tokenizer.decode(tokens, special=True)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The model's chat template, for the harness's records; None where none is used."""
        if isinstance(chat_template, str):
            _log.warning("the file has one chat template, which is used, not %s", quoted(chat_template))
        return self.model.template.source if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the text of a prompt; without add_generation_prompt it ends within the last message."""
        return self.model.template.render(
            chat_history, continue_final_message=not add_generation_prompt,
            **{**self._variables, "add_generation_prompt": add_generation_prompt},
        )  # fmt: skip

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation behind its context, and whether greedy decoding would give it."""
        numbers: dict[tuple[int, ...], list[int]] = {}  # of the requests of each context
        cut = 0
        for i, (_, context, continuation) in enumerate(requests):
            room = self._max_length + 1 - len(continuation)  # the last token is not computed
            if room < 1:
                found = f"a continuation of {len(continuation)} tokens, the context holds {self._max_length}"
                raise ContextOverflow(f"{found}: leave it out, or score texts of any length by loglikelihood_rolling")
            cut += len(context) > room
            numbers.setdefault(tuple(context[-room:]), []).append(i)
        self._count_truncated(cut, len(requests))
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with tqdm(total=len(requests), desc="Running loglikelihood requests", disable=disable_tqdm) as progress:
            for prefix, contexts in shared_prefixes(numbers):
                with self.model.pin(prefix, activations="int8x2") if prefix else nullcontext():
                    for tokens in contexts:
                        of_context = numbers[tokens]
                        scores = self.model.score(tokens, [requests[i][2] for i in of_context])
                        for i, score in zip(of_context, scores, strict=True):
                            answers[i] = (score.total, bool(score.greedy.all()))
                            if requests[i][0] is not None:
                                self.cache_hook.add_partial("loglikelihood", requests[i][0], answers[i])
                        progress.update(len(of_context))
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of whole texts, in windows of max_length tokens, each token once."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for i, (text,) in enumerate(request.args for request in requests):
            pairs = utils.get_rolling_token_windows(
                self.tok_encode(text), prefix_token=self.prefix_token_id, max_seq_len=self._max_length, context_len=1
            )
            for context, predicted in map(utils.make_disjoint_window, pairs):
                windows.append((None, context, predicted))
                owners.append(i)
        totals = [0.0] * len(requests)
        for i, (logprob, _) in zip(owners, self._loglikelihood_tokens(windows, disable_tqdm), strict=True):
            totals[i] += logprob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answers up to a stop string, n_parallel at once; greedy where a task asks for nothing else."""
        n_ctx = self._max_length if self._max_length < self.model.config.n_ctx_train else None
        texts = []
        with self.model.scheduler(
            n_parallel=self._n_parallel, n_waiting=max(len(requests), 1), n_ctx=n_ctx, activations=self._activations
        ) as scheduler:
            cut = Counter[bool]()
            answers = [self._answer(request.args, scheduler, cut) for request in requests]
            self._count_truncated(cut[True], len(requests))
            progress = tqdm(answers, desc="Running generate_until requests", disable=disable_tqdm)
            for (answer, until), request in zip(progress, requests, strict=True):
                texts.append(postprocess_generated_text(answer.run().text, until, self._think_end))
                self.cache_hook.add_partial("generate_until", request.args, texts[-1])
        return texts

    def _answer(
        self, request: tuple[str, dict[str, Any]], scheduler: Scheduler, cut: Counter[bool]
    ) -> tuple[Generation, list[str]]:
        """An answer that is being made, and what its text is cut at. request: context and options, as the harness's."""
        context, options = request[0], normalize_gen_kwargs(request[1], self._max_gen_toks)
        until, n = [text for text in options.pop("until") if text], options.pop("max_gen_toks")
        assert scheduler.options.n_ctx is not None
        room = min(self._max_length, scheduler.options.n_ctx) - n
        if room < 1:
            found = f"max_gen_toks is {n}, the context holds {room + n} tokens"
            raise ContextOverflow(f"{found}: ask for fewer, or give a larger max_length")
        tokens = self.tok_encode(context)
        cut[len(tokens) > room] += 1
        stop = () if self._think_end else until  # in reasoning they would end it
        answer = self.model.generate(
            tokens[-room:], max_tokens=n, sampling=_sampling(options), stop=stop, scheduler=scheduler
        )
        return answer, until

    def _count_truncated(self, n: int, total: int) -> None:
        self.n_truncated += n
        if n:
            _log.warning(
                "%d of %d requests are longer than %d tokens: cut from the left, which changes results",
                n, total, self._max_length,
            )  # fmt: skip


def _sampling(options: dict[str, Any]) -> Sampling:
    """What the harness's options ask for: without filters that they do not name. Raises ValueError for unknown ones."""
    options = dict(options)
    sampled = options.pop("do_sample", False)
    if options.pop("num_beams", 1) != 1:
        raise ValueError("num_beams: beam search is not done here; leave it out")
    if unknown := options.keys() - _SAMPLING.keys():
        raise ValueError(
            f"gen_kwargs has {quoted(min(unknown))}, but only {', '.join(_SAMPLING)} are known; leave it out"
        )
    given = {_SAMPLING[name]: value for name, value in options.items() if value is not None}
    neutral = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_last_n": -1}
    return Sampling(**{**neutral, **given, **({} if sampled else {"temperature": 0.0})})


model_registry.register("subbyte", target=f"{__spec__.name}:SubbyteLM")


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()

"""A model: what programs ask of it. It converses, completes, scores, chooses, embeds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from subbyte.errors import SubbyteError, memory_errors
from subbyte.runtime import arguments
from subbyte.runtime.opened_model import OpenedModel
from subbyte.runtime.session.prefixes import Pin
from subbyte.runtime.session.session import Session
from subbyte.runtime.text import quoted
from subbyte.runtime.types import Activations, CacheType, Progress, SessionOptions, Texts, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.chat_context import ContextPolicy
    from subbyte.runtime.chat.messages import MessageSource
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.chat.reasoning import ReasoningFormat, ReasoningStart
    from subbyte.runtime.embedding import Pooling
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation, Host
    from subbyte.runtime.generation.options import LogitsFunction
    from subbyte.runtime.generation.sampling import Sampling
    from subbyte.runtime.grammar.constraint import Constraint
    from subbyte.runtime.scheduler.scheduler import Scheduler
    from subbyte.runtime.scoring.choice import Choice, Normalize
    from subbyte.runtime.scoring.score import Score
    from subbyte.runtime.session.runner import Runner
    from subbyte.runtime.speculation.speculation import Speculation
    from subbyte.runtime.store.builtin import Recommended
    from subbyte.runtime.template.chat_template import ChatTemplate
    from subbyte.runtime.tools.format import ToolFormat
    from subbyte.runtime.tools.tool import ToolSource


class Model(OpenedModel):
    """A loaded model: immutable, shared by any number of sessions and threads. Weights stay in the mapped file.

    Made by `load`. config: its hyper-parameters. tokenizer: its vocabulary. plan: its forward pass.
    """

    @memory_errors("pin this prefix")
    def pin(
        self,
        prefix: str | Sequence[int] | Sequence[Mapping[str, Any]],
        *,
        path: str | os.PathLike[str] | None = None,
        special: bool = False,
        variables: Mapping[str, Any] | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        on_progress: Progress | None = None,
    ) -> Pin:
        """Computes the beginning of prompts once, for all that begin with it: sessions, chats, schedulers.

        prefix: raw text (special as for `generate`), token ids, or messages for the chat template (with variables), of
        which that is kept which any conversation that begins with them has. path: a file to take it from if it is
        there, or else to write it to; refused whole (SubbyteError) if it is of another model, cache_type or prefix.
        cache_type, activations: of those that are to begin from it; so is n_ctx, that of `session`, where long contexts
        have a rope of their own (Phi-3). It is kept until the pin is closed. Raises ContextOverflow, ResourceError.
        """
        tokens = self._prefix_tokens(prefix, special, variables or {})
        if not tokens:
            raise ValueError("prefix: there are no tokens to pin")
        options = SessionOptions(None, cache_type, activations)
        if len(tokens) > self._choose_context(options):
            options = replace(options, n_ctx=len(tokens))
        session = self.open_session(options)
        if path is not None and os.path.exists(arguments.path("path", path)):
            session.load(path)
            if session.tokens != tokens:
                raise SubbyteError(f"{quoted(str(path))}: of another prefix; give another place, or remove the file")
        else:
            session.eval(tokens, "none", on_progress)
            if path is not None:
                session.save(path)
        return session.pin()

    def _prefix_tokens(
        self,
        prefix: str | Sequence[int] | Sequence[Mapping[str, Any]],
        special: bool,
        variables: Mapping[str, Any],
    ) -> list[int]:
        if isinstance(prefix, str):
            return self.tokenizer.encode(prefix, special=arguments.flag("special", special), add_bos=True)
        items = arguments.items("prefix", prefix, "a text (str), a list of token ids or a list of messages")
        if items and isinstance(items[0], Mapping):
            return self.template.common_prefix(items, **arguments.mapping("variables", variables))
        ids: list[int] = arguments.token_ids("prefix", items, self.config.n_vocab).tolist()
        return ids

    @cached_property
    def template(self) -> ChatTemplate:
        """The file's chat template, or ChatML or a transcript if it has none. Raises TemplateError."""
        from subbyte.runtime.template.chat_template import ChatTemplate

        return ChatTemplate(self.metadata.str("tokenizer.chat_template", None), self.tokenizer)

    @cached_property
    def reasoning_format(self) -> ReasoningFormat:
        """How the model delimits reasoning and how it is switched on and off. Raises TemplateError."""
        return self._reasoning_format(self.template)

    def _reasoning_format(self, template: ChatTemplate) -> ReasoningFormat:
        from subbyte.runtime.chat.reasoning import detect_reasoning_format

        names = [self.metadata.str(f"general.{key}", "") for key in ("name", "basename")]
        return detect_reasoning_format(template, self.tokenizer, " ".join(names))

    @cached_property
    def tool_format(self) -> ToolFormat | None:
        """How the model writes calls of tools; None where its template tells of none, or no format is known."""
        return self._find_tool_format(self.template, self.reasoning_format)

    def _find_tool_format(self, template: ChatTemplate, reasoning: ReasoningFormat) -> ToolFormat | None:
        from subbyte.runtime.tools.known import find_format

        return find_format(template, self.tokenizer, reasoning_end=reasoning.end, channels=reasoning.in_channels)

    @cached_property
    def presets(self) -> Mapping[str, Preset]:
        """The vendor's recommended settings for this model's family, by name; empty for a family not known here.

        Raises TemplateError.
        """
        from subbyte.runtime.chat.presets import presets_for

        return presets_for(self.metadata, self.reasoning_format)

    @cached_property
    def recommended(self) -> Recommended:
        """What `chat` takes where it is given nothing: a built-in model's own settings, or the library's defaults."""
        from subbyte.runtime.store.resolve import recommended

        return recommended(self.path)

    def chat(
        self,
        *,
        system: str | None = None,
        messages: Iterable[MessageSource] = (),
        tools: Iterable[ToolSource] = (),
        tool_choice: str = "auto",
        strict_tools: bool = True,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        stop: Iterable[str] = (),
        thinking: bool | None = None,
        reasoning_budget: int | None = None,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
        reasoning: ReasoningStart = "auto",
        logprobs: int | None = None,
        processors: Iterable[LogitsFunction] = (),
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations | None = None,
        checkpoint_bytes: int | None = None,
        context_policy: ContextPolicy = "stop",
        scheduler: Scheduler | None = None,
        timeout: float | None = None,
        draft: Draft = "lookup",
    ) -> Chat:
        """A conversation with a session of its own; a context manager.

        sampling, activations: None for those of `recommended`, as the command `chat` takes them; `Chat.settings` shows
        what holds. system: the system prompt. messages: what was said before, `Message`s or mappings as OpenAI's API
        has them; where the last one is the user's, `Chat.reply` answers it. tools: functions that the model may call,
        or descriptions of them, as `Tool.of` takes them; ValueError for a model whose template knows no tools.
        tool_choice: as in `Chat`. strict_tools: whether a call that has begun can only become one by its tool's schema,
        which takes llguidance; False: calls are parsed as the model writes them.
        max_tokens: of each answer; None: what the context holds. stop: strings that end an answer. thinking and
        reasoning_budget: as in `Chat`. template: a chat template instead of the file's. variables: for the chat
        template. reasoning: "open" where each answer begins with reasoning that neither the prompt nor the model opens
        by a tag. n_ctx, cache_type and checkpoint_bytes: as in `session`. context_policy: what is done where the
        conversation no longer fits: "stop", "forget" or "grow", see `Chat.context_policy`. scheduler: makes the answers
        together with those of others; n_ctx, cache_type, activations and checkpoint_bytes are then its own, whatever is
        given here. timeout: seconds after which an answer ends, with stop_reason "timeout". logprobs, processors: as in
        `generate`.
        draft: how tokens are guessed that are computed together with the last one: "lookup" in the conversation itself,
        by a smaller `Model` of the same vocabulary, or None. It changes no token, and is used where it saves time;
        models with recurrent states do without. Raises ValueError for a draft model that does not fit.
        """
        from subbyte.runtime.chat.chat import Chat
        from subbyte.runtime.chat.chat_context import checked_policy
        from subbyte.runtime.chat.chat_state import NO_TOOL_FORMAT
        from subbyte.runtime.chat.messages import begin_with
        from subbyte.runtime.generation.options import GenerationOptions
        from subbyte.runtime.generation.sampling import Sampling
        from subbyte.runtime.template import helper as template_helper
        from subbyte.runtime.template.chat_template import ChatTemplate
        from subbyte.runtime.tools.tool import tools_by_name

        if variables is not None:
            arguments.mapping("variables", variables)
        policy = checked_policy(context_policy)
        known_tools = tools_by_name(tools)
        system, history = begin_with(system, messages)
        best = self.recommended
        sampling = Sampling(**best.sampling) if sampling is None else sampling
        options = GenerationOptions(
            sampling, max_tokens, stop, reasoning_budget, timeout=timeout, logprobs=logprobs, processors=processors
        )
        if template is not None and not arguments.text("template", template).strip():
            raise ValueError("template is empty; give a chat template in Jinja, or None for the file's")
        template_helper.start()  # it gets ready while the session is made
        own = self.template if template is None else ChatTemplate(template, self.tokenizer)
        reasoning_format = self.reasoning_format if template is None else self._reasoning_format(own)

        def find_tool_format() -> ToolFormat | None:
            return self.tool_format if template is None else self._find_tool_format(own, reasoning_format)

        needed = known_tools or any(message.tool_calls for message in history)
        tool_format = find_tool_format() if needed else None
        if known_tools and tool_format is None:
            raise ValueError(NO_TOOL_FORMAT)
        activations = best.activations if activations is None else activations
        session = self._answers(SessionOptions(n_ctx, cache_type, activations, checkpoint_bytes), scheduler)
        chat = Chat(
            session, self.tokenizer, own, reasoning_format=reasoning_format, options=options,
            system=system, thinking=thinking, variables=variables, reasoning=reasoning,
            speculation=self._speculation(draft, session),
            messages=history, tools=known_tools, tool_format=tool_format, find_tool_format=find_tool_format,
            tool_choice=tool_choice, strict_tools=strict_tools,
        )  # fmt: skip
        chat.context_policy, chat.n_ctx_train = policy, self.config.n_ctx_train
        return chat

    @memory_errors("begin an answer")
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Iterable[str] = (),
        constraint: Constraint | None = None,
        special: bool = False,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        prompt_logprobs_from: int = 0,
        processors: Iterable[LogitsFunction] = (),
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        scheduler: Scheduler | None = None,
        timeout: float | None = None,
        draft: Draft = "lookup",
    ) -> Generation:
        """Completes a prompt as raw text, without a chat template; reasoning is text like any other here.

        Iterate over the result for events, or `.run()` it for the whole `Reply`. Its memory is given back when the
        answer has ended, when it is closed (`with model.generate(…) as answer:` does that), or with the last reference.
        constraint: what the text must be (`Constraint.json_schema(…)`, `regex`, `choice`, `lark`, `gbnf`). special:
        text like <|im_end|> in the prompt becomes control tokens. logprobs: a `TokenLogprob` for each token, before its
        text, with so many of the most probable ones; also in `Reply.logprobs`. prompt_logprobs: the same for each token
        of the prompt, before the answer and in `Reply.prompt_logprobs`; the first one has no log-probability. Alone,
        with max_tokens=0, or with an answer behind. prompt_logprobs_from: index of the first token that is told; what
        comes before may then be taken from what a scheduler has computed, where it must else be computed again for its
        logits. processors: functions that change the
        logits of the next token in place, float32 [n_vocab], given the tokens so far, behind biases and penalties; an
        exception in one ends the answer. The other arguments are those of `chat`. Raises ContextOverflow before
        anything is computed.
        """
        from subbyte.runtime.generation.generation import complete
        from subbyte.runtime.generation.options import GenerationOptions
        from subbyte.runtime.generation.sampling import Sampling

        options = GenerationOptions(
            Sampling() if sampling is None else sampling, max_tokens, stop, timeout=timeout, logprobs=logprobs,
            prompt_logprobs=prompt_logprobs, prompt_logprobs_from=prompt_logprobs_from, processors=processors,
            constraint=constraint,
        )  # fmt: skip
        arguments.flag("special", special)
        if not isinstance(prompt, str):
            ids = arguments.items("prompt", prompt, "a text (str) or a list of token ids")
            prompt = arguments.token_ids("prompt", ids, self.config.n_vocab).tolist()
        session = self._answers(SessionOptions(n_ctx, cache_type, activations, 0), scheduler)  # it never goes back
        speculation = self._speculation(draft, session)
        return complete(
            session, self.tokenizer, prompt, options, special=special, speculation=speculation, owns_session=True
        )

    def _speculation(self, draft: Draft, session: Session | Host) -> Speculation | None:
        """What an answer in this session is sped up with. None with recurrent states, which can't forget a draft."""
        from subbyte.runtime.generation.generation import Host
        from subbyte.runtime.speculation.draft_model import DraftModel
        from subbyte.runtime.speculation.prompt_lookup import PromptLookup
        from subbyte.runtime.speculation.speculation import Speculation

        if isinstance(draft, Model):
            self._check_draft(draft)
        elif isinstance(draft, str):
            arguments.choice("draft", draft, ("lookup",))
        elif draft is not None:
            raise arguments.wrong_kind("draft", draft, "'lookup', a Model or None")
        if draft is None or self.plan.state_bytes:
            return None
        drafter: DraftModel | PromptLookup = PromptLookup()
        if isinstance(draft, Model):
            n_ctx = min(session.n_ctx, draft.config.n_ctx_train)
            drafter = DraftModel(draft.session(n_ctx), self.config.n_vocab)
        return Speculation(drafter, session.times, session.company if isinstance(session, Host) else lambda: 1)

    def _check_draft(self, draft: Model) -> None:
        """Raises ValueError for a model that can't guess this one's tokens: ids that both have must be the same."""
        key = "tokenizer.ggml.tokens"
        ours, theirs = (model.metadata.span(key) for model in (self, draft))
        assert ours is not None and theirs is not None
        n = min(len(ours.data), len(theirs.data))
        if ours.data[:n] != theirs.data[:n]:
            found = f"draft: the vocabulary of {quoted(draft.path.name)} is not that of {quoted(self.path.name)}"
            raise ValueError(f"{found}; take a smaller model of the same family, 'lookup' or None")
        if draft.plan.state_bytes:
            found = f"draft: {quoted(draft.path.name)} has recurrent states, which can't forget a guess"
            raise ValueError(f"{found}; take a model without, 'lookup' or None")

    def generate_batch(
        self,
        prompts: Iterable[str | Sequence[int]],
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Iterable[str] = (),
        constraint: Constraint | None = None,
        special: bool = False,
        n_parallel: int = 8,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        on_progress: Progress | None = None,
    ) -> list[Reply]:
        """Completes many prompts, n_parallel at once (`scheduler`); the replies in the prompts' order.

        Each is what `generate` gives for its prompt alone. on_progress(done, total) is called after each answer; an
        exception in it, as one of a prompt, ends all of them.
        """
        taken = "a list of texts (str) or of lists of token ids"
        given = list(arguments.items("prompts", prompts, taken))
        arguments.callback("on_progress", on_progress)
        options = {"n_parallel": n_parallel, "n_ctx": n_ctx, "cache_type": cache_type, "activations": activations}
        with self.scheduler(n_waiting=max(len(given), 1), **options) as scheduler:  # type: ignore[arg-type]
            answers = [
                self.generate(
                    prompt, max_tokens=max_tokens, sampling=sampling, stop=stop, constraint=constraint,
                    special=special, scheduler=scheduler,
                )
                for prompt in given
            ]  # fmt: skip
            replies = []
            for answer in answers:
                replies.append(answer.run())
                if on_progress is not None:
                    on_progress(len(replies), len(answers))
        return replies

    def _answers(self, options: SessionOptions, scheduler: Scheduler | None) -> Session | Host:
        """What makes answers: a session of these options, or a scheduler of this model."""
        if scheduler is None:
            return self.open_session(options)
        from subbyte.runtime.scheduler.scheduler import Scheduler

        if not arguments.instance("scheduler", scheduler, Scheduler).is_of(self.plan):
            raise ValueError("scheduler is one of another model; make one with this model's `scheduler`")
        return scheduler.host()

    @overload
    def score(self, text: str | bytes) -> Score: ...
    @overload
    def score(self, text: str | bytes | Tokens, candidates: Iterable[str | bytes | Tokens]) -> tuple[Score, ...]: ...
    @memory_errors("score the text")
    def score(
        self, text: str | bytes | Tokens, candidates: Iterable[str | bytes | Tokens] | None = None
    ) -> Score | tuple[Score, ...]:
        """The log-probability of each token of text, after BOS where the model wants one; or of candidates behind it.

        With candidates text is read once, and each of them scored as what follows it: many in a step, to the same bits
        as alone. Text and candidates may be token ids, which are taken as they are. A candidate is tokenized for
        itself, so that no token goes across the border: where the model's tokens begin with a space, begin it with
        one. A prefix that is pinned with activations="int8x2" is not read again. Raises ContextOverflow for more tokens
        than the model was trained for, and ValueError for none.
        """
        if candidates is not None:
            return self._score_behind("text", text, candidates)
        from subbyte.runtime.scoring.continuations import score_text

        def new_runner(n_ctx: int) -> Runner:
            return self._runner_of_many(n_ctx, "int8x2")

        return score_text(arguments.raw_text("text", text), self.tokenizer, self.config.n_ctx_train, new_runner)

    def _score_behind(
        self, name: str, prefix: str | bytes | Tokens, candidates: Iterable[str | bytes | Tokens]
    ) -> tuple[Score, ...]:
        """The scores of candidates behind a prefix, which is the argument of that name."""
        from subbyte.runtime.scoring.continuations import continuations

        found = continuations(prefix, candidates, self.tokenizer, name)
        found.check(self.config.n_ctx_train)
        pinned = self._prefixes.of(("f16", "int8x2"))
        return found.score(self._runner_of_many(found.n_ctx, "int8x2"), self.tokenizer, pinned)

    @memory_errors("score the candidates")
    def choose(
        self,
        prefix: str | bytes | Tokens,
        candidates: Iterable[str | bytes | Tokens],
        *,
        normalize: Normalize | None = None,
    ) -> Choice:
        """The most probable continuation of prefix among candidates, with the probabilities of all; as `score`.

        normalize: compares the log-probability per token or per byte, not in total. The total is `acc` of
        lm-evaluation-harness; its `acc_norm` divides by the number of characters, which "bytes" is for ASCII
        (https://blog.eleuther.ai/multiple-choice-normalization/).
        """
        from subbyte.runtime.scoring.choice import choose

        if normalize is not None:
            arguments.choice("normalize", normalize, ("tokens", "bytes"))
        given = arguments.items("candidates", candidates, "a list of texts or of lists of token ids, at least one")
        if not given:
            raise ValueError("candidates is empty, but must be a list of texts or of lists of token ids, at least one")
        scores = self._score_behind("prefix", prefix, given)
        texts = [
            each if isinstance(each, str) else self.tokenizer.decode(scored.tokens, special=True)
            for each, scored in zip(given, scores, strict=True)
        ]
        return choose(scores, texts, normalize)

    @memory_errors("embed the texts")
    def embed(
        self,
        texts: Texts | Sequence[Tokens],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        activations: Activations = "int8",
        on_progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """A vector for each text, float32 [n_texts, n_embd], from its hidden states behind the final norm.

        pooling: "mean" of all tokens, "last" or "cls" (the first); None: as the file says, else "mean". normalize:
        vectors of length 1. on_progress(done, total) counts texts. Texts are computed many in a step, to the same bits
        as alone, after BOS and before EOS where the model wants them; token ids are taken as they are. Raises
        ContextOverflow, before anything is computed, for a text of more tokens than the model was trained for,
        ValueError for one of none.
        """
        from subbyte.runtime.embedding import POOLINGS, embed, pooling_of, tokens_of

        taken = "a text or a list of texts or of lists of token ids"
        given = [texts] if isinstance(texts, str | bytes) else arguments.items("texts", texts, taken)
        if pooling is not None:
            arguments.choice("pooling", pooling, POOLINGS)
        pooling = pooling or pooling_of(self.metadata, self.config.architecture)
        arguments.flag("normalize", normalize)
        arguments.callback("on_progress", on_progress)
        tokens = tokens_of(given, self.tokenizer, self.config.n_ctx_train)
        runner = self._runner_of_many(max(map(len, tokens), default=1), activations)
        return embed(tokens, runner, pooling, normalize=normalize, on_progress=on_progress)


Draft: TypeAlias = Model | Literal["lookup"] | None
"""What guesses tokens for speculation, see `Model.chat`."""

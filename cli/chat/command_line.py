"""The command line of `subbyte chat`: what was given, what of it is refused, and the arguments it makes for a chat."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli.chat.held_settings import given_settings
from subbyte.cli.chat.presets import find_preset
from subbyte.cli.chat.settings import sampling_from
from subbyte.cli.options import OVERRIDES, Output, usage_errors
from subbyte.cli.terminal.console import read_text

if TYPE_CHECKING:
    from subbyte.cli.chat.context import AtTheEnd
    from subbyte.runtime.chat.reasoning import ReasoningStart
    from subbyte.runtime.generation.sampling import Sampling
    from subbyte.runtime.grammar.constraint import Constraint
    from subbyte.runtime.model import Draft, Model
    from subbyte.runtime.store.builtin import Recommended
    from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True)
class ChatArguments:
    """What click has read: an attribute for each argument and option of the command."""

    model: str | None
    question: str | None
    goes_on: bool
    session: str | None
    saves: bool | None
    system: str | None
    system_file: str | None
    schema_file: str | None
    plain: bool
    n_ctx: int | None
    context_policy: AtTheEnd | None
    max_tokens: int | None
    threads: int | None
    activations: Activations | None
    cache_type: CacheType
    checkpoint_memory: int | None
    draft: str
    second: str | None
    thinking: bool | None
    reasoning_budget: int | None
    reasoning: ReasoningStart
    hide_thinking: bool
    template_file: str | None
    preset: str | None
    output: Output
    verbose: bool
    sampling: Mapping[str, Any]

    @cached_property
    def interactive(self) -> bool:
        """Whether this is a conversation at a terminal, not one answer."""
        return self.question is None and sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def resumes(self) -> bool:
        """Whether a kept conversation is gone on with."""
        return self.goes_on or self.session is not None

    @property
    def keeps(self) -> bool:
        """Whether the conversation is written to the store."""
        return self.interactive or self.resumes if self.saves is None else self.saves

    @property
    def settings(self) -> Collection[str]:
        """The settings that are given here, which hold whatever a conversation was held with."""
        values = {**self.sampling, "thinking": self.thinking, "reasoning_budget": self.reasoning_budget}
        return given_settings(values, self.preset)

    @cached_property
    def template(self) -> str | None:
        """The chat template of --chat-template."""
        return None if self.template_file is None else read_text(self.template_file)

    @cached_property
    def system_text(self) -> str | None:
        """The system prompt, of the command line or of a file."""
        return self.system if self.system_file is None else read_text(self.system_file)

    @cached_property
    def constraint(self) -> Constraint | None:
        """What every answer must be, by the JSON schema of --json-schema."""
        if self.schema_file is None:
            return None
        from subbyte.runtime.grammar.constraint import Constraint

        schema = read_text(self.schema_file)
        try:
            return Constraint.json_schema(schema)
        except ValueError as error:
            raise click.UsageError(f"{self.schema_file}: {error}") from None

    def check(self) -> None:
        """Raises UsageError for what contradicts itself, and for a file of the command line that can't be used."""
        if self.interactive:
            if self.output != "text":
                raise click.UsageError(f"-o {self.output} answers one question; the interactive chat is text")
        elif self.context_policy == "ask":
            raise click.UsageError("--context-policy ask needs a terminal to ask at; choose forget, grow or stop")
        elif self.second is not None:
            raise click.UsageError("--ab answers at a terminal; `subbyte compare` measures two models")
        if self.system is not None and self.system_file is not None:
            raise click.UsageError("the system prompt comes from --system or from --system-file, not from both")
        _ = self.system_text, self.template, self.constraint

    @property
    def for_first(self) -> list[str]:
        """The options that hold for the model of the command line alone, and not for one that goes on in its place."""
        given = {
            "--draft": self.draft not in ("lookup", "off"), "--chat-template": self.template_file is not None,
            "--reasoning": self.reasoning != "auto", "--override-kv": click.get_current_context().meta.get(OVERRIDES),
        }  # fmt: skip
        return [name for name, is_given in given.items() if is_given]

    def start(self, model: Model, recommended: Recommended) -> StartSettings:
        """How answers are made at first: as the model is recommended, by the vendor's preset, and as options say."""
        start, thinking = recommended.sampling, self.thinking
        if self.preset is not None:
            with usage_errors():
                preset = find_preset(model.presets, self.preset)
            start, thinking = preset.sampling, preset.thinking if thinking is None else thinking
        unset = dict.fromkeys(self.sampling)
        return StartSettings(sampling_from(unset, start), sampling_from(self.sampling, start), thinking)

    def of_any_model(self, draft: Draft) -> dict[str, Any]:
        """The arguments of `Model.chat` that stay when another model goes on with the conversation."""
        return {
            "n_ctx": self.n_ctx, "cache_type": self.cache_type, "activations": self.activations,
            "checkpoint_bytes": None if self.checkpoint_memory is None else self.checkpoint_memory << 20,
            "draft": None if draft is None else "lookup",
        }  # fmt: skip

    def of_this_model(self, draft: Draft, settings: StartSettings, recommended: Recommended) -> dict[str, Any]:
        """All arguments of `Model.chat`."""
        return self.of_any_model(draft) | {
            "activations": self.activations or recommended.activations, "draft": draft, "system": self.system_text,
            "sampling": settings.sampling, "max_tokens": self.max_tokens, "thinking": settings.thinking,
            "reasoning_budget": self.reasoning_budget, "template": self.template, "reasoning": self.reasoning,
        }  # fmt: skip


@dataclass(frozen=True)
class StartSettings:
    """How answers are made at first. unchanged: the sampling without the options of the command line."""

    unchanged: Sampling
    sampling: Sampling
    thinking: bool | None


def model_and_question(model: str | None, question: str | None) -> tuple[str | None, str | None]:
    """What MODEL and QUESTION mean: one argument alone is a question if it has a space in it, and is no file."""
    if model is None or question is not None or len(model.split()) < 2:
        return model, question
    return (model, None) if model.endswith(".gguf") or os.path.lexists(model) else (None, model)

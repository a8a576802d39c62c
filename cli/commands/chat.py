"""`subbyte chat`: a conversation at the terminal, or one question from a pipe answered with plain text."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.message.question import one_message
from subbyte.cli.repl.presets import find_preset
from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.repl.settings import sampling_from, sampling_options
from subbyte.cli.repl.stream import show, timing_line
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.terminal.console import human_count, note, read_text
from subbyte.cli.terminal.loading import open_draft, open_model
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.status_line import SHOW_AFTER

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.chat.reasoning import ReasoningStart
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.grammar.constraint import Constraint
    from subbyte.runtime.model import Model
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument(default=options.DEFAULT_MODEL)
@click.argument("question", metavar="[QUESTION]", required=False)
@click.option("--system", "--system-prompt", "-sys", metavar="TEXT", help="System prompt.")
@click.option("--system-file", metavar="FILE", help="Read the system prompt from a file.")
@click.option(
    "--json-schema", "schema_file", metavar="FILE",
    help="Answer in JSON that is valid by the JSON schema in a file; needs the extra `json`.",
)  # fmt: skip
@click.option("--plain", is_flag=True, help="Show answers as the model writes them, Markdown's marks and all.")
@options.ctx_size_option(help="Context size in tokens; default: the model's context length, as far as memory allows.")
@options.predict_option
@options.threads_option()
@options.activations_option(None)
@options.cache_type_option
@options.checkpoint_memory_option
@options.draft_option
@click.option("--think/--no-think", "thinking", default=None, help="Switch reasoning on or off; default: the model's.")
@click.option(
    "--reasoning-budget", type=click.IntRange(0), metavar="N",
    help="Maximum number of reasoning tokens; default: no limit.",
)  # fmt: skip
@click.option(
    "--reasoning", type=click.Choice(("auto", "open")), default="auto", show_default=True,
    help="open: answers begin with reasoning whose opening tag neither prompt nor model writes.",
)  # fmt: skip
@click.option("--hide-thinking", is_flag=True, help="Start with reasoning hidden; Ctrl-T shows it.")
@click.option(
    "--chat-template", "template_file", metavar="FILE", help="Chat template in Jinja; default: the model's own."
)
@options.preset_option
@sampling_options
@options.output_option("text", "json")
@options.override_kv_option
@options.verbose_option
@options.debug_option
def chat(
    model: str, question: str | None, system: str | None, system_file: str | None, schema_file: str | None, plain: bool,
    n_ctx: int | None, max_tokens: int | None, threads: int | None,
    activations: "Activations | None", cache_type: "CacheType", checkpoint_memory: int | None, draft: str,
    thinking: bool | None, reasoning_budget: int | None,
    reasoning: "ReasoningStart", hide_thinking: bool, template_file: str | None, preset: str | None,
    output: options.Output, verbose: bool,
    **sampling: Any,
) -> None:  # fmt: skip
    """Chat with a model, or ask it one question.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; without it, smollm2.

    With QUESTION, or with text from a pipe, one answer goes to stdout and nothing else does; with both, the question
    is about the text:

        echo "What is the capital of France?" | subbyte chat

        subbyte chat smollm2 "Sum up this text." < report.txt

    Reasoning goes to stderr then: as text if stdout is a terminal or with -v, else as a line with its token count.
    """
    from subbyte.runtime.store.resolve import recommended
    from subbyte.runtime.template import helper as template_helper

    template_helper.start()  # it gets ready while the model is loaded
    best = recommended(model)
    chosen = sampling_from(sampling, best.sampling)  # so that a value out of range is refused before a model is fetched
    interactive = question is None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and output != "text":
        raise click.UsageError(f"-o {output} answers one question; the interactive chat is text")
    if system_file is not None:
        if system is not None:
            raise click.UsageError("the system prompt comes from --system or from --system-file, not from both")
        system = read_text(system_file)
    template = None if template_file is None else read_text(template_file)
    constraint = None if schema_file is None else _json_by(schema_file)
    message = "" if interactive else one_message(question)
    with (
        open_model(model, threads, verbose=verbose) as loaded,
        open_draft(draft, threads, verbose=verbose) as drafter,
    ):
        with options.usage_errors():
            if preset is not None:
                vendor = find_preset(loaded.presets, preset)
                chosen = sampling_from(sampling, vendor.sampling)
                thinking = vendor.thinking if thinking is None else thinking
            conversation = loaded.chat(
                n_ctx=n_ctx, system=system, sampling=chosen, max_tokens=max_tokens, cache_type=cache_type,
                checkpoint_bytes=None if checkpoint_memory is None else checkpoint_memory << 20,
                activations=activations or best.activations, thinking=thinking, reasoning_budget=reasoning_budget,
                template=template, reasoning=reasoning, draft=drafter,
            )  # fmt: skip
        with conversation:
            if interactive:
                presets = loaded.presets if template is None else {}  # which go by the file's template
                _talk(conversation, loaded, model, presets, hide_thinking, plain=plain, constraint=constraint)
            else:
                out = sys.stdout if output == "text" else io.StringIO()
                with options.usage_errors():  # a constraint may allow nothing that the model's tokens can spell
                    answer = conversation.stream(message, constraint=constraint)
                show(
                    answer, answer_text(out, plain=plain or constraint is not None), _reasoning(hide_thinking, verbose)
                )
                if output == "json":
                    print_json({"model": model, "prompt": message, **answer.reply.to_dict()})
                _explain(answer.reply, verbose)


def _json_by(schema_file: str) -> "Constraint":
    """The constraint of a JSON schema in a file."""
    from subbyte.runtime.grammar.constraint import Constraint

    schema = read_text(schema_file)
    try:
        return Constraint.json_schema(schema)
    except ValueError as error:
        raise click.UsageError(f"{schema_file}: {error}") from None


def _explain(reply: "Reply", verbose: bool) -> None:
    """Notes on an answer that is not whole, and with -v its timings."""
    if reply.stop_reason == "length":
        note("the answer is truncated: reached -n or the end of the context", verbose=verbose)
    elif reply.thinking and not reply.text:
        note("the answer is empty: the model stopped while reasoning (-v shows that)", verbose=verbose)
    if verbose:
        note(timing_line(reply), verbose=True)


def _reasoning(hidden: bool, verbose: bool) -> Reasoning | None:
    """Where reasoning goes whose answer goes to stdout: stderr, as text if asked for or if the answer is seen, too."""
    if sys.stderr.isatty():
        return Reasoning(sys.stderr, hidden=hidden or not (verbose or sys.stdout.isatty()), after=SHOW_AFTER)
    return Reasoning(sys.stderr, hidden=False) if verbose and not hidden else None


def _talk(
    conversation: "Chat", model: "Model", name: str, presets: "Mapping[str, Preset]", hide_thinking: bool, *,
    plain: bool, constraint: "Constraint | None",
) -> None:  # fmt: skip
    """Holds the conversation at the terminal."""
    from platformdirs import user_data_path

    from subbyte.cli.repl.context import ReplContext
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import HINT, run

    data = user_data_path("subbyte", appauthor=False)
    short = Path(name).stem if "/" in name else name
    info = model.info
    details = f"{info.architecture}, {human_count(info.n_params)} weights at {info.bits_per_weight:.2f} bits"
    context = ReplContext(
        conversation,
        short,
        f"{name} ({details})",
        data / "chats",
        sys.stdout,
        presets,
        hide_thinking,
        plain=plain,
        constraint=constraint,
    )
    read = open_prompt(context, data / "history")
    context.say(f"{short} ({details}), context {conversation.n_ctx} tokens")
    if presets:
        context.say(f"presets: {', '.join(presets)} (/preset)")
    context.say(HINT)
    run(context, read)

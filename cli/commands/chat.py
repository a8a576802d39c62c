"""`subbyte chat`: a conversation at the terminal, or one question from a pipe answered with plain text."""

import io
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.repl.model_switch import ModelSwitch
from subbyte.cli.repl.models import describe_model, short_name
from subbyte.cli.repl.presets import find_preset
from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.repl.settings import sampling_from, sampling_options
from subbyte.cli.repl.stream import show, timing_line
from subbyte.cli.terminal.console import note, read_text
from subbyte.cli.terminal.loading import find_model, open_draft, open_model
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.status_line import SHOW_AFTER

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.chat.reasoning import ReasoningStart
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.model import Model
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument(default=options.DEFAULT_MODEL)
@click.option("--system", "--system-prompt", "-sys", metavar="TEXT", help="System prompt.")
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
    model: str, system: str | None, n_ctx: int | None, max_tokens: int | None, threads: int | None,
    activations: "Activations | None", cache_type: "CacheType", checkpoint_memory: int | None, draft: str,
    thinking: bool | None, reasoning_budget: int | None,
    reasoning: "ReasoningStart", hide_thinking: bool, template_file: str | None, preset: str | None,
    output: options.Output, verbose: bool,
    **sampling: Any,
) -> None:  # fmt: skip
    """Chat with a model.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; without it, smollm2.

    Text from a pipe is one question, and stdout gets the answer and nothing else; -o json is for a pipe only:

        echo "What is the capital of France?" | subbyte chat

    Reasoning goes to stderr then: as text if stdout is a terminal or with -v, else as a line with its token count.
    """
    from subbyte.runtime.template import helper as template_helper

    template_helper.start()  # it gets ready while modules are imported, the slowest first, and the model is loaded
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        import subbyte.cli.repl.prompt  # noqa: F401
    from subbyte.runtime.store.resolve import recommended

    best = recommended(model)
    chosen = sampling_from(sampling, best.sampling)  # so that a value out of range is refused before a model is fetched
    if interactive and output != "text":
        raise click.UsageError(f"-o {output} answers one question from a pipe; the interactive chat is text")
    template = None if template_file is None else read_text(template_file)
    question = "" if interactive else _question()
    with (
        open_model(model, threads, verbose=verbose) as loaded,
        open_draft(draft, threads, verbose=verbose) as drafter,
    ):
        with options.usage_errors():
            start = best.sampling
            if preset is not None:
                vendor = find_preset(loaded.presets, preset)
                start, chosen = vendor.sampling, sampling_from(sampling, vendor.sampling)
                thinking = vendor.thinking if thinking is None else thinking
            of_any_model: dict[str, Any] = {
                "n_ctx": n_ctx, "cache_type": cache_type, "activations": activations,
                "checkpoint_bytes": None if checkpoint_memory is None else checkpoint_memory << 20,
                "draft": None if drafter is None else "lookup",
            }  # fmt: skip
            conversation = loaded.chat(
                **(of_any_model | {"activations": activations or best.activations, "draft": drafter}), system=system,
                sampling=chosen, max_tokens=max_tokens, thinking=thinking, reasoning_budget=reasoning_budget,
                template=template, reasoning=reasoning,
            )  # fmt: skip
        with conversation:
            if interactive:
                presets = loaded.presets if template is None else {}  # which go by the file's template
                opener = partial(_open_other, threads, verbose)
                switch = ModelSwitch(opener, loaded, sampling_from(dict.fromkeys(sampling), start), of_any_model)
                _talk(conversation, switch, model, presets, hide_thinking)
            else:
                reply = _answer(conversation, question, _reasoning(hide_thinking, verbose), output)
                if output == "json":
                    print_json({"model": model, "prompt": question, **reply.to_dict()})
                _explain(reply, verbose)


def _question() -> str:
    if sys.stdin.isatty():
        note("type the question, then Ctrl-D")
    question = read_text("-").strip()
    if not question:
        raise click.UsageError("no question on standard input")
    return question


def _answer(conversation: "Chat", question: str, reasoning: Reasoning | None, output: options.Output) -> "Reply":
    """Answers one question; as text, it goes to stdout while it is generated."""
    answer = conversation.stream(question)
    show(answer, sys.stdout if output == "text" else io.StringIO(), reasoning)
    return answer.reply


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


def _open_other(threads: int | None, verbose: bool, name: str) -> "Model":
    """Another model than the one of the command line, whose metadata --override-kv meant."""
    from subbyte.runtime.loading import load

    return load(find_model(name, verbose=verbose), threads=threads)


def _talk(
    conversation: "Chat", models: ModelSwitch, name: str, presets: "Mapping[str, Preset]", hide_thinking: bool
) -> None:
    """Holds the conversation at the terminal; another model's is closed behind it."""
    from platformdirs import user_data_path

    from subbyte.cli.repl.context import ReplContext
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import HINT, run

    data = user_data_path("subbyte", appauthor=False)
    short, details = short_name(name), describe_model(models.model)
    context = ReplContext(
        conversation, short, f"{name} ({details})", data / "chats", sys.stdout, presets, hide_thinking, models=models
    )
    read = open_prompt(context, data / "history")
    context.say(f"{short} ({details}), context {conversation.n_ctx} tokens")
    if presets:
        context.say(f"presets: {', '.join(presets)} (/preset)")
    context.say(HINT)
    try:
        run(context, read)
    finally:
        context.chat.close()
        models.model.close()

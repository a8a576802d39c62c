"""`subbyte chat`: a conversation at the terminal, or one question from a pipe answered with plain text."""

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.chat.full_context import UncutAnswer
from subbyte.cli.chat.held_settings import given_settings
from subbyte.cli.chat.keeper import FILE, Keeper, data_folder
from subbyte.cli.chat.model_switch import ModelSwitch
from subbyte.cli.chat.presets import find_preset
from subbyte.cli.chat.reasoning import Reasoning
from subbyte.cli.chat.settings import sampling_from, sampling_options
from subbyte.cli.chat.stream import show, timing_line
from subbyte.cli.message.question import one_message
from subbyte.cli.screen.answer_text import AnswerText, answer_text
from subbyte.cli.slash.models import describe_model, short_name
from subbyte.cli.terminal.console import note, read_text
from subbyte.cli.terminal.loading import find_model, open_draft, open_model
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.status_line import SHOW_AFTER

if TYPE_CHECKING:
    from subbyte.cli.chat.context import AtTheEnd, ReplContext, SecondModel
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.chat.reasoning import ReasoningStart
    from subbyte.runtime.conversations.records import Conversation
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.grammar.constraint import Constraint
    from subbyte.runtime.model import Model
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument(required=False)
@click.argument("question", metavar="[QUESTION]", required=False)
@click.option("--continue", "goes_on", is_flag=True, help="Go on with the last conversation, with its model.")
@click.option("--session", metavar="NAME", help="Go on with the conversation of that name, or begin it.")
@click.option(
    "--save/--no-save", "saves", default=None,
    help="Keep the conversation, for --continue and `subbyte history`; default: at a terminal, and with --session and "
    "--continue.",
)  # fmt: skip
@click.option("--system", "--system-prompt", "-sys", metavar="TEXT", help="System prompt.")
@click.option("--system-file", metavar="FILE", help="Read the system prompt from a file.")
@click.option(
    "--json-schema", "schema_file", metavar="FILE",
    help="Answer in JSON that is valid by the JSON schema in a file; needs the extra `json`.",
)  # fmt: skip
@click.option("--plain", is_flag=True, help="Show answers as the model writes them, Markdown's marks and all.")
@options.ctx_size_option(help="Context size in tokens; default: the model's context length, as far as memory allows.")
@click.option(
    "--context-policy", type=click.Choice(("ask", "forget", "grow", "stop")), metavar="ask|forget|grow|stop",
    help="What is done when the context is full: the oldest turns are forgotten, a larger context is made, or the chat "
    "stops there; default: ask at a terminal, else stop.",
)  # fmt: skip
@options.predict_option
@options.threads_option()
@options.activations_option(None)
@options.cache_type_option
@options.checkpoint_memory_option
@options.draft_option
@click.option(
    "--ab", "second", metavar="MODEL2", help="Answer each question with MODEL2 as well, and show where the two part."
)
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
    model: str | None, question: str | None, goes_on: bool, session: str | None, saves: bool | None,
    system: str | None, system_file: str | None, schema_file: str | None, plain: bool,
    n_ctx: int | None, context_policy: "AtTheEnd | None", max_tokens: int | None, threads: int | None,
    activations: "Activations | None", cache_type: "CacheType", checkpoint_memory: int | None, draft: str,
    second: str | None, thinking: bool | None, reasoning_budget: int | None,
    reasoning: "ReasoningStart", hide_thinking: bool, template_file: str | None, preset: str | None,
    output: options.Output, verbose: bool,
    **sampling: Any,
) -> None:  # fmt: skip
    """Chat with a model, or ask it one question.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; without it, smollm2, or that of the
    conversation that is continued.

    With QUESTION, or with text from a pipe, one answer goes to stdout and nothing else does; with both, the question
    is about the text:

        echo "What is the capital of France?" | subbyte chat

        subbyte chat smollm2 "Sum up this text." < report.txt

    Reasoning goes to stderr then: as text if stdout is a terminal or with -v, else as a line with its token count.
    """
    from subbyte.runtime.template import helper as template_helper

    template_helper.start()  # it gets ready while modules are imported, the slowest first, and the model is loaded
    interactive = question is None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        import subbyte.cli.repl.prompt  # noqa: F401
    from subbyte.runtime.store.resolve import recommended

    asked = goes_on or session is not None
    given = given_settings({**sampling, "thinking": thinking, "reasoning_budget": reasoning_budget}, preset)
    keeper = Keeper(data_folder() / FILE, saves=interactive or asked if saves is None else saves, given=given)
    with options.usage_errors():
        resumed = keeper.begin_with(session, last=goes_on) if asked else None
    if asked and resumed is None:
        note(f"a new conversation: {'none is kept yet' if session is None else session}")
    model = model or (resumed.model if resumed else options.DEFAULT_MODEL)
    best = recommended(model)
    chosen = sampling_from(sampling, best.sampling)  # so that a value out of range is refused before a model is fetched
    if interactive and output != "text":
        raise click.UsageError(f"-o {output} answers one question; the interactive chat is text")
    if context_policy == "ask" and not interactive:
        raise click.UsageError("--context-policy ask needs a terminal to ask at; choose forget, grow or stop")
    if second is not None and not interactive:
        raise click.UsageError("--ab answers at a terminal; `subbyte compare` measures two models")
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
        with conversation, keeper:
            keeper.hold_with(model, str(loaded.path))
            if resumed is not None:
                keeper.resume(conversation, resumed)
                if system is not None:
                    conversation.system = system
                if keeper.differs and not interactive:
                    note(f"{resumed.name} goes on: {keeper.differs}")
            if interactive:
                presets = loaded.presets if template is None else {}  # which go by the file's template
                opener = partial(_open_other, threads, verbose)
                switch = ModelSwitch(opener, loaded, sampling_from(dict.fromkeys(sampling), start), of_any_model)
                with _second_chat(second, conversation, template, threads) as other:
                    context = _context(conversation, keeper, switch, model, presets)
                    context.hide_thinking, context.plain, context.constraint = hide_thinking, plain, constraint
                    context.policy, context.second = context_policy or "ask", other
                    _talk(context, switch, resumed)
            else:
                if context_policy is not None and context_policy != "ask":
                    conversation.context_policy = context_policy
                out = sys.stdout if output == "text" else io.StringIO()
                text = answer_text(out, plain=plain or constraint is not None)
                reply = _answer(conversation, keeper, message, constraint, text, _reasoning(hide_thinking, verbose))
                if output == "json":
                    print_json({"model": model, "prompt": message, **reply.to_dict()})
                _explain(reply, verbose)


@contextmanager
def _second_chat(
    name: str | None, first: "Chat", template: str | None, threads: int | None
) -> "Iterator[SecondModel | None]":
    """The conversation of --ab with another model, in a context and with activations like those of the first."""
    if name is None:
        yield None
        return
    from subbyte.cli.chat.context import SecondModel

    with open_model(name, threads) as model:
        options = first.session.options
        with model.chat(
            n_ctx=options.n_ctx, cache_type=options.cache_type, activations=options.activations, template=template
        ) as chat:
            yield SecondModel(chat, short_name(name))


def _answer(
    conversation: "Chat", keeper: Keeper, message: str, constraint: "Constraint | None", text: AnswerText,
    reasoning: Reasoning | None,
) -> "Reply":  # fmt: skip
    """Answers one question; its text is shown while it is generated."""
    with options.usage_errors():  # a constraint may allow nothing that the model's tokens can spell
        answer = UncutAnswer(conversation, conversation.stream(message, constraint=constraint))
    try:
        _keep(keeper, conversation)
        show(answer, text, reasoning)
    finally:
        _keep(keeper, conversation)
    return answer.reply


def _json_by(schema_file: str) -> "Constraint":
    """The constraint of a JSON schema in a file."""
    from subbyte.runtime.grammar.constraint import Constraint

    schema = read_text(schema_file)
    try:
        return Constraint.json_schema(schema)
    except ValueError as error:
        raise click.UsageError(f"{schema_file}: {error}") from None


def _keep(keeper: Keeper, conversation: "Chat") -> None:
    if trouble := keeper.keep(conversation):
        note(trouble, verbose=True)


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


def _context(
    conversation: "Chat", keeper: Keeper, models: ModelSwitch, name: str, presets: "Mapping[str, Preset]"
) -> "ReplContext":
    """What the conversation at the terminal goes by."""
    from subbyte.cli.chat.context import ReplContext

    return ReplContext(
        conversation, short_name(name), f"{name} ({describe_model(models.model)})", data_folder() / "chats", sys.stdout,
        presets, keeper=keeper, models=models,
    )  # fmt: skip


def _talk(context: "ReplContext", models: ModelSwitch, resumed: "Conversation | None") -> None:
    """Holds the conversation at the terminal; another model's is closed behind it."""
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import HINT, run
    from subbyte.cli.slash.conversations import show_resumed

    read = open_prompt(context, data_folder() / "history")
    context.say(f"{context.model} ({describe_model(models.model)}), context {context.chat.n_ctx} tokens")
    if context.presets:
        context.say(f"presets: {', '.join(context.presets)} (/preset)")
    if context.second is not None:
        other = context.second.name
        context.say(f"{other} answers as well (--ab); the conversation goes on with the answers of {context.model}")
    context.say(HINT)
    if resumed is not None:
        show_resumed(context, resumed)
    try:
        run(context, read)
    finally:
        context.chat.close()
        models.model.close()

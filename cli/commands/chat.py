"""`subbyte chat`: a conversation at the terminal, or one question from a pipe answered with plain text."""

import io
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.chat.command_line import ChatArguments, model_and_question
from subbyte.cli.chat.full_context import UncutAnswer
from subbyte.cli.chat.keeper import FILE, Keeper, data_folder
from subbyte.cli.chat.model_switch import ModelSwitch
from subbyte.cli.chat.reasoning import Reasoning
from subbyte.cli.chat.settings import SETTINGS, sampling_from, sampling_options
from subbyte.cli.chat.stream import show, timing_line
from subbyte.cli.message.question import one_message
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.slash.models import describe_model, short_name
from subbyte.cli.terminal.console import note
from subbyte.cli.terminal.loading import find_model, open_draft, open_model
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.status_line import SHOW_AFTER
from subbyte.errors import SubbyteError

if TYPE_CHECKING:
    from subbyte.cli.chat.context import ReplContext, SecondModel
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.conversations.records import Conversation
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.model import Model


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
def chat(model: str | None, question: str | None, **given: Any) -> None:
    """Chat with a model, or ask it one question.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; without it, smollm2, or that of the
    conversation that is continued.

    With QUESTION, or with text from a pipe, one answer goes to stdout and nothing else does; with both, the question
    is about the text:

        echo "What is the capital of France?" | subbyte chat

        subbyte chat smollm2 "Sum up this text." < report.txt

        subbyte chat --continue "And its history?"

    Reasoning goes to stderr then: as text if stdout is a terminal or with -v, else as a line with its token count.
    """
    from subbyte.runtime.template import helper as template_helper

    template_helper.start()  # it gets ready while modules are imported, the slowest first, and the model is loaded
    model, question = model_and_question(model, question)
    sampling = {setting.name: given.pop(setting.name) for setting in SETTINGS}
    _chat(ChatArguments(model=model, question=question, sampling=sampling, **given))


def _chat(given: ChatArguments) -> None:
    if given.interactive:
        import subbyte.cli.repl.prompt  # noqa: F401
    from subbyte.runtime.store.resolve import recommended

    given.check()
    keeper = Keeper(data_folder() / FILE, saves=given.keeps, given=given.settings)
    resumed = _resumed(given, keeper)
    model = given.model or (resumed.model if resumed else options.DEFAULT_MODEL)
    best = recommended(model)
    sampling_from(given.sampling, best.sampling)  # a value out of range is refused before a model is fetched
    message = "" if given.interactive else one_message(given.question)
    with (
        _open(given, model, resumed) as loaded,
        open_draft(given.draft, given.threads, verbose=given.verbose) as draft,
    ):
        settings = given.start(loaded, best)
        with options.usage_errors():
            conversation = loaded.chat(**given.of_this_model(draft, settings, best))
        with conversation, keeper:
            keeper.hold_with(model, str(loaded.path))
            if resumed is not None:
                keeper.resume(conversation, resumed)
                if given.system_text is not None:
                    conversation.system = given.system_text
                if keeper.differs and not given.interactive:
                    note(f"{resumed.name} goes on: {keeper.differs}")
            if given.interactive:
                opener = partial(_open_other, given.threads, given.verbose)
                models = ModelSwitch(opener, loaded, settings.unchanged, given.of_any_model(draft), given.for_first)
                _talk(given, model, conversation, keeper, models, resumed)
            else:
                _answer(given, model, conversation, keeper, message)


def _resumed(given: ChatArguments, keeper: Keeper) -> "Conversation | None":
    """The kept conversation to go on with; None for a new one."""
    if not given.resumes:
        return None
    with options.usage_errors():
        resumed = keeper.begin_with(given.session, last=given.goes_on)
    if resumed is None:
        note(f"a new conversation: {'none is kept yet' if given.session is None else given.session}")
    return resumed


def _open(given: ChatArguments, model: str, resumed: "Conversation | None") -> "Model":
    """The model; where a conversation's own is gone, a line says how it goes on with another one."""
    try:
        return open_model(model, given.threads, verbose=given.verbose)
    except SubbyteError:
        if resumed is not None and given.model is None:
            command = f"subbyte chat MODEL --session {shlex.quote(resumed.name)}"
            note(f"{resumed.name} was held with {model}; {command} goes on with another one", verbose=True)
        raise


def _answer(given: ChatArguments, model: str, conversation: "Chat", keeper: Keeper, message: str) -> None:
    """Answers one question; its text is shown while it is generated."""
    if given.context_policy is not None and given.context_policy != "ask":
        conversation.context_policy = given.context_policy
    conversation.constraint = given.constraint
    out = sys.stdout if given.output == "text" else io.StringIO()
    text = answer_text(out, plain=given.plain or given.constraint is not None)
    with options.usage_errors():  # a constraint may allow nothing that the model's tokens can spell
        answer = UncutAnswer(conversation, conversation.stream(message))
    try:
        _keep(keeper, conversation)
        show(answer, text, _reasoning(given.hide_thinking, given.verbose))
    finally:
        _keep(keeper, conversation)
    if given.output == "json":
        print_json({"model": model, "prompt": message, **answer.reply.to_dict()})
    _explain(answer.reply, given.verbose)


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


def _talk(
    given: ChatArguments, name: str, conversation: "Chat", keeper: Keeper, models: ModelSwitch,
    resumed: "Conversation | None",
) -> None:  # fmt: skip
    """Holds the conversation at the terminal; another model's is closed behind it."""
    from subbyte.cli.chat.context import ReplContext
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import run

    presets = models.model.presets if given.template is None else {}  # which go by the file's template
    with _second_chat(given, conversation) as second:
        context = ReplContext(
            conversation, short_name(name), f"{name} ({describe_model(models.model)})", data_folder() / "chats",
            sys.stdout, presets, keeper=keeper, models=models, hide_thinking=given.hide_thinking, plain=given.plain,
            constraint=given.constraint, policy=given.context_policy or "ask", second=second,
        )  # fmt: skip
        read = open_prompt(context, data_folder() / "history")
        _greet(context, models, resumed)
        try:
            run(context, read)
        finally:
            context.chat.close()
            models.model.close()


def _greet(context: "ReplContext", models: ModelSwitch, resumed: "Conversation | None") -> None:
    """Says who answers, how to get help, and what was said last in a conversation that goes on."""
    from subbyte.cli.repl.repl import HINT
    from subbyte.cli.slash.conversations import show_resumed

    context.say(f"{context.model} ({describe_model(models.model)}), context {context.chat.n_ctx} tokens")
    if context.presets:
        context.say(f"presets: {', '.join(context.presets)} (/preset)")
    if context.second is not None:
        other = context.second.name
        context.say(f"{other} answers as well (--ab); the conversation goes on with the answers of {context.model}")
    context.say(HINT)
    if resumed is not None:
        show_resumed(context, resumed)


@contextmanager
def _second_chat(given: ChatArguments, first: "Chat") -> "Iterator[SecondModel | None]":
    """The conversation of --ab with another model, in a context and with activations like those of the first."""
    if given.second is None:
        yield None
        return
    from subbyte.cli.chat.context import SecondModel

    with open_model(given.second, given.threads) as model:
        of_first = first.session.options
        with model.chat(
            n_ctx=of_first.n_ctx, cache_type=of_first.cache_type, activations=of_first.activations,
            template=given.template,
        ) as chat:  # fmt: skip
            yield SecondModel(chat, short_name(given.second))


def _open_other(threads: int | None, verbose: bool, name: str) -> "Model":
    """Another model than the one of the command line, whose metadata --override-kv meant."""
    from subbyte.runtime.loading import load

    return load(find_model(name, verbose=verbose), threads=threads)

"""`subbyte chat`: a conversation at the terminal, or one question from a pipe answered with plain text."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.console import human_count, note, read_text
from subbyte.cli.loading import open_model
from subbyte.cli.settings import sampling_from, sampling_options
from subbyte.cli.stream import show, timing_line

if TYPE_CHECKING:
    from subbyte.cli.repl import Chat
    from subbyte.runtime.model import Model
    from subbyte.runtime.session import Activations, CacheType


@click.command()
@options.model_argument(default=options.DEFAULT_MODEL)
@click.option("--system", "--system-prompt", "-sys", metavar="TEXT", help="What the model is told before you speak.")
@options.ctx_size_option(help="Tokens the conversation may hold; default: as many as the model knows.")
@options.predict_option
@options.threads_option
@options.activations_option(None)
@options.cache_type_option
@sampling_options
@options.verbose_option
@options.debug_option
def chat(
    model: str, system: str | None, n_ctx: int | None, max_tokens: int | None, threads: int | None,
    activations: "Activations | None", cache_type: "CacheType", verbose: bool, **sampling: Any,
) -> None:  # fmt: skip
    """Talk with a model.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; without it, smollm2.

    Text from a pipe is one question, and stdout gets the answer and nothing else:

        echo "What is the capital of France?" | subbyte chat
    """
    from subbyte.runtime.store import recommended

    best = recommended(model)
    chosen = sampling_from(sampling, best.sampling)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    question = "" if interactive else _question()
    loaded = open_model(model, threads, verbose=verbose)
    with loaded, loaded.chat(
        n_ctx=n_ctx, system=system, sampling=chosen, max_tokens=max_tokens, cache_type=cache_type,
        activations=activations or best.activations,
    ) as conversation:  # fmt: skip
        if interactive:
            _talk(conversation, loaded, model)
        else:
            _answer(conversation, question, verbose)


def _question() -> str:
    if sys.stdin.isatty():
        note("type the question, then Ctrl-D")
    question = read_text("-").strip()
    if not question:
        raise click.UsageError("no question on standard input")
    return question


def _answer(conversation: "Chat", question: str, verbose: bool) -> None:
    """Answers one question on stdout."""
    answer = conversation.stream(question)
    show(answer, sys.stdout)
    reply = answer.reply
    if reply.stop_reason == "length":
        note("the answer was cut: -n or the context was reached", verbose=verbose)
    if verbose:
        note(timing_line(reply), verbose=True)


def _talk(conversation: "Chat", model: "Model", name: str) -> None:
    """Holds the conversation at the terminal."""
    from platformdirs import user_data_path

    from subbyte.cli.prompt import open_prompt
    from subbyte.cli.repl import HINT, Repl

    data = user_data_path("subbyte", appauthor=False)
    short = Path(name).stem if "/" in name else name
    info = model.info
    details = f"{info.architecture}, {human_count(info.n_params)} weights at {info.bits_per_weight:.2f} bits"
    repl = Repl(conversation, short, f"{name} ({details})", data / "chats", read=lambda: "", out=sys.stdout)
    repl.read = open_prompt(repl, data / "history")
    repl.say(f"{short} ({details}), context {conversation.n_ctx} tokens")
    repl.say(HINT)
    repl.run()

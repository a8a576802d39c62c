"""Options that several commands share."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

DEFAULT_MODEL = "smollm2"
DEBUG = "subbyte.debug"  # in click's context: whether --debug was given
ARGS = "subbyte.args"  # there, too: the command line behind `subbyte`
OVERRIDES = "subbyte.override_kv"  # there, too: the metadata that --override-kv gives

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Output = Literal["text", "json", "csv", "md"]


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True  # shared by all contexts of one call


def _remember_overrides(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    from subbyte.runtime.gguf.override import parse_override

    try:
        ctx.meta[OVERRIDES] = dict(map(parse_override, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def numbers(text: str) -> tuple[int, ...]:
    """Reads whole numbers with commas between."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a whole number, nor several separated by commas") from None


def weights(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Reads numbers with commas between."""
    try:
        return tuple(map(float, text.split(","))) if text else ()
    except ValueError:
        raise click.BadParameter(f"{text!r:.80} is not numbers separated by commas") from None


def model_argument(**extra: Any) -> Decorator:
    """The positional MODEL."""
    return click.argument("model", metavar="MODEL" if not extra else "[MODEL]", **extra)


def threads_option(*, several: bool = False) -> Decorator:
    """`-t/--threads`: one number, or several separated by commas."""
    kind: dict[str, Any] = (
        {"type": numbers, "metavar": "N,..."} if several else {"type": click.IntRange(1), "metavar": "N"}
    )
    return click.option("-t", "--threads", help="CPU threads; default: all processors available.", **kind)


def ctx_size_option(**extra: Any) -> Decorator:
    """`-c/--ctx-size`, in tokens."""
    return click.option("-c", "--ctx-size", "n_ctx", type=click.IntRange(1), metavar="N", **extra)


eval_ctx_option = ctx_size_option(
    help="Chunk length in tokens, whose second half is scored, default: 512. Of conversations: how many tokens one may "
    "have, default: as the model was trained."
)  # fmt: skip


def activations_option(default: str | None) -> Decorator:
    """`--activations`; None leaves the choice to the model."""
    which = "recommended for the model" if default is None else default
    return click.option(
        "--activations", type=click.Choice(("int8", "int8x2", "float32")), default=default,
        help="Activation precision in quantized matmuls: int8, int8x2 (15 bits) or float32 (slow); "
        f"default: {which}.",
    )  # fmt: skip


def texts_option(*, required: bool = True, note: str = "") -> Decorator:
    """`-f/--file`, several times: the texts of a measurement, as the argument `files`."""
    return click.option(
        "-f", "--file", "files", required=required, multiple=True, metavar="FILE",
        help=f"A text, read as bytes; - is stdin. May be repeated{note}.",
    )  # fmt: skip


def plot_option(help: str) -> Decorator:
    """`--plot`, several times: files that a picture is written to, as the argument `plots`."""
    return click.option(
        "--plot", "plots", type=click.Path(dir_okay=False, path_type=Path), multiple=True, metavar="FILE",
        help=f"{help} An .svg or a .png, by its name; may be repeated. Needs the extra `plot`.",
    )  # fmt: skip


def chat_option(how: str = "each evaluated whole, and only the assistant's tokens are scored") -> Decorator:
    """`--chat`, several times: conversations of a measurement, as the argument `chats`."""
    return click.option(
        "--chat", "chats", multiple=True, metavar="FILE",
        help='Conversations, lines of JSON with "messages" as for `subbyte batch`, in the chat template of the model; '
        f"{how}. - is stdin. May be repeated.",
    )  # fmt: skip


def output_option(*formats: Output) -> Decorator:
    """`-o/--output`, as the argument `output`; the first format is the default."""
    return click.option(
        "-o", "--output", type=click.Choice(formats), default=formats[0], show_default=True,
        help="Format of the result on stdout.",
    )  # fmt: skip


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)
override_kv_option = click.option(
    "--override-kv", multiple=True, metavar="KEY=TYPE:VALUE", expose_value=False, callback=_remember_overrides,
    help="Metadata in place of the file's; TYPE is int, float, bool or str. May be repeated.",
)  # fmt: skip
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Write notes and timings to stderr.")
predict_option = click.option(
    "-n", "--predict", "max_tokens", type=click.IntRange(1), metavar="N",
    help="Maximum number of tokens to generate; default: until the model stops or the context is full.",
)  # fmt: skip
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace a file of the same kind; no other is ever replaced."
)
preset_option = click.option(
    "--preset", metavar="NAME",
    help="Use a named set of the vendor's recommended sampling parameters; options beside it take precedence.",
)  # fmt: skip
checkpoint_memory_option = click.option(
    "--checkpoint-memory", type=click.IntRange(0), metavar="MIB",
    help="Memory for copies of recurrent states, which undone and repeated turns go back to; default: 512, or an "
    "eighth of what is free. Models without such states take none.",
)  # fmt: skip
cache_type_option = click.option(
    "--cache-type", type=click.Choice(("f16", "q8_0", "f32")), default="f16", show_default=True,
    help="KV cache type; q8_0 takes about half the memory of f16.",
)  # fmt: skip
draft_option = click.option(
    "--draft", default="lookup", show_default=True, metavar="lookup|off|MODEL",
    help="Speculative decoding, which changes speed and nothing else: tokens are guessed from the conversation so far, "
    "or by a smaller MODEL of the same vocabulary.",
)  # fmt: skip
special_option = click.option(
    "--special", is_flag=True, help="Read control tokens written in the text, such as <|im_end|>, as control tokens."
)
chunks_option = click.option(
    "--chunks", type=click.IntRange(1), metavar="N", help="Only the first N chunks; default: the whole text."
)
ray_option = click.option(
    "--ray", "ray", is_flag=False, flag_value="", metavar="[ADDRESS]",
    help="Compute chunks by workers on a Ray cluster, to the same figures. ADDRESS: auto, or HOST:PORT of its head; "
    "without one, Ray is started on this machine, for its own cores. Give it as --ray=ADDRESS, or behind all MODELs. "
    "-t is then the CPUs of each worker; default: those of the smallest machine. Needs the extra `ray`.",
)  # fmt: skip


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns the library's ValueError, which tells what a given value should have been, into a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def resume_option(note: str = "", what: str = "results of each chunk") -> Decorator:
    """The file that keeps a measurement for the run that continues it. note: what it does not keep."""
    return click.option(
        "--resume", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help=f"Checkpoint: save the {what} in FILE, and continue from it if it exists{note}.",
    )  # fmt: skip


def continuation(ctx: click.Context, resume: Path | None, *more: str) -> str:
    """How to go on with a measurement that was interrupted, behind what it covers. more: options that it needs then."""
    if resume is None:
        return "; none are kept, --resume FILE would keep them"
    return f", kept in {resume}; to go on: {' '.join([command_line(ctx), *more])}"


def command_line(ctx: click.Context) -> str:
    """The command as it was given, for whoever wants the same figures."""
    return shlex.join(["subbyte", *ctx.meta[ARGS]])

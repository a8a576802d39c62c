"""`subbyte generate`: completes a prompt as raw text; stdout gets the completion and nothing else."""

import io
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.chat.presets import find_preset
from subbyte.cli.chat.settings import sampling_from, sampling_options
from subbyte.cli.chat.stream import show, timing_line
from subbyte.cli.screen.answer_text import PlainText
from subbyte.cli.terminal.console import note, read_text
from subbyte.cli.terminal.loading import open_draft, open_model
from subbyte.cli.terminal.output import print_json

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument()
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt.")
@click.option(
    "-f", "--file", metavar="FILE",
    help="Read the prompt from a file; - is stdin, the default without -p. One line break at its end is dropped.",
)  # fmt: skip
@options.predict_option
@options.ctx_size_option(help="Context size in tokens; default: the model's context length, as far as memory allows.")
@options.threads_option()
@options.activations_option("int8")
@options.cache_type_option
@options.draft_option
@options.preset_option
@sampling_options
@options.output_option("text", "json")
@options.override_kv_option
@options.verbose_option
@options.debug_option
def generate(
    model: str, prompt: str | None, file: str | None, max_tokens: int | None, n_ctx: int | None, threads: int | None,
    activations: "Activations", cache_type: "CacheType", draft: str, preset: str | None, output: options.Output,
    verbose: bool, **sampling: Any,
) -> None:  # fmt: skip
    """Complete a prompt as raw text, without a chat template.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    chosen = sampling_from(sampling)
    text = _prompt(prompt, file)
    loaded = open_model(model, threads, verbose=verbose)
    with loaded, open_draft(draft, threads, verbose=verbose) as drafter:
        with options.usage_errors():
            if preset is not None:
                chosen = sampling_from(sampling, find_preset(loaded.presets, preset).sampling)
            answer = loaded.generate(
                text, n_ctx=n_ctx, max_tokens=max_tokens, sampling=chosen, cache_type=cache_type,
                activations=activations, draft=drafter,
            )  # fmt: skip
        show(answer, PlainText(sys.stdout if output == "text" else io.StringIO()))
    reply = answer.reply
    if output == "json":
        print_json({"model": model, "prompt": text, **reply.to_dict()})
    if verbose:
        note(timing_line(reply), verbose=True)


def _prompt(prompt: str | None, file: str | None) -> str:
    """The text from the one place the user named."""
    if prompt is not None and file is not None:
        raise click.UsageError("the prompt comes from -p or from -f, not from both")
    if prompt is not None:
        return prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if file is None and sys.stdin.isatty():
        raise click.UsageError("no prompt: give it with -p TEXT, -f FILE or from a pipe")
    return re.sub(r"\r?\n\Z", "", read_text(file or "-"))  # the editor's or echo's, after which a model begins anew

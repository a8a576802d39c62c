"""Shows an answer while it is generated: its text on stdout as it comes, a long prefill as a line on stderr."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, TextIO

from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.terminal.status_line import PrefillStatus
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from subbyte.cli.repl.full_context import UncutAnswer
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation


def show(answer: "Generation | UncutAnswer", out: TextIO, reasoning: Reasoning | None = None) -> None:
    """Writes the answer's text to `out` piece by piece, and ends it with a newline; its reasoning goes to `reasoning`.

    A terminal sees control characters spelt out; a pipe gets the text as it is.
    However this is left (Ctrl-C, a closed pipe), the answer is closed and the line ended.
    """
    from subbyte.runtime.generation.events import PrefillProgress, TextDelta, ThinkingDelta

    clean = spelt_out if out.isatty() else str
    line, last = PrefillStatus(sys.stderr), ""
    try:
        with closing(answer):
            for event in answer:
                if isinstance(event, PrefillProgress):
                    line.update(event.done, event.total)
                elif isinstance(event, ThinkingDelta) and reasoning is not None:
                    line.clear()
                    reasoning.feed(event.text, answer)
                elif isinstance(event, TextDelta) and event.text:
                    line.clear()
                    if reasoning is not None:
                        reasoning.end()
                    out.write(clean(event.text))
                    out.flush()
                    last = event.text
        last = last or " "  # an empty answer is an empty line, no answer at all is none
    finally:
        line.clear()
        if reasoning is not None:
            reasoning.end()
        if last and not last.endswith("\n"):
            out.write("\n")
            out.flush()


def timing_line(reply: "Reply") -> str:
    """Tokens and seconds of an answer."""
    usage, timings = reply.usage, reply.timings
    rate = f", {timings.generation_rate:.1f} tokens/s" if timings.generation_rate > 0 else ""
    drafted = f", {usage.accepted} of {usage.drafted} drafts accepted" if usage.drafted else ""
    thought = f" ({usage.thinking} of reasoning)" if usage.thinking else ""
    return (
        f"prefill {usage.prompt - usage.reused} of {usage.prompt} tokens in {timings.prefill:.2f} s, "
        f"generated {usage.completion}{thought} in {timings.generation:.2f} s{rate}{drafted}"
    )

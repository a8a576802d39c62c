"""Shows an answer while it is generated: its text as it comes, a long prefill as a line on stderr."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from subbyte.cli.chat.reasoning import Reasoning, ShownAnswer
from subbyte.cli.screen.answer_text import AnswerText
from subbyte.cli.terminal.status_line import PrefillStatus

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Reply


def show(answer: ShownAnswer, text: AnswerText, reasoning: Reasoning | None = None) -> None:
    """Shows the answer's text piece by piece by `text`, its reasoning by `reasoning`.

    However this is left (Ctrl-C, a closed pipe), the answer is closed and the line ended.
    """
    from subbyte.runtime.generation.events import PrefillProgress, TextDelta, ThinkingDelta

    line, is_shown = PrefillStatus(sys.stderr), False
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
                    is_shown = True
                    text.feed(event.text)
        is_shown = is_shown or not answer.reply.tool_calls  # an empty answer is an empty line, no answer at all is none
    finally:
        line.clear()
        if reasoning is not None:
            reasoning.end()
        if is_shown:
            text.end()


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

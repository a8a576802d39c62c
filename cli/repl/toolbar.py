"""The bottom line of the chat: model, how full the context is, speed of the last answer."""

import sys
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import warning_level
from subbyte.cli.terminal.console import encodable, human_count
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

CELLS = 8
STYLES = ("gauge", "filling", "full")  # of the gauge, by how many of its warnings are due


def toolbar(context: ReplContext) -> "StyleAndTextTuples":
    """The line as prompt_toolkit's (style, text) pairs."""
    used, size = context.chat.n_past, context.chat.n_ctx
    share = min(used / size, 1.0) if size else 0.0
    parts: StyleAndTextTuples = [
        ("", f" {one_line(context.model)}  "),
        ("class:bottom-toolbar.note", "context "),
        ("", f"{human_count(used)}/{human_count(size)} "),
        (f"class:bottom-toolbar.{STYLES[warning_level(context.chat)]}", gauge(share)),
    ]
    if warning_level(context.chat):
        parts.append(("", f" {share:.0%} full"))
    last = context.chat.last
    if last is not None and last.timings.generation_rate > 0:
        parts.append(("", f"  {last.timings.generation_rate:.1f} tokens/s"))
    return parts


def gauge(share: float) -> str:
    """A bar of `CELLS` characters; anything above nothing shows at least one."""
    filled = min(CELLS, max(round(share * CELLS), 1 if share > 0 else 0))
    cells = encodable("▇▁", "#.", sys.stdout)
    return cells[0] * filled + cells[1] * (CELLS - filled)

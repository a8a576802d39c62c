"""The bottom line of the chat: model, how full the context is, speed of the last answer."""

import sys
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import warning_level
from subbyte.cli.terminal.console import encodable, human_count, terminal_width
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

CELLS = 8
MIN_NAME = 8  # characters of the model's name
STYLES = ("gauge", "filling", "full")  # of the gauge, by how many of its warnings are due


def toolbar(context: ReplContext) -> "StyleAndTextTuples":
    """The line as prompt_toolkit's (style, text) pairs."""
    used, size = context.chat.n_past, context.chat.n_ctx
    share = min(used / size, 1.0) if size else 0.0
    size_of_it: StyleAndTextTuples = [
        ("class:bottom-toolbar.note", "context "),
        ("", f"{human_count(used)}/{human_count(size)} "),
        (f"class:bottom-toolbar.{STYLES[warning_level(context.chat)]}", gauge(share)),
    ]
    room = terminal_width(context.out) - sum(len(part[1]) for part in size_of_it)
    name = _cut(one_line(context.model), max(room - 3, MIN_NAME))
    parts: StyleAndTextTuples = [("", f" {name}  "), *size_of_it]
    room -= len(name) + 3
    more = [f" {share:.0%} full"] if warning_level(context.chat) else []
    last = context.chat.last
    if last is not None and last.timings.generation_rate > 0:
        more.append(f"  {last.timings.generation_rate:.1f} tokens/s")
    for text in more:
        if len(text) <= room:
            parts.append(("", text))
            room -= len(text)
    return parts


def _cut(text: str, n: int) -> str:
    return text if len(text) <= n else text[: n - 1] + encodable("…", ".", sys.stdout)


def gauge(share: float) -> str:
    """A bar of `CELLS` characters; anything above nothing shows at least one."""
    filled = min(CELLS, max(round(share * CELLS), 1 if share > 0 else 0))
    cells = encodable("▇▁", "#.", sys.stdout)
    return cells[0] * filled + cells[1] * (CELLS - filled)

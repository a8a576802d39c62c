"""What the loop, the slash commands, the prompt and the toolbar of a chat share."""

import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from subbyte.cli.repl.keyboard import Keyboard
from subbyte.cli.terminal.console import dim, terminal_width
from subbyte.runtime.text import one_line, spelt_out

if TYPE_CHECKING:
    from subbyte.cli.repl.model_switch import ModelSwitch
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.presets import Preset

MIN_COLUMN = 20  # characters; a narrower terminal wraps lines itself


@dataclass
class ReplContext:
    """One conversation at one terminal."""

    chat: "Chat"
    model: str  # the name shown to the user
    details: str  # one line about the model, for /show
    chats_dir: Path  # where /save NAME puts conversations
    out: TextIO
    presets: "Mapping[str, Preset]" = field(default_factory=dict)
    hide_thinking: bool = False  # as it was chosen last
    keyboard: Keyboard = field(default_factory=lambda: Keyboard(sys.stdin))
    models: "ModelSwitch | None" = None  # what /model switches with
    n_generated: int = 0  # tokens of all answers of this session
    seconds: float = 0.0  # and the time their generation took

    def say(self, text: str) -> None:
        """Prints one line of the program's own, dim where the terminal can do that."""
        self.out.write(dim(one_line(text), self.out) + "\n")
        self.out.flush()

    def line(self, text: str) -> None:
        """Prints one line that was asked for, its columns kept."""
        self.out.write(spelt_out(text.replace("\n", " ")) + "\n")

    def entry(self, label: str, text: str) -> None:
        """Prints a label and a text beside it, which a terminal gets wrapped into a column of its own."""
        room = terminal_width(self.out) - 1 - len(label) if self.out.isatty() else len(text)
        first, *others = textwrap.wrap(text, max(room, MIN_COLUMN), break_on_hyphens=False) or [""]
        for line in (label + first, *(" " * len(label) + other for other in others)):
            self.line(line)

    def show_thinking(self) -> None:
        """Prints the reasoning before the last answer."""
        messages = self.chat.messages
        if messages and messages[-1].thinking.strip():
            self.out.write(dim(spelt_out(messages[-1].thinking.strip()), self.out) + "\n\n")
            self.out.flush()
        else:
            self.say("the last answer has no reasoning" if messages else "there is no answer yet")

"""What the loop, the slash commands, the prompt and the toolbar of a chat share."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO, TypeAlias

from subbyte.cli.chat.keeper import Keeper
from subbyte.cli.chat.keyboard import Keyboard
from subbyte.cli.message.files import TextFile
from subbyte.cli.screen.words import WordWrap
from subbyte.cli.terminal.columns import MIN_COLUMN, NO_BREAK, beside, wrapped
from subbyte.cli.terminal.console import dim, terminal_width
from subbyte.cli.tokens.scores import N_TOP
from subbyte.runtime.text import one_line, spelt_out

if TYPE_CHECKING:
    from subbyte.cli.chat.model_switch import ModelSwitch
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.generation.events import TokenLogprob
    from subbyte.runtime.grammar.constraint import Constraint

AtTheEnd: TypeAlias = Literal["ask", "forget", "grow", "stop"]
"""What is done where a conversation no longer fits its context: the user is asked, or as `ContextPolicy` has it."""


class SecondModel(NamedTuple):
    """The model that answers beside the first one (--ab). name: as it is shown."""

    chat: "Chat"
    name: str


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
    keeper: Keeper = field(kw_only=True)
    models: "ModelSwitch | None" = None  # what /model switches with
    ask: Callable[[str], str] = input  # the answer to a question of ours; EOFError and KeyboardInterrupt: none
    plain: bool = False  # answers are shown as the model writes them
    constraint: "Constraint | None" = None  # what every answer must be
    files: list[TextFile] = field(default_factory=list)  # texts that go before the next message
    allowed: set[str] = field(default_factory=set)  # tools that are run without a question
    n_generated: int = 0  # tokens of all answers of this session
    seconds: float = 0.0  # and the time their generation took
    policy: AtTheEnd = "ask"  # what is done at the end of the context, see `AtTheEnd`
    n_warned: int = 0  # how many of the gauge's warnings were given
    scores: "list[TokenLogprob]" = field(default_factory=list)  # of the tokens of the answer that was made last
    scored: "tuple[Chat, str] | None" = None  # whose answer that was, and its text
    second: SecondModel | None = None

    def say(self, text: str) -> None:
        """Prints one line of the program's own, dim where the terminal can do that, its words whole."""
        line = one_line(text)
        if self.out.isatty():
            width = max(terminal_width(self.out) - 1, MIN_COLUMN)
            line = "\n".join(wrapped(line, width, whole=True))
        self.out.write(dim(line, self.out) + "\n")
        self.out.flush()

    def line(self, text: str) -> None:
        """Prints one line that was asked for, its columns kept."""
        self.out.write(spelt_out(text.replace("\n", " ")) + "\n")

    def text(self, text: str) -> None:
        """Prints a text that is fit for a terminal, its lines and colours kept; a terminal gets its words whole."""
        if self.out.isatty():
            wrap, width = WordWrap(), terminal_width(self.out)
            text = wrap.feed(text, width) + wrap.end(width)
        self.out.write(f"{text}\n")

    def entry(self, label: str, text: str) -> None:
        """Prints a label and a text beside it, which a terminal gets wrapped into a column of its own."""
        for line in beside(label, text, self.out):
            self.line(line.replace(NO_BREAK, " "))

    def keep(self) -> None:
        """Writes what is new of the conversation to the store; a line says where that fails."""
        if trouble := self.keeper.keep(self.chat):
            self.say(trouble)

    def prepare_chat(self) -> None:
        """Gives the chat, which may be another model's by now, what is asked of each answer here."""
        self.chat.context_policy = "stop" if self.policy == "ask" else self.policy
        self.chat.constraint = self.constraint
        self.chat.logprobs = N_TOP  # for /probs and /alt: less than a hundredth of an answer's time

    def piece(self, token: int) -> bytes:
        """The bytes of a token, or its name."""
        return self.chat.tokenizer.piece(token, special=True)

    def show_thinking(self) -> None:
        """Prints the reasoning before the last answer."""
        messages = self.chat.messages
        if messages and messages[-1].thinking.strip():
            self.out.write(dim(spelt_out(messages[-1].thinking.strip()), self.out) + "\n\n")
            self.out.flush()
        else:
            self.say("the last answer has no reasoning" if messages else "there is no answer yet")

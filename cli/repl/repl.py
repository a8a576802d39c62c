"""The chat at the terminal: reads a line, runs a command or streams an answer, again. It knows no model."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from subbyte.cli.repl import slash_commands
from subbyte.cli.repl.keyboard import Keyboard
from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.repl.stream import Answer, show
from subbyte.cli.terminal.console import dim, one_line, printable
from subbyte.cli.terminal.interrupt import no_interrupt, one_interrupt
from subbyte.errors import ContextOverflow, SubbyteError

if TYPE_CHECKING:
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.sampling import Sampling

HINT = "(Ctrl-D or /bye leaves, /help lists the commands)"


class Chat(Protocol):
    """What the terminal needs of a conversation; `subbyte.runtime.chat.chat.Chat` is one."""

    system: str | None
    sampling: "Sampling"
    thinking: bool | None  # None: as the model does by itself; setting it raises ValueError where it can't be switched
    reasoning_budget: int | None

    @property
    def can_think(self) -> bool:
        """Whether thinking can be switched on and off."""

    @property
    def messages(self) -> "Sequence[Message]":
        """What was said so far."""

    @property
    def n_ctx(self) -> int:
        """Tokens that the context holds."""

    @property
    def n_past(self) -> int:
        """Tokens in the context now."""

    @property
    def last(self) -> "Reply | None":
        """The last answer with its figures, None before the first."""

    def stream(self, text: str) -> Answer:
        """Answers a message."""

    def regenerate(self) -> Answer:
        """Answers the last message anew."""

    def clear(self) -> None:
        """Forgets the messages."""

    def save(self, path: Path) -> None:
        """Writes the conversation to a file."""

    def load(self, path: Path) -> None:
        """Takes the conversation from a file."""


@dataclass
class Repl:
    """One chat at one terminal."""

    chat: Chat
    model: str  # the name shown to the user
    details: str  # one line about the model, for /show
    chats_dir: Path  # where /save NAME puts conversations
    read: Callable[[], str]  # the next input; EOFError leaves, KeyboardInterrupt drops what was typed
    out: TextIO
    presets: "Mapping[str, Preset]" = field(default_factory=dict)
    hide_thinking: bool = False  # as it was chosen last
    keyboard: Keyboard = field(default_factory=lambda: Keyboard(sys.stdin))
    made: int = 0  # tokens of all answers
    seconds: float = 0.0  # and the time they took

    def run(self) -> None:
        """Reads and answers until the user leaves."""
        with no_interrupt():  # so that Ctrl-C, however often, only ever ends an answer or empties the line
            self._run()

    def _run(self) -> None:
        while True:
            try:
                text = unquote(self.read())
                if slash_commands.is_command(text):
                    slash_commands.run(self, text)
                elif text.strip():
                    self.answer(partial(self.chat.stream, text))
            except KeyboardInterrupt:
                self.say(HINT)
            except EOFError:
                return
            except ContextOverflow as error:
                self.say(f"error: {error} (/clear forgets the conversation)")
            except (SubbyteError, ValueError) as error:
                self.say(f"error: {error}")
            except OSError as error:
                self.say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}")

    def answer(self, start: Callable[[], Answer]) -> None:
        """Starts and streams an answer; Ctrl-C ends it, and what has come stays in the conversation."""
        answer = None
        reasoning = Reasoning(self.out, hidden=self.hide_thinking, keyboard=self.keyboard)
        try:
            with self.keyboard.listening(), one_interrupt():
                answer = start()
                show(answer, self.out, reasoning)
        except KeyboardInterrupt:
            self.keyboard.take()  # dropped, as the terminal drops at Ctrl-C the keys that nobody has read
            self.say("(stopped)")
        self.hide_thinking = reasoning.hidden
        if answer is not None:
            self._count(answer.reply)
        self.out.write("\n")
        self.out.flush()

    def _count(self, reply: "Reply") -> None:
        self.made += reply.usage.completion
        self.seconds += reply.timings.generation
        if reply.stop_reason == "length":
            self.say("(cut: -n or the context was reached)")

    def show_thinking(self) -> None:
        """Prints the reasoning before the last answer."""
        messages = self.chat.messages
        if messages and messages[-1].thinking.strip():
            self.out.write(dim(printable(messages[-1].thinking.strip()), self.out) + "\n\n")
            self.out.flush()
        else:
            self.say("the last answer came without reasoning" if messages else "there is no answer yet")

    def say(self, text: str) -> None:
        """Prints one line of the program's own, set apart from the answers where the terminal can."""
        self.out.write(dim(one_line(text), self.out) + "\n")
        self.out.flush()

    def line(self, text: str) -> None:
        """Prints one line that was asked for, its columns kept."""
        self.out.write(printable(text.replace("\n", " ")) + "\n")


def is_open_block(text: str) -> bool:
    '''Whether the text starts a """ block that is not closed yet.'''
    text = text.strip()
    return text.startswith('"""') and (len(text) < 6 or not text.endswith('"""'))


def unquote(text: str) -> str:
    '''The text without the """ around it, if it has them.'''
    block = text.strip()
    if len(block) >= 6 and block.startswith('"""') and block.endswith('"""'):
        return block[3:-3].strip("\n")
    return text

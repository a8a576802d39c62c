"""The input line of the chat: prompt_toolkit with our keys, history and completion. Imported only for a terminal."""

import signal
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from subbyte.cli.repl.blocks import is_open_block
from subbyte.cli.repl.context import ReplContext
from subbyte.cli.repl.presets import describe
from subbyte.cli.repl.saved_chats import saved_names
from subbyte.cli.repl.settings import SETTINGS
from subbyte.cli.repl.slash_commands import COMMANDS
from subbyte.cli.repl.toolbar import toolbar

PROMPT, CONTINUATION = ">>> ", "... "
N_OTHER_ROWS = 2  # of the bottom line, and of a search in the history
STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "placeholder": "ansibrightblack",
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.note": "ansibrightblack",
        "bottom-toolbar.gauge": "ansigreen",
        "bottom-toolbar.full": "ansired",
    }
)


def open_prompt(context: ReplContext, history_file: Path) -> Callable[[], str]:
    """A function that reads one input from the terminal.

    From now on SIGTERM ends the process by SystemExit, so that the terminal is given back as it was.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    session: PromptSession[str] = PromptSession(
        [("class:prompt", PROMPT)],
        multiline=True,
        prompt_continuation=CONTINUATION,
        placeholder=_placeholder,
        bottom_toolbar=lambda: toolbar(context),
        key_bindings=_keys(context),
        history=_history(history_file),
        completer=CommandCompleter(context),
        complete_while_typing=Condition(lambda: session.default_buffer.text.startswith("/")),
        complete_style=CompleteStyle.COLUMN,
        enable_open_in_editor=True,
        enable_suspend=True,
        style=STYLE,
    )

    session.app.before_render += lambda app: fit_menu(session, app.output.get_size().rows)

    def read() -> str:
        store_typeahead(session.app.input, _presses(context.keyboard.take()))
        return session.prompt()

    return read


def fit_menu(session: PromptSession[str], rows: int) -> None:
    """Reserves the rows that the menu of commands needs, but no more than the terminal has: else nothing is drawn."""
    session.reserve_space_for_menu = min(len(COMMANDS), max(rows - N_OTHER_ROWS, 0))


def _placeholder() -> StyleAndTextTuples:
    """What stands in an empty line; a search of the history shows its find there."""
    app = get_app()
    return [] if app.is_done or app.layout.is_searching else [("class:placeholder", "Ask something (/help)")]


def _presses(keys: str) -> list[KeyPress]:
    """The presses that a terminal sends as `keys`."""
    presses: list[KeyPress] = []
    parser = Vt100Parser(presses.append)
    parser.feed_and_flush(keys)
    return presses


def _keys(context: ReplContext) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open_block(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-t")
    def _(event: KeyPressEvent) -> None:
        run_in_terminal(context.show_thinking)

    return keys


class CommandCompleter(Completer):
    """Completes /commands and what they take: names of settings and presets, on and off, saved conversations."""

    def __init__(self, context: ReplContext) -> None:
        self._context = context

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Completions at the cursor."""
        text = document.text_before_cursor
        word, space, argument = text.partition(" ")
        if not text.startswith("/"):
            return
        if not space:
            for name, command in COMMANDS.items():
                if name.startswith(word):
                    yield Completion(name, start_position=-len(word), display=command.usage, display_meta=command.help)
            return
        for name, meta in self._arguments(word):
            if name.startswith(argument):
                yield Completion(name, start_position=-len(argument), display_meta=meta)

    def _arguments(self, command: str) -> list[tuple[str, str]]:
        if command == "/set":
            return [(setting.name, setting.help) for setting in SETTINGS]
        if command == "/think":
            return [("on", ""), ("off", ""), ("show", "the reasoning before the last answer")]
        if command == "/preset":
            return [(name, describe(preset)) for name, preset in self._context.presets.items()]
        if command == "/model":
            return self._models
        if command in ("/load", "/save"):
            return [(name, "") for name in saved_names(self._context.chats_dir)]
        return []

    @cached_property
    def _models(self) -> list[tuple[str, str]]:
        """The models that are here; looked for once, since other programs' folders may be large."""
        from subbyte.runtime.store.resolve import available, installed

        return [(m.name, m.place) for m in installed()] + [(m.name, "to download") for m in available()]


class _SafeHistory(FileHistory):
    """A history file; what can't be written to it is kept for this run only."""

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            pass


def _history(path: Path) -> History:
    """The history kept in a file readable by its owner only, or in memory where no file can be had."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        with path.open("ab"):
            return _SafeHistory(str(path))
    except OSError:
        return InMemoryHistory()

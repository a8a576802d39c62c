"""The input line of the chat: prompt_toolkit with our keys, history and completion. Imported only for a terminal."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from subbyte.cli.chat.blocks import is_open_block
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keyboard import CTRL_T
from subbyte.cli.repl.completion import CommandCompleter, mention_before
from subbyte.cli.repl.toolbar import toolbar
from subbyte.cli.repl.whole_words import WholeWords
from subbyte.cli.slash.slash_commands import COMMANDS

PROMPT, CONTINUATION = ">>> ", "... "
N_OTHER_ROWS = 2  # of the bottom line, and of a search in the history
STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "placeholder": "ansibrightblack",
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.note": "ansibrightblack",
        "bottom-toolbar.gauge": "ansigreen",
        "bottom-toolbar.filling": "ansiyellow",
        "bottom-toolbar.full": "ansired",
    }
)


def open_prompt(context: ReplContext, history_file: Path) -> Callable[[], str]:
    """A function that reads one input from the terminal.

    From now on `context.ask` reads there, too, and SIGTERM ends the process by SystemExit, so that the terminal is
    given back as it was.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    session: PromptSession[str] = PromptSession(
        [("class:prompt", PROMPT)],
        multiline=True,
        prompt_continuation=_continuation,
        placeholder=_placeholder,
        input_processors=[WholeWords(len(PROMPT))],
        bottom_toolbar=lambda: toolbar(context),
        key_bindings=_keys(context),
        history=_history(history_file),
        completer=CommandCompleter(context),
        complete_while_typing=Condition(lambda: _is_completed(session.default_buffer.document)),
        complete_style=CompleteStyle.COLUMN,
        enable_open_in_editor=True,
        enable_suspend=True,
        style=STYLE,
    )

    session.app.before_render += lambda app: fit_menu(session, app.output.get_size().rows)

    questions: PromptSession[str] = PromptSession(history=InMemoryHistory(), style=STYLE)

    def ask(question: str) -> str:
        """Keys typed before the question was seen are no answer to it: they wait for the next input."""
        with context.keyboard.listening():
            context.keyboard.presses(CTRL_T)
        early = get_typeahead(session.app.input)
        try:
            return questions.prompt(question)
        finally:
            store_typeahead(session.app.input, early)

    context.ask = ask

    def read() -> str:
        store_typeahead(session.app.input, _presses(context.keyboard.take()))
        return session.prompt()

    return read


def fit_menu(session: PromptSession[str], rows: int) -> None:
    """Reserves the rows that the menu of commands needs, but no more than the terminal has: else nothing is drawn."""
    session.reserve_space_for_menu = min(len(COMMANDS), max(rows - N_OTHER_ROWS, 0))


def _continuation(_: int, __: int, n_wraps: int) -> str:
    """What stands before a line of the input, but not where the terminal's width ends one."""
    return "" if n_wraps else CONTINUATION


def _is_completed(document: Document) -> bool:
    """Whether completions are shown while typing: in a command's line, and in a name behind @."""
    return document.text.startswith("/") or mention_before(document.text_before_cursor) is not None


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

    @keys.add("enter", filter=~is_searching)  # which Enter ends, with what was found in the line
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open_block(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-t")
    def _(event: KeyPressEvent) -> None:
        run_in_terminal(context.show_thinking)

    return keys


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

"""Completion at the prompt: commands and what they take, and files behind @. Imported only for a terminal."""

import re
from collections.abc import Iterable
from functools import cached_property

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import AT_THE_END
from subbyte.cli.chat.presets import describe
from subbyte.cli.chat.settings import SETTINGS
from subbyte.cli.slash.conversations import N_LISTED
from subbyte.cli.slash.saved_chats import saved_names
from subbyte.cli.slash.slash_commands import COMMANDS
from subbyte.errors import SubbyteError

OF_FILES = ("/read", "/tools")  # commands that take names of files
MAX_FILES = 200  # names that are offered at once
_LAST_NAME = re.compile(r"(?:\\.|[^\s\\])*\Z")
_NEEDS_ESCAPE = re.compile(r"[\s\\'\"]")
_MENTION = re.compile(r"(?<!\S)@((?:\\\s|\S)*)\Z")


def mention_before(text: str) -> str | None:
    """What is typed of a name behind @ at the end of a text; None where there is no such thing."""
    match = _MENTION.search(text)
    return None if match is None else match[1]


class CommandCompleter(Completer):
    """Completes /commands, what they take (settings, presets, on and off, conversations, files), and @files."""

    def __init__(self, context: ReplContext) -> None:
        self._context = context
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Completions at the cursor."""
        text = document.text_before_cursor
        word, space, argument = text.partition(" ")
        if not text.startswith("/"):
            name = mention_before(text)
            return [] if name is None else self._escaped_files(name, complete_event)
        if not space:
            return [
                Completion(name, start_position=-len(word), display=command.usage, display_meta=command.help)
                for name, command in COMMANDS.items()
                if name.startswith(word)
            ]
        if word in OF_FILES:
            return self._escaped_files(argument, complete_event)
        return [
            Completion(name, start_position=-len(argument), display_meta=meta)
            for name, meta in self._arguments(word, argument)
            if name.lower().startswith(argument.lower())
        ]

    def _files(self, name: str, event: CompleteEvent) -> Iterable[Completion]:
        """Files and folders whose path begins so."""
        found = self._paths.get_completions(Document(name), event)
        return [completion for completion, _ in zip(found, range(MAX_FILES), strict=False)]

    def _escaped_files(self, argument: str, event: CompleteEvent) -> Iterable[Completion]:
        r"""The same as commands and mentions read names, which is as a shell does: `a\ b.txt`."""
        last = _LAST_NAME.search(argument)
        for found in self._files(re.sub(r"\\(.)", r"\1", last[0] if last else ""), event):
            text = _NEEDS_ESCAPE.sub(r"\\\g<0>", found.text)
            yield Completion(text, found.start_position, display=found.display)

    def _arguments(self, command: str, begins: str) -> list[tuple[str, str]]:
        if command == "/set":
            return [(setting.name, setting.help) for setting in SETTINGS]
        if command == "/think":
            return [("on", ""), ("off", ""), ("show", "the reasoning before the last answer")]
        if command == "/context":
            return list(AT_THE_END.items())
        if command == "/preset":
            return [(name, describe(preset)) for name, preset in self._context.presets.items()]
        if command == "/model":
            return self._models
        if command == "/save":
            return [(name, "") for name in saved_names(self._context.chats_dir)]
        if command in ("/load", "/delete"):
            return self._conversations(begins, files=command == "/load")
        return []

    @cached_property
    def _models(self) -> list[tuple[str, str]]:
        """The models that are here; looked for once, since other programs' folders may be large."""
        from subbyte.runtime.store.resolve import available, installed

        return [(m.name, m.place) for m in installed()] + [(m.name, "to download") for m in available()]

    def _conversations(self, begins: str, *, files: bool) -> list[tuple[str, str]]:
        """Names of kept conversations that begin so; where they can't be read, none."""
        saved = [(name, "a file") for name in saved_names(self._context.chats_dir)] if files else []
        try:
            kept = self._context.keeper.store.recent(N_LISTED, begins=begins)
        except SubbyteError:
            return saved
        return [*((each.name, each.first) for each in kept), *saved]

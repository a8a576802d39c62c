"""The chat's conversation in the store: what goes wrong there is a line, and the chat goes on."""

import os
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.errors import SubbyteError

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.conversations.recording import Recording
    from subbyte.runtime.conversations.records import Conversation
    from subbyte.runtime.conversations.store import ConversationStore

FILE = "conversations.db"  # in the user's data folder


def data_folder() -> Path:
    """Where what the user said is kept."""
    from platformdirs import user_data_path

    return user_data_path("subbyte", appauthor=False)


class Keeper:
    """Keeps the conversation of a chat, and finds others. SQLite is imported and opened when first needed.

    file: the store's. saves: False only reads it, as after --no-save. given: settings of the command line, by name,
    which hold whatever a conversation was held with. A context manager, which closes it.
    """

    def __init__(self, file: Path, *, saves: bool = True, given: Collection[str] = ()) -> None:
        self.saves = saves
        self.differs = ""  # how a conversation that goes on is not held as this chat was before, or as it was itself
        self.listed: Sequence[Conversation] = ()  # what /sessions showed last, for the numbers of its lines
        self._file, self._given, self._held_with = file, given, ("", "")
        self._trouble = ""  # why the conversation is not kept now
        self._loaded: Sequence[Message] | None = ()  # what is not kept before something is said; None: it was

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        if "store" in self.__dict__:
            self.store.close()

    @cached_property
    def store(self) -> "ConversationStore":
        """All kept conversations."""
        from subbyte.runtime.conversations.store import ConversationStore

        return ConversationStore(self._file)

    @cached_property
    def recording(self) -> "Recording":
        """The conversation of this chat. Raises ValueError where it is not to be kept."""
        from subbyte.runtime.conversations.recording import Recording

        if not self.saves:
            raise ValueError("this chat is not saved (--no-save)")
        return Recording(self.store, *self._held_with)

    def hold_with(self, model: str, path: str) -> None:
        """Says what answers from now on: the model's name as the user wrote it, and its file."""
        self._held_with = (os.path.abspath(model) if os.path.exists(model) else model, path)
        if "recording" in self.__dict__:
            self.recording.model, self.recording.path = self._held_with

    def begin_with(self, name: str | None, *, last: bool) -> "Conversation | None":
        """The conversation to go on with: of that name, or the last one. None where a new one begins, of that name.

        Raises ValueError for an unfit name and where both are asked for.
        """
        if last and name is not None:
            raise ValueError("--continue goes on with the last conversation, --session with another; give one of them")
        if name is None:
            return next(iter(self.store.recent(1)), None)
        found = self.store.named(name)
        if found is None and self.saves:
            self.recording.begin(name)
        return found

    def resume(self, chat: "Chat", conversation: "Conversation", head: int | None = None) -> None:
        """Goes on with a kept conversation, or with that branch of it: its messages become the chat's.

        So do the settings it was held with, by the same model.
        """
        from subbyte.cli.chat.held_settings import take_up

        kept = self.store.messages(conversation, head)
        chat.resume([each.message for each in kept], system=self.store.system(conversation, kept))
        self.differs = ""
        if conversation.model != self._held_with[0] and conversation.path != self._held_with[1]:
            self.differs = f"{conversation.model} answered before: /model {conversation.model} goes back to it"
        elif head is None and (taken := take_up(chat, conversation.settings, self._given)):
            self.differs = f"with {', '.join(taken)}, as before"
        if self.saves:
            self.recording.resume(conversation, kept, chat.settings.to_dict())
        self._loaded = None

    def begin(self, loaded: "Sequence[Message]" = ()) -> None:
        """Lets the next message begin a new conversation. loaded: the messages of a file that stand before it."""
        if "recording" in self.__dict__:
            self.recording.begin()
        self._loaded = loaded

    def keep(self, chat: "Chat") -> str:
        """Writes what is new; a line for the user where that begins or ceases to fail, else nothing."""
        messages = everything(chat)
        if not self.saves or (self._loaded is not None and messages == [*self._loaded]):
            return ""
        before = self._trouble
        try:
            if self.recording.keep(messages, chat.settings.to_dict()):
                self._trouble, self._loaded = "", None
        except SubbyteError as error:
            self._trouble = str(error)
        if self._trouble == before:
            return ""
        return f"(not saved: {self._trouble}; the chat goes on)" if self._trouble else "(saved again)"


def everything(chat: "Chat") -> "list[Message]":
    """All messages of a conversation, a question that waits for its answer included."""
    return [*chat.messages, *chat.waiting]

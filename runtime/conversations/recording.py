"""One conversation kept as it goes: told its messages whenever they may have changed, it writes what is new."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations import rows, writes
from subbyte.runtime.conversations.names import checked_name
from subbyte.runtime.conversations.records import Conversation, KeptMessage
from subbyte.runtime.conversations.store import ConversationStore


class Recording:
    """Keeps a conversation in the store. Nothing is written before its first message.

    Told all messages each time, it finds what has become of those it has kept: more of them, fewer, others from
    somewhere on (which is a new branch), a longer last answer (which takes the shorter one's place), other ones pinned
    or forgotten. So whatever changed a conversation is kept, and what could not be written once is written the next
    time. model, path: the model's name as the user wrote it, and its file; may be changed.
    """

    def __init__(self, store: ConversationStore, model: str, path: str) -> None:
        self.store, self.model, self.path = store, model, path
        self._name: str | None = None
        self._id: int | None = None
        self._kept: list[tuple[int, Message]] = []
        self._held_with: tuple[str, str, str] | None = None  # what the store says that it is held with

    @property
    def conversation(self) -> Conversation | None:
        """The conversation as it is kept; None before its first message, and where it was deleted."""
        return None if self._id is None else self.store.with_id(self._id)

    def begin(self, name: str | None = None) -> None:
        """Lets the next message begin a new conversation. Raises ValueError for an unfit name and one that is taken."""
        if name is not None:
            name = self.store.free_name(name)
        self._name, self._id, self._kept = name, None, []

    def resume(self, conversation: Conversation, kept: Sequence[KeptMessage], settings: Mapping[str, Any]) -> None:
        """Goes on with a kept conversation, behind these messages of it: a branch, which is in use from now on.

        settings: what it goes on with; the store is told of others.
        """
        self._name, self._id = None, conversation.id
        self._kept = [(each.id, each.message) for each in kept]
        self._held_with = self._holds(settings)
        if kept and self.store.head(conversation) != kept[-1].id:
            with self.store.writing() as database:
                writes.turn_to(database, conversation.id, kept[-1].id, len(kept))
                writes.hold_with(database, conversation.id, writes.setup(database, self.model, self.path, settings))

    def rename(self, name: str) -> str:
        """Names the conversation, also before it begins; the name as it is kept. Raises ValueError as `begin`."""
        found = self.conversation
        if found is not None:
            return self.store.rename(found, name)
        self.begin(name)
        return checked_name(name)

    def fork(self, name: str | None = None) -> None:
        """Goes on in a copy of the branch in use. Raises ValueError as `begin`, and before the first message."""
        origin = self.conversation
        if origin is None:
            raise ValueError("there is nothing to fork: nothing is kept of this conversation yet")
        if name is not None:
            name = self.store.free_name(name)
        with self.store.writing() as database:
            id, copies = writes.copy(database, origin, name, [id for id, _ in self._kept])
        self._name, self._id = None, id
        self._kept = [(new, message) for new, (_, message) in zip(copies, self._kept, strict=True)]

    def keep(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> bool:
        """Writes what is new, were it that others answer now; whether anything was. settings: what it is held with.

        Raises ResourceError where nothing could be written; then all is as before.
        """
        pairs = zip(self._kept, messages, strict=False)
        same = [(at, old, new) for (at, old), new in takewhile(lambda pair: pair[0][1] == pair[1], pairs)]
        marked = [(at, new) for at, old, new in same if rows.marks(old) != rows.marks(new)]
        if len(same) == len(messages) == len(self._kept) and not marked:
            return self._keep_settings(settings)
        with self.store.writing() as database:
            setup = writes.setup(database, self.model, self.path, settings)
            id, kept = self._id, self._kept
            if id is None or not writes.exists(database, id):
                id, kept, same, marked = writes.conversation(database, self._name, messages, setup), [], [], []
            left, new = kept[len(same) :], list(messages[len(same) :])
            kept = [(at, message) for at, _, message in same]
            for at, message in marked:
                writes.mark(database, at, message)
            if new and len(left) == 1 and _goes_on(left[0][1], new[0]) and not writes.follows(database, id, left[0][0]):
                writes.change(database, left[0][0], new[0], setup)
                kept.append((left[0][0], new.pop(0)))
            for message in new:
                kept.append((writes.message(database, id, kept[-1][0] if kept else None, message, setup), message))
            writes.turn_to(database, id, kept[-1][0] if kept else None, len(kept))
            writes.hold_with(database, id, setup)
        self._id, self._kept, self._name = id, kept, None
        self._held_with = self._holds(settings)
        return True

    def _keep_settings(self, settings: Mapping[str, Any]) -> bool:
        """Writes what a conversation that has begun is held with from now on; whether that is new."""
        if self._id is None or self._held_with == self._holds(settings):
            return False
        with self.store.writing() as database:
            writes.hold_with(database, self._id, writes.setup(database, self.model, self.path, settings))
        self._held_with = self._holds(settings)
        return True

    def _holds(self, settings: Mapping[str, Any]) -> tuple[str, str, str]:
        return self.model, self.path, rows.settings_column(settings)


def _goes_on(old: Message, new: Message) -> bool:
    """Whether an answer is another one with more behind it."""
    return (
        old.role == new.role == "assistant"
        and new.content.startswith(old.content)
        and new.thinking.startswith(old.thinking)
        and new.tool_calls[: len(old.tool_calls)] == old.tool_calls
    )

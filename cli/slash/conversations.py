"""Kept conversations in the chat: listed, resumed, named, copied, deleted, their branches."""

from typing import TYPE_CHECKING

from subbyte.cli.chat.asking import confirmed
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.slash.turns import show_last_turns
from subbyte.cli.terminal.console import local_time

if TYPE_CHECKING:
    from subbyte.runtime.conversations.records import Conversation

N_LISTED = 10
N_NAMES = 1000  # the newest, for completion and for names mistyped


def sessions(context: ReplContext, _: str) -> None:
    """Lists the conversations that changed last, with numbers for /load; a star marks that of now."""
    store = context.keeper.store
    context.keeper.listed = store.recent(N_LISTED)
    if not context.keeper.listed:
        context.say("no conversation is kept yet")
        return
    now = context.keeper.recording.conversation if context.keeper.saves else None
    for number, each in enumerate(context.keeper.listed, 1):
        mark = "*" if now is not None and each.id == now.id else " "
        context.entry(f"{mark}{number:2}  ", f"{each.name}  {local_time(each.changed)}  ({_about(each)})  {each.first}")
    more = store.count() - len(context.keeper.listed)
    context.say("/load NAME or NUMBER resumes one" + (f"; subbyte history lists {more} more" if more > 0 else ""))


def _about(conversation: "Conversation") -> str:
    n = conversation.n_messages
    fork = f", a copy of {conversation.fork_of}" if conversation.fork_of else ""
    return f"{conversation.model}, {n} message{'s' if n != 1 else ''}{fork}"


def find(context: ReplContext, name: str) -> "Conversation | None":
    """The conversation of that name, or of that number in the list; None where there is none of that name.

    Raises ValueError for a number that is not in the list.
    """
    if not name.isdecimal():
        return context.keeper.store.named(name)
    listed = context.keeper.listed or context.keeper.store.recent(N_LISTED)
    if not 0 < int(name) <= len(listed):
        raise ValueError(f"{name} is no number of the list, which has {len(listed)}; /sessions shows it")
    return context.keeper.store.named(listed[int(name) - 1].name)


def resume(context: ReplContext, conversation: "Conversation", head: int | None = None) -> None:
    """Goes on with a conversation, or with a branch of it, and shows its last turns."""
    context.keeper.resume(context.chat, conversation, head)
    show_resumed(context, conversation)


def show_resumed(context: ReplContext, conversation: "Conversation") -> None:
    """Shows the last turns of the conversation that the chat goes on with."""
    show_last_turns(context)
    differs = context.keeper.differs
    context.say(f"(goes on with {conversation.name}{f'; {differs}' if differs else ''})")


def name(context: ReplContext, text: str) -> None:
    """Shows or changes the conversation's name."""
    recording = context.keeper.recording
    if text:
        context.say(f"named {recording.rename(text)}")
        return
    found = recording.conversation
    context.say(f"{found.name}, {_about(found)}" if found else "it gets a name by its first words, or by /name NAME")


def fork(context: ReplContext, text: str) -> None:
    """Goes on in a copy of the conversation."""
    recording = context.keeper.recording
    before = recording.conversation
    recording.fork(text or None)
    after = recording.conversation
    if before and after:
        context.say(f"in {after.name} from now on; {before.name} stays as it is")


def branches(context: ReplContext, number: str) -> None:
    """Lists the branches of the conversation, or goes on with one of them."""
    from subbyte.runtime.conversations.names import first_words

    found = context.keeper.recording.conversation
    if found is None:
        raise ValueError("there is no branch: nothing is kept of this conversation yet")
    all_branches = context.keeper.store.branches(found)
    if number:
        if not number.isdecimal() or not 0 < int(number) <= len(all_branches):
            raise ValueError(f"/branch takes a number from 1 to {len(all_branches)}, not {number!r}")
        resume(context, found, all_branches[int(number) - 1].head)
        return
    for i, each in enumerate(all_branches, 1):
        mark = "*" if each.in_use else " "
        said = "  ".join(filter(None, map(first_words, (each.question, each.answer))))
        context.entry(f"{mark}{i:2}  ", f"{local_time(each.time)}  ({each.n_messages} messages)  {said}")


def delete(context: ReplContext, text: str) -> None:
    """Deletes a conversation, after a question."""
    if not text:
        raise ValueError("/delete needs the name of a conversation, or its number in /sessions")
    found = find(context, text) or context.keeper.store.find(text)
    if not confirmed(context, f"delete {found.name}, {_about(found)}?"):
        context.say(f"{found.name} stays")
        return
    current = context.keeper.recording.conversation if context.keeper.saves else None
    context.keeper.store.delete(found)
    context.keeper.listed = ()
    if current is not None and current.id == found.id:
        context.chat.clear()
        context.keeper.begin()
        context.say(f"{found.name} is deleted; a new conversation begins")
    else:
        context.say(f"{found.name} is deleted")

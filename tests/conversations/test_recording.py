"""A conversation kept as it goes: whatever becomes of its messages, the store has them, and what was there before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import ResourceError
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations.recording import Recording
from subbyte.runtime.conversations.store import ConversationStore
from subbyte.runtime.tools.call import ToolCall

SETTINGS = {"sampling": {"temperature": 0.5}, "system": "Be brief."}


def user(text: str) -> Message:
    return Message("user", text)


def answer(text: str, thinking: str = "") -> Message:
    return Message("assistant", text, thinking)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    with ConversationStore(tmp_path / "data" / "conversations.db") as store:
        yield store


@pytest.fixture
def recording(store: ConversationStore) -> Recording:
    return Recording(store, "tiny", "/models/tiny.gguf")


def said(store: ConversationStore, name: str) -> list[str]:
    return [each.message.content for each in store.messages(store.find(name))]


def ways(store: ConversationStore, name: str) -> list[list[str]]:
    """The contents of all branches."""
    found = store.find(name)
    return [[m.message.content for m in store.messages(found, each.head)] for each in store.branches(found)]


def test_a_conversation_with_all_that_belongs_to_it(store: ConversationStore, recording: Recording) -> None:
    calls = Message("assistant", "", "I need it.", (ToolCall("a1", "weather", {"city": "Rome"}),))
    messages = [user("How is it?"), calls, Message("tool", "20°", tool_call_id="a1", name="weather"), answer("Warm.")]
    recording.keep(messages, SETTINGS)
    (found,) = store.recent()
    assert (found.name, found.first, found.model, found.path) == (
        "how-is-it",
        "How is it?",
        "tiny",
        "/models/tiny.gguf",
    )
    assert (found.n_messages, found.fork_of, found.settings) == (4, None, SETTINGS)
    kept = store.messages(found)
    assert store.system(found, kept) == "Be brief." == store.system(found, [])
    assert [each.message for each in kept] == messages
    assert {(each.model, str(each.settings)) for each in kept} == {("tiny", str(SETTINGS))}
    assert found.created <= kept[0].time <= kept[-1].time <= found.changed


def test_nothing_is_made_before_something_is_said(store: ConversationStore, recording: Recording) -> None:
    recording.keep([], SETTINGS)
    assert not store.path.exists() and store.recent() == [] and store.count() == 0
    assert recording.conversation is None and store.named("x") is None and store.search("x") == []


def test_only_its_owner_may_read_it(store: ConversationStore, recording: Recording) -> None:
    recording.keep([user("hi")], SETTINGS)
    files = list(store.path.parent.iterdir())
    assert len(files) == 3  # the log and its index, too
    assert [file.stat().st_mode & 0o077 for file in (*files, store.path.parent)] == [0] * 4


def test_a_longer_answer_takes_the_place_of_the_shorter_one(store: ConversationStore, recording: Recording) -> None:
    for messages in ([user("hi")], [user("hi"), answer("half an")], [user("hi"), answer("half an answer")]):
        recording.keep(messages, SETTINGS)
    assert ways(store, "hi") == [["hi", "half an answer"]]


def test_an_answer_that_something_followed_stays_when_it_is_continued(
    store: ConversationStore, recording: Recording
) -> None:
    for messages in (["a", "b", "c", "d"], ["a", "b"], ["a", "b and more"], ["a", "b and more still"]):
        recording.keep([(answer if i % 2 else user)(text) for i, text in enumerate(messages)], SETTINGS)
    assert ways(store, "a") == [["a", "b", "c", "d"], ["a", "b and more still"]]


def test_another_answer_is_a_branch_and_so_is_another_question(store: ConversationStore, recording: Recording) -> None:
    begin = [user("a"), answer("b")]
    for more in ([user("c"), answer("d")], [user("c"), answer("e")], [], [user("f"), answer("g")]):
        recording.keep([*begin, *more], SETTINGS)
    assert said(store, "a") == ["a", "b", "f", "g"]
    assert ways(store, "a") == [["a", "b", "c", "d"], ["a", "b", "c", "e"], ["a", "b", "f", "g"]]
    assert [each.in_use for each in store.branches(store.find("a"))] == [False, False, True]
    first = store.branches(store.find("a"))[0]
    recording.resume(store.find("a"), store.messages(store.find("a"), first.head), SETTINGS)
    recording.keep([*begin, user("c"), answer("d"), user("h")], SETTINGS)
    assert said(store, "a") == ["a", "b", "c", "d", "h"] and len(ways(store, "a")) == 3


def test_what_a_conversation_is_held_with_is_kept_as_soon_as_it_changes(
    store: ConversationStore, recording: Recording
) -> None:
    other = {"sampling": {"temperature": 0.0}, "system": "Be kind."}
    recording.keep([], other)
    assert store.recent() == []
    recording.keep([user("a")], SETTINGS)
    recording.keep([user("b")], SETTINGS)
    recording.model = "small"
    assert recording.keep([user("b")], other) and not recording.keep([user("b")], other)
    (found,) = store.recent()
    assert (found.model, found.settings) == ("small", other)
    (kept,) = store.messages(found)
    assert (kept.model, kept.settings, store.system(found, [kept])) == ("tiny", SETTINGS, "Be kind.")
    first = store.messages(found, store.branches(found)[0].head)
    assert store.system(found, first) == "Be brief."
    recording.resume(found, first, SETTINGS)
    assert store.recent()[0].settings == SETTINGS


def test_what_is_pinned_and_forgotten_is_kept(store: ConversationStore, recording: Recording) -> None:
    def marks(name: str) -> list[tuple[bool, bool]]:
        return [(each.message.pinned, each.message.forgotten) for each in store.messages(store.find(name))]

    turns = [user("one"), answer("1"), user("two"), answer("2")]
    assert recording.keep(turns, SETTINGS)
    turns = [replace(turns[0], pinned=True), *turns[1:2], *(replace(turn, forgotten=True) for turn in turns[2:])]
    assert recording.keep(turns, SETTINGS) and not recording.keep(turns, SETTINGS)
    expected = [(True, False), (False, False), (False, True), (False, True)]
    assert marks("one") == expected and len(ways(store, "one")) == 1
    recording.fork("copy")
    assert marks("copy") == expected
    again = Recording(store, "tiny", "")
    again.resume(store.find("one"), store.messages(store.find("one")), SETTINGS)
    assert not again.keep(turns, SETTINGS)
    assert again.keep([replace(turns[0], pinned=False), *turns[1:]], SETTINGS)
    assert marks("one")[0] == (False, False) and marks("copy") == expected


def test_a_fork_is_a_conversation_of_its_own(store: ConversationStore, recording: Recording) -> None:
    recording.keep([user("a"), answer("b")], SETTINGS)
    times = [each.time for each in store.messages(store.find("a"))]
    recording.fork()
    recording.keep([user("a"), answer("b"), user("c")], SETTINGS)
    assert said(store, "a") == ["a", "b"] and said(store, "a-2") == ["a", "b", "c"]
    fork = store.find("A-2")
    assert fork.fork_of == "a" and [each.time for each in store.messages(fork)][:2] == times
    recording.fork("other")
    assert store.find("other").fork_of == "a-2"
    store.delete(fork)
    assert store.find("other").fork_of is None and said(store, "other") == ["a", "b", "c"]


def test_names(store: ConversationStore, recording: Recording) -> None:
    for text in ("What is the capital of France, please?", "what is THE capital of france please", "42", "…", "été"):
        recording.keep([user(text)], SETTINGS)
        recording.begin()
    recording.keep([user("a b.txt:\n```\nText.\n```\n\nc:\n````\n```\n````\n\nWhat is it?")], SETTINGS)
    assert store.recent(1)[0].first == "What is it?"
    store.delete(store.find("what-is-it"))
    made = ["what-is-the-capital-of-france", "what-is-the-capital-of-france-2", "chat-42", "chat", "été"]
    assert [each.name for each in reversed(store.recent())] == made
    recording.begin("  my   trip ")
    assert recording.rename("Rome") == "Rome" and recording.conversation is None
    recording.keep([user("hi")], SETTINGS)
    assert recording.rename("rome 2") == "rome 2" and recording.rename("ROME 2") == "ROME 2"
    for name in ("", "7", "a/b", "-x", "x" * 65, "a\x1bb"):
        with pytest.raises(ValueError, match="must be 1 to 64 characters"):
            recording.rename(name)
    with pytest.raises(ValueError, match="there is a conversation chat already; give another name"):
        recording.rename("Chat")
    with pytest.raises(ValueError, match=r"no conversation rom2 is kept \(did you mean ROME 2\?\)"):
        store.find("rom2")
    assert store.names(2) == ["ROME 2", "été"]


def test_names_that_are_no_unicode(store: ConversationStore) -> None:
    Recording(store, "m\udcff", "/m\udcff.gguf").keep([user("a\ud800")], {"stop": ["\udcff"]})
    (found,) = store.recent()
    assert (found.model, found.settings, said(store, "a")) == ("m�", {"stop": ["\udcff"]}, ["a�"])
    assert store.named("\udcff") is None and store.search("x\udcff") == []


def test_two_chats_in_one_conversation_lose_nothing(store: ConversationStore, recording: Recording) -> None:
    recording.keep([user("a"), answer("b")], SETTINGS)
    other_store = ConversationStore(store.path)
    other = Recording(other_store, "other", "")
    found = other_store.find("a")
    other.resume(found, other_store.messages(found), SETTINGS)
    other.keep([user("a"), answer("b"), user("c")], SETTINGS)
    recording.keep([user("a"), answer("b"), user("d")], SETTINGS)
    assert ways(store, "a") == [["a", "b", "c"], ["a", "b", "d"]]
    other_store.delete(found)
    recording.keep([user("a"), answer("b"), user("d"), answer("e")], SETTINGS)  # it goes on: whole, as a new one
    assert said(store, "a") == ["a", "b", "d", "e"]
    other_store.close()


def test_what_could_not_be_written_is_written_later(
    store: ConversationStore, recording: Recording, tmp_path: Path
) -> None:
    recording.keep([user("a")], SETTINGS)
    with store.writing() as database:
        database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(ResourceError, match=r"conversations\.db: kept conversations can't be written: .* full"):
        recording.keep([user("a"), answer("b" * 100_000)], SETTINGS)
    assert said(store, "a") == ["a"]
    with store.writing() as database:
        database.execute("PRAGMA max_page_count = 1000000")
    recording.keep([user("a"), answer("b" * 100_000), user("c")], SETTINGS)
    assert said(store, "a") == ["a", "b" * 100_000, "c"]


def continues(way: tuple[str, ...], once: tuple[str, ...]) -> bool:
    """Whether a conversation is an earlier one with more behind it: behind its last message, or within that."""
    n = len(once)
    return way[: n - 1] == once[:-1] and len(way) >= n and way[n - 1].startswith(once[-1])


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("ask", "answer", "regen", "longer")), st.text(max_size=9)),
        st.tuples(st.sampled_from(("undo", "clear", "fork", "again", "branch")), st.integers(0, 9)),
    ),
    max_size=25,
)


@given(OPERATIONS)
@settings(max_examples=60)
def test_any_sequence_of_operations(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, object]]
) -> None:
    """The store has what the chat has after each of them, and every branch that it once had."""
    store = ConversationStore(tmp_path_factory.mktemp("any") / "db")
    recording = Recording(store, "tiny", "")
    messages: list[Message] = []
    seen: set[tuple[str, ...]] = set()
    for operation, of in operations:
        if operation == "ask":
            messages = [*messages, user(str(of))]
        elif operation in ("answer", "regen") and messages:
            messages = [*messages[: None if messages[-1].role == "user" else -1], answer(f"{operation} {of}")]
        elif operation == "longer" and messages and messages[-1].role == "assistant":
            messages = [*messages[:-1], answer(messages[-1].content + str(of))]
        elif operation == "undo":
            messages = messages[: max(i for i, m in enumerate([user(""), *messages]) if m.role == "user")]
            messages = messages[:-1] if messages and messages[-1].role == "user" else messages
        elif operation == "clear":
            recording.begin()
            messages = []
        elif operation == "fork" and recording.conversation:
            recording.fork()
        elif operation == "again" and (all_of_them := store.recent()):
            found = all_of_them[int(str(of)) % len(all_of_them)]
            recording.resume(found, kept := store.messages(found), SETTINGS)
            messages = [each.message for each in kept]
        elif operation == "branch" and recording.conversation and (some := store.branches(recording.conversation)):
            kept = store.messages(recording.conversation, some[int(str(of)) % len(some)].head)
            recording.resume(recording.conversation, kept, SETTINGS)
            messages = [each.message for each in kept]
        recording.keep(messages, SETTINGS)
        current = recording.conversation
        assert ([each.message for each in store.messages(current)] if current else []) == messages
        assert current is None or current.n_messages == len(messages)
        seen.add(tuple(each.content for each in messages))
    kept_ways = {tuple(way) for each in store.recent() for way in ways(store, each.name)}
    assert all(any(continues(way, once) for way in kept_ways) for once in seen if once)
    store.close()

"""Conversations: what is computed, what is kept, what is saved."""

import copy
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import pytest
from fake_engine import CONTROL, FakeSession, FakeTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import ContextOverflow, FileExists, ResourceError, SessionBusy, SubbyteError, TemplateError
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.prompt_cache import keep_cached_tokens
from subbyte.runtime.generation.events import Done, TextDelta
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import CHATML, TRANSCRIPT, ChatTemplate

VOCABULARY = FakeTokenizer()
TRIMMING = CHATML.replace("message.content", "message.content | trim")
TEMPLATES = {source: ChatTemplate(source, VOCABULARY) for source in (CHATML, TRIMMING)}
END = VOCABULARY.ids["<|im_end|>"]


def make(
    *answers: str | list[int], n_ctx: int = 1000, source: str = CHATML, max_tokens: int | None = None,
    stop: Iterable[str] = (), **options: object,
) -> Chat:  # fmt: skip
    session = FakeSession(VOCABULARY.n_vocab, n_ctx)
    for text in answers:
        session.script += (VOCABULARY.encode(text) if isinstance(text, str) else text) + [END]
    template = TEMPLATES.get(source) or ChatTemplate(source, VOCABULARY)
    generation = GenerationOptions(Sampling(temperature=0), max_tokens, stop)
    return Chat(session, VOCABULARY, template, options=generation, **options)  # type: ignore[arg-type]


def said(chat: Chat) -> list[str]:
    assert [m.role for m in chat.messages] == ["user", "assistant"] * (len(chat.messages) // 2)
    return [m.content for m in chat.messages]


def computed(chat: Chat) -> str:
    """What was computed since the last call, as text."""
    assert isinstance(chat.session, FakeSession)
    batches, chat.session.computed = chat.session.computed, []
    return VOCABULARY.decode([id for batch in batches for id in batch], special=True)


def test_a_conversation_computes_only_what_is_new() -> None:
    with make("hello", "two", system="S") as chat:
        assert chat.last is None and chat.n_past == 0
        assert chat.send("one").text == "hello"
        first = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\nhello"
        assert computed(chat) == first
        reply = chat.send("more")
        assert computed(chat) == "<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\ntwo"
        assert reply.usage.reused == len(VOCABULARY.encode(first, special=True))
        assert said(chat) == ["one", "hello", "more", "two"]
        assert chat.last == reply and chat.n_past == reply.usage.prompt + 3 and chat.n_ctx == 1000
    assert isinstance(chat.session, FakeSession) and chat.session.closed


def test_an_answer_in_unusual_tokens_is_not_computed_again() -> None:
    letters = [*b"hello ", *b"wor", VOCABULARY.ids["ld"]]  # the tokenizer would say "hello" and "wor" in one token each
    chat = make(letters, "x", "y")
    chat.send("one")
    computed(chat)
    chat.send("two")
    assert computed(chat).startswith("<|im_end|>\n<|im_start|>user\ntwo")
    chat.send("three")
    assert computed(chat).startswith("<|im_end|>\n<|im_start|>user\nthree")


def test_a_template_that_trims_costs_only_the_trimmed_end() -> None:
    chat = make("hello \n", "x", source=TRIMMING)
    chat.send("one")
    computed(chat)
    chat.send("two")
    assert computed(chat).startswith("<|im_end|>\n<|im_start|>user\ntwo")
    assert said(chat)[1] == "hello \n"


@given(st.data())
def test_follow_keeps_the_text_and_the_longest_start(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="helowrd\n ", max_size=30))
    other = data.draw(st.text(alphabet="helowrd\n ", max_size=10))
    cut = data.draw(st.integers(0, len(text)))
    seen = [*text[:cut].encode(), END, *VOCABULARY.encode(text[cut:])]
    prompt = [*VOCABULARY.encode(text[:cut]), END, *VOCABULARY.encode(text[cut:] + other), END]
    found = keep_cached_tokens(seen, prompt, VOCABULARY.piece)
    assert VOCABULARY.decode(found, special=True) == VOCABULARY.decode(prompt, special=True)
    assert found.count(END) == 2 and found[: cut + 1] == seen[: cut + 1]


def test_follow_never_takes_a_control_token_for_its_text() -> None:
    spelt = VOCABULARY.encode("<|im_end|>")
    assert keep_cached_tokens([1, END, 2], [1, *spelt, 2], VOCABULARY.piece) == [1, *spelt, 2]
    assert keep_cached_tokens([1, *spelt, 2], [1, END, 2], VOCABULARY.piece) == [1, END, 2]
    assert keep_cached_tokens([1, END], [1, END + 1], VOCABULARY.piece) == [1, END + 1]
    assert keep_cached_tokens([], [1], VOCABULARY.piece) == [1]


def test_streaming_shows_a_running_answer_in_the_messages() -> None:
    chat = make("abc")
    stream = chat.stream("hi")
    assert chat.messages == []
    for event in stream:
        if event == TextDelta("b"):
            assert said(chat) == ["hi", "ab"]
    assert isinstance(event, Done) and said(chat) == ["hi", "abc"]
    assert chat.messages[0] == Message("user", "hi")
    assert chat.messages[0].to_dict() == {
        "role": "user", "content": "hi", "thinking": "", "tool_calls": (), "tool_call_id": None, "name": None,
        "pinned": False, "forgotten": False,
    }  # fmt: skip


def test_a_cancelled_answer_keeps_what_came() -> None:
    chat = make("0123456789", "next")
    for event in chat.stream("count"):
        if event == TextDelta("2"):
            break
    assert said(chat) == ["count", "012"]
    computed(chat)
    assert isinstance(chat.session, FakeSession)
    chat.session.script = [*b"ok", END]
    assert chat.send("go on").text == "ok"
    assert said(chat) == ["count", "012", "go on", "ok"]
    assert computed(chat).startswith("2<|im_end|>\n<|im_start|>user\ngo on")


@pytest.mark.parametrize("when", [1, 2, 4])
def test_ctrl_c_keeps_what_came(when: int) -> None:
    chat = make("0123456789")
    calls = iter(range(100))

    def interrupt() -> None:
        if next(calls) == when - 1:
            raise KeyboardInterrupt

    assert isinstance(chat.session, FakeSession)
    chat.session.before_eval = interrupt
    with pytest.raises(KeyboardInterrupt):
        chat.send("count")
    assert said(chat) == {1: [], 2: ["count", "0"], 4: ["count", "012"]}[when]
    chat.session.before_eval = lambda: None
    chat.session.script = [*b"ok", END]
    assert chat.send("again").text == "ok"
    assert said(chat)[-2:] == ["again", "ok"]


def test_an_answer_that_never_began_changes_nothing() -> None:
    chat = make("a", "b")
    chat.send("one")
    chat.stream("never taken")
    assert said(chat) == ["one", "a"]
    assert chat.send("two").text == "b"
    assert said(chat) == ["one", "a", "two", "b"]


def test_a_question_that_was_stopped_before_its_answer_is_asked_again() -> None:
    chat = make("a", "b", "c")
    chat.send("one")
    asked = chat.stream("two")
    assert next(asked) is not None and chat.unanswered == "two"
    asked.close()
    assert said(chat) == ["one", "a"] and chat.unanswered == "two"
    chat.regenerate().close()
    assert chat.unanswered == "two"
    assert chat.regenerate().run().text == "b"
    assert said(chat) == ["one", "a", "two", "b"] and chat.unanswered is None
    chat.regenerate().close()  # an answer is there: the old one
    assert said(chat) == ["one", "a", "two", "b"] and chat.unanswered is None
    chat.stream("three").close()
    assert chat.undo() == "three" and chat.undo() == "two" and chat.unanswered is None
    chat.stream("four").close()
    assert chat.send("five").text == "c"
    assert said(chat) == ["one", "a", "five", "c"]


def test_a_conversation_goes_on_from_other_messages_and_computes_what_they_do_not_share() -> None:
    chat = make("a", "b", "c", "d", system="S")
    chat.send("one")
    chat.send("two")
    computed(chat)
    chat.resume(chat.messages[:2], system="S")
    assert chat.send("three").text == "c"
    assert computed(chat) == "hree<|im_end|>\n<|im_start|>assistant\nc"  # "t" is that of "two"
    chat.resume([{"role": "system", "content": "T"}, {"role": "user", "content": "four"}])
    assert (chat.system, chat.messages, [m.content for m in chat.waiting], chat.unanswered) == (
        "T",
        [],
        ["four"],
        "four",
    )
    assert chat.reply().text == "d" and said(chat) == ["four", "d"]
    for wrong, message in (([{"role": "tool", "content": "x"}], "messages\\[0\\]: "), ("x", "messages is 'x'")):
        with pytest.raises(ValueError, match=message):
            chat.resume(wrong, system="U")  # type: ignore[arg-type]
    assert chat.system == "T" and said(chat) == ["four", "d"]


@pytest.mark.parametrize(("written", "text"), [(" Paris", "Paris"), ("Paris", "Paris"), ("  a", " a"), (" ", "")])
def test_the_space_that_a_template_puts_before_an_answer_is_no_part_of_it(written: str, text: str) -> None:
    for source, expected in ((TRANSCRIPT, text), ("{{ '[INST]' }}" + TRANSCRIPT, text), (CHATML, written)):
        chat = make(written, source=source)
        stream = chat.stream("Where?")
        assert "".join(event.text for event in stream if isinstance(event, TextDelta)) == expected
        assert said(chat) == ["Where?", expected]


def test_an_empty_answer_is_an_answer() -> None:
    chat = make("")
    assert chat.send("one").stop_reason == "eog"
    assert said(chat) == ["one", ""]


def test_regenerate_undo_clear() -> None:
    chat = make("a", "b", "c", "d", system="S")
    for nothing in (chat.regenerate, chat.undo):
        with pytest.raises(ValueError, match="nothing was said"):
            nothing()
    chat.send("one")
    chat.send("two")
    computed(chat)
    assert chat.regenerate().run().text == "c"
    assert said(chat) == ["one", "a", "two", "c"]
    assert computed(chat) == "\nc"  # the prompt's last token, for its logits
    stream = chat.regenerate()
    assert said(chat) == ["one", "a", "two", "c"]
    next(stream)
    assert chat.undo() == "two"
    assert said(chat) == ["one", "a"]
    chat.clear()
    assert said(chat) == [] and chat.system == "S" and chat.n_past == 0
    computed(chat)
    chat.send("third")
    assert computed(chat).startswith("third")  # what comes before is still in the cache
    assert chat.n_past == chat.session.n_past > 0


def test_a_conversation_that_no_longer_fits_says_so_and_stays_as_it_was() -> None:
    chat = make("a", n_ctx=100)
    chat.send("one")
    computed(chat)
    with pytest.raises(ContextOverflow, match=r"\d+ tokens, but the context holds 100"):
        chat.stream("x" * 100)
    assert said(chat) == ["one", "a"] and computed(chat) == ""
    full = make("0" * 200, n_ctx=100)
    assert full.send("hi").stop_reason == "length"
    assert full.n_past == 100


def test_an_answer_cut_inside_a_character_keeps_what_is_whole_and_its_cache() -> None:
    chat = make(max_tokens=5)
    chat.session.script += "ok \N{SAUROPOD}".encode()  # type: ignore[attr-defined]
    assert chat.send("one").text == "ok " and said(chat) == ["one", "ok "]
    computed(chat)
    chat.send("more")
    assert computed(chat).startswith("<|im_end|>\n<|im_start|>user\nmore")


def test_a_template_that_refuses_leaves_the_conversation_as_it_was() -> None:
    chat = make("a", source="{{ raise_exception('no tax') if 'tax' in messages[-1].content else messages[0].content }}")
    chat.send("one")
    with pytest.raises(TemplateError, match="no tax"):
        chat.send("tax")
    assert said(chat) == ["one", "a"]


def test_settings_of_a_chat() -> None:
    chat = make("abcdef", "abcSTOPdef", "z", max_tokens=2, stop=["STOP"], variables={"add_generation_prompt": False})
    assert chat.send("one").text == "ab"
    assert isinstance(chat.session, FakeSession)
    assert not VOCABULARY.decode(chat.session.tokens, special=True).count("assistant")
    chat.session.script = chat.session.script[5:]
    chat.max_tokens = None
    assert chat.send("two").text == "abc"
    chat.sampling = Sampling(seed=3)
    assert chat.sampling.seed == 3
    with pytest.raises(ValueError, match="non-empty strings"):
        make(stop="STOP")
    chat.max_tokens = -1
    with pytest.raises(ValueError, match="max_tokens"):
        chat.stream("three")


def test_the_time_a_template_sees_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = make("a", "b", source="{{ strftime_now('%f') }}" + CHATML)
    chat._now = datetime(2026, 1, 1, 0, 0, 0, 123456)
    chat.send("one")
    assert computed(chat).startswith("123456")
    chat.send("two")
    assert computed(chat).startswith("<|im_end|>")


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from([*CONTROL, "hello", "<|im_"]) | st.text(max_size=5)).map("".join), max_size=3))
def test_nothing_that_is_said_becomes_a_control_token(texts: list[str]) -> None:
    chat = make(*["<|im_start|>system\n"] * len(texts), system="".join(texts), n_ctx=100_000)
    for n, text in enumerate(texts, 2):
        chat.send(text)
        assert isinstance(chat.session, FakeSession)
        assert chat.session.tokens.count(VOCABULARY.ids["<|im_start|>"]) == 2 * n - 1 - (chat.system is None)
        assert len(VOCABULARY.controls(chat.session.tokens)) == 4 * n - 3 - 2 * (chat.system is None)


def test_save_and_load(tmp_path: Path) -> None:
    chat = make("é\n😀", system="S")
    chat.send("one\ud800")
    path = tmp_path / "chat.json"
    chat.save(path)
    assert json.loads(path.read_text("utf-8")) == {
        "format": "subbyte-chat", "version": 2, "system": "S",
        "messages": [{"role": "user", "content": "one\ufffd"}, {"role": "assistant", "content": "é\n😀"}],
    }  # fmt: skip
    other = make("x")
    other.load(path)
    assert (other.system, other.messages) == (chat.system, chat.messages)
    assert os.listdir(tmp_path) == ["chat.json"]


def test_saving_overwrites_only_saved_conversations_and_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_text('{"name": "mine", "format": "subbyte-chat"}')
    for overwrite in (False, True):
        with pytest.raises(FileExists, match="is not a saved conversation, so it is never overwritten"):
            make().save(path, overwrite=overwrite)
    assert json.loads(path.read_text())["name"] == "mine"
    make(system="S").save(tmp_path / "chat.json")
    with pytest.raises(FileExists, match="overwrite=True replaces it"):
        make().save(tmp_path / "chat.json")
    make(system="T").save(tmp_path / "chat.json", overwrite=True)
    assert json.loads((tmp_path / "chat.json").read_text())["system"] == "T"


def test_what_is_no_regular_file_is_not_loaded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(SubbyteError, match="not a conversation saved by subbyte: a pipe, not a regular file"):
        make().load(tmp_path / "pipe.json")
    with pytest.raises(SubbyteError, match="a device, not a regular file"):
        make().load("/dev/zero")
    with pytest.raises(ResourceError, match="can't be read: File name too long"):
        make().load("x" * 5000)


def test_a_descriptor_is_not_loaded_and_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "chat.json").open("w") as file:
        with pytest.raises(TypeError):
            make().load(file.fileno())  # type: ignore[arg-type]
        os.fstat(file.fileno())


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.json"
    make().save(path)
    old = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="can't be saved: No space left"):
        make(system="new").save(path, overwrite=True)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["chat.json"]
    with pytest.raises(ResourceError, match="there is no folder"):
        make().save(tmp_path / "none" / "chat.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("\x00\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no .format."),
        ('{"format": "other"}', "no .format."),
        ('{"format": "subbyte-chat", "version": 3}', "version is 3"),
        ('{"format": "subbyte-chat", "version": 1, "messages": 1}', "must be a list"),
        ('{"format": "subbyte-chat", "version": 1, "system": 1, "messages": []}', "a text or null"),
        ('{"format": "subbyte-chat", "version": 1, "messages": [1, 2]}', "messages.0. has role None"),
        ('{"format": "subbyte-chat", "version": 1, "messages": [{"role": "user", "content": "a"}]}', "needs an answer"),
        (
            '{"format": "subbyte-chat", "version": 1, "messages": '
            '[{"role": "system", "content": "a"}, {"role": "user", "content": "a"}]}',
            "messages.0. has role 'system', but must have 'user'",
        ),
    ],
)
def test_files_that_are_no_conversation_are_refused_and_change_nothing(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text, "utf-8")
    chat = make("a", system="S")
    chat.send("one")
    with pytest.raises(SubbyteError, match=message) as caught:
        chat.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert said(chat) == ["one", "a"] and chat.system == "S"
    with pytest.raises(SubbyteError, match="a directory, not a regular file"):
        chat.load(tmp_path)


def test_a_turn_of_one_thread_survives_another_thread() -> None:
    """The second thread is refused before it changes anything; it used to replace the answer of the first."""
    chat = make("hello", "two")
    inside, go = threading.Event(), threading.Event()
    assert isinstance(chat.session, FakeSession)

    def wait() -> None:
        inside.set()
        go.wait(60)

    chat.session.before_eval = wait
    thread = threading.Thread(target=lambda: chat.send("one"))
    thread.start()
    inside.wait(60)
    uses: list[Callable[[], object]] = [
        lambda: chat.send("other"), lambda: chat.stream("other"), chat.undo, chat.clear, chat.regenerate, chat.close,
        lambda: setattr(chat, "system", "other"),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(SessionBusy, match="this conversation is in use by another thread"):
            use()
    go.set()
    thread.join(60)
    assert said(chat) == ["one", "hello"]
    assert chat.send("more").text == "two" and said(chat) == ["one", "hello", "more", "two"]


def test_an_answer_that_is_streamed_in_another_thread_is_whole() -> None:
    chat = make("hello", "two")
    assert isinstance(chat.session, FakeSession)
    outcomes: list[object] = []
    answer = chat.stream("one")

    def meddle() -> None:
        try:
            outcomes.append(chat.send("other"))
        except SessionBusy as busy:
            outcomes.append(busy)

    def from_another_thread() -> None:
        thread = threading.Thread(target=meddle)
        thread.start()
        thread.join(60)

    chat.session.before_eval = from_another_thread
    assert answer.run().text == "hello"
    assert outcomes and all(isinstance(outcome, SessionBusy) for outcome in outcomes)
    assert said(chat) == ["one", "hello"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda how: how.__name__)
def test_a_conversation_and_its_answer_are_not_copied(copied: Callable[[object], object]) -> None:
    chat = make("hello")
    answer = chat.stream("one")
    for handle, instead in ((chat, "save it"), (answer, "reply")):
        with pytest.raises(TypeError, match=f"a {type(handle).__name__} can't be copied or pickled: .*{instead}"):
            copied(handle)
    assert answer.run().text == "hello"


def test_a_template_that_renders_nothing_without_bos() -> None:
    with pytest.raises(TemplateError, match="renders nothing"):
        make("x", source="{% if false %}{{ messages[0].content }}{% endif %}").stream("one")

"""Conversations that no longer fit: turns are forgotten, or the context grows, and nothing else changes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeSession, FakeTokenizer
from tiny_models import write_model

import subbyte as sb
from subbyte.errors import ContextOverflow, ResourceError
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.chat_context import ContextPolicy
from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.chat.turns import Forgotten, remembered
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import CHATML, ChatTemplate

VOCABULARY = FakeTokenizer()
TEMPLATE = ChatTemplate(CHATML, VOCABULARY)
END = VOCABULARY.ids["<|im_end|>"]
GREEDY = Sampling(temperature=0)


def make(policy: ContextPolicy, *answers: str, n_ctx: int = 200, max_tokens: int | None = None, **more: object) -> Chat:
    session = FakeSession(VOCABULARY.n_vocab, n_ctx)
    for text in answers:
        session.script += [*text.encode(), END]  # bytes: other tokens than the tokenizer would choose
    options = GenerationOptions(GREEDY, max_tokens)
    chat = Chat(session, VOCABULARY, TEMPLATE, options=options, system="S", **more)  # type: ignore[arg-type]
    chat.context_policy, chat.n_ctx_train = policy, 4 * n_ctx
    return chat


def fresh_prompt(chat: Chat, question: str) -> list[int]:
    """The prompt of a new conversation with what the model is still shown and a question."""
    asked = [*remembered(chat.messages), Message("user", question)]
    return make("stop", n_ctx=10_000, messages=asked).prompt()


def shown(chat: Chat) -> list[str]:
    return [message.content for message in remembered(chat.messages)]


def test_the_oldest_turns_are_forgotten_and_the_prompt_is_that_of_a_new_conversation() -> None:
    chat = make("forget", *(f"hello {i}" for i in range(30)))
    for i in range(30):
        forgotten = chat.forgotten
        answer = chat.stream(f"question {i}")
        if chat.forgotten != forgotten:
            assert answer.prompt == fresh_prompt(chat, f"question {i}") and len(answer.prompt) <= 100
            assert (chat.forgotten - forgotten).tokens > 70
        assert answer.run().text == f"hello {i}"
        assert i == 0 or answer.reply.usage.reused >= len("system\nS\n") + 2
    assert chat.forgotten.turns == 30 - len(shown(chat)) // 2 > 20
    assert [m.content for m in chat.messages[::2]] == [f"question {i}" for i in range(30)]  # nothing is lost


def _messages(texts: list[str]) -> list[Message]:
    return [Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts)]


def test_room_is_left_for_an_answer() -> None:
    for max_tokens, n_bytes, n_forgotten in ((None, 70, 1), (5, 85, 0)):  # 144 tokens of 160
        chat = make("forget", "a" * 20, "b" * 20, n_ctx=160, max_tokens=max_tokens)
        chat.send("one")
        chat.send("t" * n_bytes)
        assert chat.forgotten.turns == n_forgotten


def test_no_more_is_forgotten_than_helps() -> None:
    chat = make("forget", "one", "two", "three", "four")
    for _ in range(3):
        chat.send("?")
    chat.send("x" * 110)  # takes more than half of the context alone
    assert chat.forgotten.turns == 2 and shown(chat) == ["?", "three", "x" * 110, "four"]
    before = chat.messages
    with pytest.raises(ContextOverflow, match=r"the prompt has \d+ tokens, but the context holds 200"):
        chat.send("x" * 300)
    assert chat.messages == before and chat.forgotten.turns == 2


def test_pinned_turns_and_system_texts_stay() -> None:
    history = [*_messages(["file", "read"]), Message("developer", "Be brief."), *_messages(["a", "b", "c", "d"])]
    chat = make("stop", "end", messages=history)
    chat.pin(0)
    assert chat.forget(5) == Forgotten(1, len(VOCABULARY.encode("user\na\nassistant\nb\n")) + 4)
    assert shown(chat) == ["file", "read", "Be brief.", "c", "d"]
    with pytest.raises(ValueError, match="nothing to forget: the system text, pinned turns and the last turn stay"):
        chat.forget()
    chat.pin(1, pinned=False)  # any message of the turn
    chat.forget()
    assert shown(chat) == ["Be brief.", "c", "d"] and chat.forgotten.turns == 2
    assert chat.stream("e").prompt == fresh_prompt(chat, "e")
    with pytest.raises(ValueError, match="index is 9, but there are 8 messages"):
        chat.pin(9)


def test_what_is_forgotten_outlives_a_file_and_a_fork(tmp_path: Path) -> None:
    chat = make("forget", "one", "two", messages=_messages(["a", "b", "c", "d"]))
    chat.pin(-1)
    chat.forget()
    chat.save(tmp_path / "a.json")
    other = make("stop")
    other.load(tmp_path / "a.json")
    assert other.messages == chat.messages and shown(other) == ["c", "d"] and other.messages[2].pinned
    fork = chat.fork()
    assert (fork.messages, fork.forgotten, fork.context_policy) == (chat.messages, chat.forgotten, "forget")
    assert chat.undo() == "c" and [m.content for m in chat.messages] == ["a", "b"]
    chat.clear()
    assert chat.forgotten == Forgotten()


def test_the_last_turn_is_always_shown() -> None:
    chat = make("stop", "again", messages=_messages(["a", "b", "c", "d"]))
    chat.forget()
    chat.undo()
    assert [m.forgotten for m in chat.messages] == [True, True] and shown(chat) == ["a", "b"]
    assert chat.regenerate().run().text == "again" and shown(chat) == ["a", "again"]


def test_an_answer_that_the_end_has_cut_goes_on() -> None:
    chat = make("forget", "one", "b" * 200, n_ctx=120)
    chat.send("first")
    chat.script = chat.session.script  # type: ignore[attr-defined]
    reply = chat.send("second")
    assert reply.stop_reason == "length" and chat.forgotten.turns == 0
    n = len(reply.text)
    answer = chat.continue_answer()
    assert chat.forgotten.turns == 1
    cut = [*remembered(chat.messages)[:-1], Message("assistant", "b" * n)]
    fresh = make("stop", n_ctx=10_000, messages=cut)
    again = fresh.continue_answer()
    assert answer.prompt + answer.tokens == again.prompt + again.tokens
    answer.run()
    assert shown(chat)[-1].startswith("b" * (n + 10)) and answer.stop_reason == "length"
    with pytest.raises(ContextOverflow):  # the answer alone fills it
        chat.continue_answer()


def test_a_context_grows_up_to_what_the_model_was_trained_for() -> None:
    chat = make("grow", "a" * 90, "b" * 10, "c", n_ctx=100)
    assert chat.can_grow and chat.send("one").stop_reason == "length"
    assert chat.continue_answer().run().text == "a" * 90 and chat.n_ctx == 200
    chat.send("x" * 150)
    assert chat.n_ctx == 400 and not chat.can_grow and chat.forgotten == Forgotten()
    before = chat.messages
    with pytest.raises(ContextOverflow, match="holds 400 and can be made no larger: forget the oldest turns"):
        chat.send("x" * 300)
    assert chat.messages == before
    chat.context_policy = "forget"
    assert chat.send("x" * 300).text == "c"


def test_memory_may_not_allow_it() -> None:
    chat = make("grow", "a" * 10, "b", n_ctx=100)

    def refuse(n_ctx: int) -> None:
        raise ResourceError(f"a context of {n_ctx} tokens needs 9 MiB, 8 MiB are free; ask for a smaller one")

    chat.session.resize = refuse  # type: ignore[method-assign,union-attr]
    assert chat.send("x" * 60).text == "a" * 10  # it fits, with less room than is wished for
    with pytest.raises(ContextOverflow, match="needs 9 MiB, 8 MiB are free; ask for a smaller one, or forget"):
        chat.send("x" * 60)


def test_a_conversation_goes_on_from_other_messages() -> None:
    chat = make("stop", "one", "two")
    chat.send("a")
    chat.resume([*_messages(["b", "c"])], system="T")
    assert chat.send("d").text == "two" and [m.content for m in chat.messages] == ["b", "c", "d", "two"]
    with pytest.raises(ValueError, match="messages\\[0\\]: it has no role"):
        chat.resume([{}])
    assert len(chat.messages) == 4 and chat.system == "T"


def test_policies_are_checked() -> None:
    chat = make("stop")
    with pytest.raises(ValueError, match="context_policy is 'ask', but must be 'stop' or 'forget' or 'grow'"):
        chat.context_policy = "ask"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="n_turns"):
        chat.forget(0)
    with pytest.raises(ValueError, match="messages\\[0\\]: pinned is 'yes'"):
        checked_messages([{"role": "user", "content": "a", "pinned": "yes"}])


def test_an_answer_begins_with_tokens_of_another_one() -> None:
    chat = make("stop", "hello world", "d.")
    tokens = list(chat.send("?").tokens)
    answer = chat.regenerate(tokens=[*tokens[:9], *b"l"])
    assert answer.text == "hello worl" and "".join(getattr(event, "text", "") for event in answer) == "d."
    assert answer.reply.text == "hello world." and answer.reply.tokens == (*tokens[:9], *b"ld.")
    assert [m.content for m in chat.messages] == ["?", "hello world."]
    with pytest.raises(ValueError, match=f"tokens: {END} ends an answer"):
        chat.regenerate(tokens=[END])
    with pytest.raises(ValueError, match="tokens"):
        chat.regenerate(tokens=[VOCABULARY.n_vocab])


# ---- with a model


@pytest.fixture(scope="module", params=["llama", "qwen35"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, request.param, context_length=4096)
    with sb.load(path, threads=1) as model:
        yield model


def converse(model: sb.Model, n_ctx: int, n_turns: int, policy: ContextPolicy) -> None:
    """Asks until the last turn had to forget, or n_turns; its answer is that of a new session with what is left."""
    with model.chat(
        n_ctx=n_ctx, template=CHATML, system="Be brief.", sampling=GREEDY, max_tokens=n_ctx // 20, context_policy=policy
    ) as chat:
        turn, forgot, grown = 0, chat.forgotten, 0
        while turn < n_turns or (policy == "forget" and chat.forgotten == forgot):
            forgot, before = chat.forgotten, chat.n_ctx
            reply = chat.send(f"the thing {turn} in another garden")
            turn, grown = turn + 1, grown + (chat.n_ctx != before)
        *asked, last = remembered(chat.messages)
        tokens = list(chat.session.tokens)
    assert last.content == reply.text and len(chat.messages) == 2 * turn
    assert (chat.forgotten.turns > 0) == (policy == "forget") and bool(grown) == (policy == "grow")
    if policy == "grow":  # the tokens are those that the model wrote
        prompt = tokens[: len(tokens) - len(reply.tokens) + 1]  # the last token is chosen, but not computed
        again = model.generate(
            prompt, sampling=GREEDY, max_tokens=n_ctx // 20, n_ctx=4096, activations=model.recommended.activations
        ).run()
        assert again.tokens == reply.tokens
        return
    with model.chat(
        n_ctx=n_ctx, template=CHATML, system="Be brief.", sampling=GREEDY, max_tokens=n_ctx // 20, messages=asked
    ) as fresh:
        assert fresh.reply().tokens == reply.tokens


@pytest.mark.parametrize("policy", ["forget", "grow"])
def test_the_last_answer_is_that_of_a_new_session(model: sb.Model, policy: ContextPolicy) -> None:
    converse(model, 300, 12, policy)


@pytest.mark.slow
def test_200_turns_through_2k(model: sb.Model) -> None:
    converse(model, 2048, 200, "forget")


def test_a_session_of_another_size_goes_on(model: sb.Model) -> None:
    tokens = model.tokenize("the thing in another garden and one on an island there is nothing " * 3)
    with model.session(len(tokens)) as session, model.session(1000) as other:
        session.eval(tokens, "none")
        with pytest.raises(ContextOverflow):
            session.eval([1])
        session.resize(1000)
        assert (session.n_ctx, session.options.n_ctx, session.tokens) == (1000, 1000, tokens)
        other.eval(tokens, "none")
        assert (session.eval([1]) == other.eval([1])).all()
        session.resize(10)
        assert session.tokens == (tokens[:10] if not model.plan.state_bytes else [])
        with pytest.raises(ResourceError, match="ask for a smaller one"):
            session.resize(1 << 40)
        with pytest.raises(ResourceError, match="a number of more than 60 digits tokens does not fit"):
            session.resize(10**5000)
        with pytest.raises(ValueError, match="n_ctx"):
            session.resize(0)


def test_a_schedulers_context_is_its_own(model: sb.Model) -> None:
    with model.scheduler(n_ctx=128) as scheduler, model.chat(template=CHATML, scheduler=scheduler) as chat:
        assert not chat.can_grow
        with pytest.raises(ValueError, match="its scheduler's: make a scheduler with a larger n_ctx"):
            chat.resize(256)
    assert replace(Message("user", "a"), pinned=True).to_dict()["pinned"] is True

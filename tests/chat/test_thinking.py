"""Models that reason before they answer: told apart, switched, limited, and never sent their reasoning again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeSession, FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st
from reasoning_templates import (
    EXAONE4,
    EXAONE_DEEP,
    GEMMA4,
    GLM_4_7,
    GPT_OSS,
    GRANITE,
    LFM2_5,
    NEMOTRON,
    NEMOTRON_3,
    NEMOTRON_NANO_2,
    QWEN3,
    QWEN3_5,
    SEED_OSS,
)
from template_conversations import source as template_of
from tiny_models import write_model

import subbyte as sb
from subbyte.errors import SubbyteError
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.reasoning import DETAILED, SLASH, VARIABLES, ReasoningFormat, detect_reasoning_format
from subbyte.runtime.generation.channels import HARMONY
from subbyte.runtime.generation.events import Event, TextDelta, ThinkingDelta
from subbyte.runtime.generation.generation import complete
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS, Tags
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import CHATML, ChatTemplate


class HiddenTags(FakeTokenizer):
    """Has the tags as control tokens, which have no text."""

    def piece(self, id: int, *, special: bool = False) -> bytes:
        hidden = not special and id >= 256 and self.texts[id - 256] in ("<think>", "</think>")
        return b"" if hidden else super().piece(id, special=special)


class NoTags(FakeTokenizer):
    """Has no tokens for tags."""

    def id(self, text: str) -> int | None:
        return None if "think" in text else super().id(text)


VOCABULARY = FakeTokenizer(bos="<s>", eog=("<|im_end|>", "[|endofturn|]", "<|eot_id|>"))
END = VOCABULARY.ids["<|im_end|>"]
THINK, THOUGHT = Tags("<think>", "</think>"), Tags("<thought>", "</thought>")
CHANNEL = next(tags for tags in KNOWN_TAGS if tags.close == "<channel|>")
RESPONSE = ("<response>", "</response>")
QWEN = ReasoningFormat(THINK, VARIABLES[0])
DEEP = ReasoningFormat(THOUGHT)


def make(
    *answers: str, source: str = QWEN3, name: str = "", vocabulary: FakeTokenizer = VOCABULARY, n_ctx: int = 1000,
    thinking: bool | None = None, system: str | None = None, variables: Mapping[str, object] | None = None,
    **options: object,
) -> Chat:  # fmt: skip
    session = FakeSession(vocabulary.n_vocab, n_ctx)
    for text in answers:
        session.script += [*vocabulary.encode(text), END]
    template = ChatTemplate(source, vocabulary)
    return Chat(
        session, vocabulary, template, reasoning_format=detect_reasoning_format(template, vocabulary, name),
        options=GenerationOptions(Sampling(temperature=0), **options),  # type: ignore[arg-type]
        thinking=thinking, system=system, variables=variables,
    )  # fmt: skip


def computed(chat: Chat) -> str:
    """What was computed since the last call, as text."""
    assert isinstance(chat.session, FakeSession)
    batches, chat.session.computed = chat.session.computed, []
    return VOCABULARY.decode([id for batch in batches for id in batch], special=True)


def shown(events: list[Event]) -> list[tuple[str, str]]:
    """Kind and text of the deltas, those of one kind together."""
    out: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, (TextDelta, ThinkingDelta)):
            assert event.text
            kind = "think" if isinstance(event, ThinkingDelta) else "text"
            if out and out[-1][0] == kind:
                out[-1] = (kind, out[-1][1] + event.text)
            else:
                out.append((kind, event.text))
    return out


@pytest.mark.parametrize(
    ("source", "name", "format"),
    [
        (QWEN3, "Qwen3 14B", QWEN),
        (EXAONE4, "EXAONE 4.0 32B", QWEN),
        (EXAONE_DEEP, "EXAONE Deep 7.8B", DEEP),
        (QWEN3_5, "Qwen3.5 4B", QWEN),
        (template_of("qwen3.5-nothink"), "Qwen3.5 0.8B", QWEN),
        (template_of("qwen3.6"), "Qwen3.6 27B", QWEN),
        (template_of("qwen3.8"), "Qwen3.8 27B", QWEN),
        (GLM_4_7, "GLM 4.7 Flash", QWEN),
        (NEMOTRON_3, "NVIDIA Nemotron 3 Nano 30B A3B", QWEN),
        (NEMOTRON_NANO_2, "NVIDIA Nemotron Nano 9B v2", ReasoningFormat(THINK, SLASH)),
        (GEMMA4, "gemma 4 31B it", ReasoningFormat(CHANNEL, VARIABLES[0])),
        (template_of("gemma-4-e2b"), "gemma 4 E2B it", ReasoningFormat(CHANNEL, VARIABLES[0])),
        (LFM2_5, "LFM2.5 8B A1B", ReasoningFormat(THINK)),
        (template_of("granite-4.0"), "Granite 4.0 h tiny", ReasoningFormat()),
        (template_of("gigachat-3"), "GigaChat3 10B A1.8B", ReasoningFormat()),
        (NEMOTRON, "Llama_3_3_Nemotron_Super_49B_v1", ReasoningFormat(THINK, DETAILED)),
        (NEMOTRON, "another", ReasoningFormat(THINK)),
        (NEMOTRON + "{# /no_think #}", "Llama_3_3_Nemotron_Super_49B_v1_5", ReasoningFormat(THINK)),
        ("{% set enable_thinking = true %}" + QWEN3, "Qwen3", ReasoningFormat(THINK)),  # named, but not heeded
        ("{% if enable_thinking %}{{ raise_exception('no') }}{% endif %}<think>", "x", ReasoningFormat(THINK)),
        (GPT_OSS, "gpt-oss 20b", ReasoningFormat(HARMONY, VARIABLES[2])),
        (GRANITE, "Granite 3.3 2b Instruct", ReasoningFormat(replace(THINK, answer=RESPONSE), VARIABLES[3])),
        (SEED_OSS, "Seed OSS 36B", ReasoningFormat(Tags("<seed:think>", "</seed:think>"), VARIABLES[1])),
        (CHATML + "<think>", "Hunyuan-A13B", ReasoningFormat(replace(THINK, answer=("<answer>", "</answer>")))),
        (CHATML + "{# [THINK] #}", "Magistral", ReasoningFormat(Tags("[THINK]", "[/THINK]"))),
        (CHATML, "SmolLM2 135M", ReasoningFormat()),
    ],
)
def test_the_reasoning_format_of_a_model(source: str, name: str, format: ReasoningFormat) -> None:
    vocabulary = NoTags(bos="<s>")
    assert detect_reasoning_format(ChatTemplate(source, vocabulary), vocabulary, name) == format


BEGINS_INSIDE = CHATML.replace("assistant\n'", "assistant\n<think>\nOkay, let me see what was asked of me here. '")
NEVER_OPENED = CHATML + "{# </think> #}"


@pytest.mark.parametrize("vocabulary", [VOCABULARY, HiddenTags(bos="<s>"), NoTags(bos="<s>")])
@pytest.mark.parametrize("again", ["", "<think>\n"])
def test_a_template_that_begins_inside_reasoning_is_found_by_rendering(vocabulary: FakeTokenizer, again: str) -> None:
    chat = make(f"{again}hm</think>\n\nFour", "fine</think>\nFive", source=BEGINS_INSIDE, vocabulary=vocabulary)
    reply = chat.send("2+2?")
    assert (reply.thinking, reply.text) == ("hm", "Four")
    reply = chat.send("and <think>?")
    assert (reply.thinking, reply.text) == ("fine", "Five")


def test_a_question_does_not_open_reasoning() -> None:
    assert make("Four", source=CHATML).send("What is <think>").text == "Four"
    assert make("Four", source=QWEN3, thinking=False).send("<think> text").text == "Four"


def test_a_budget_counts_in_reasoning_that_the_template_began() -> None:
    chat = make("abcd", source=BEGINS_INSIDE, reasoning_budget=2)
    reply = chat.send("2+2?")
    assert (reply.thinking, reply.text) == ("ab\n", "cd")


@pytest.mark.parametrize("source", [NEVER_OPENED, CHATML, QWEN3])
def test_reasoning_that_nobody_opens_can_be_said_to_be_open(source: str) -> None:
    vocabulary = NoTags(bos="<s>")
    session = FakeSession(vocabulary.n_vocab, 1000, [*vocabulary.encode("hm</think>\n\nFour"), END])
    template = ChatTemplate(source, vocabulary)
    format = detect_reasoning_format(template, vocabulary)
    options = GenerationOptions(Sampling(temperature=0))
    reply = Chat(session, vocabulary, template, reasoning_format=format, options=options, reasoning="open").send("?")
    assert (reply.thinking, reply.text) == ("hm", "Four")
    with pytest.raises(ValueError, match="must be 'auto' or 'open'"):
        Chat(session, vocabulary, template, reasoning="closed")  # type: ignore[arg-type]


def test_a_vocabulary_with_tags_is_enough() -> None:
    assert detect_reasoning_format(ChatTemplate(CHATML, VOCABULARY), VOCABULARY) == ReasoningFormat(THINK)


@pytest.mark.parametrize("vocabulary", [VOCABULARY, HiddenTags(bos="<s>"), NoTags(bos="<s>")])
def test_reasoning_and_answer_come_apart(vocabulary: FakeTokenizer) -> None:
    chat = make("<think>\nhm é\n</think>\n\nFour, not <thi\n", vocabulary=vocabulary)
    events = list(chat.stream("2+2?"))
    assert shown(events) == [("think", "hm é\n"), ("text", "Four, not <thi\n")]
    reply = chat.last
    assert reply is not None and events[-1] == sb.Done(reply)
    assert (reply.thinking, reply.text, reply.stop_reason) == ("hm é\n", "Four, not <thi\n", "eog")
    n_thinking = len(vocabulary.encode("<think>\nhm é\n</think>"))
    assert reply.usage.thinking == n_thinking < reply.usage.completion == len(reply.tokens)
    assert vocabulary.decode(reply.tokens, special=True) == "<think>\nhm é\n</think>\n\nFour, not <thi\n"
    assert chat.messages[1] == Message("assistant", "Four, not <thi\n", "hm é\n")


def test_a_reply_that_begins_inside_its_reasoning() -> None:
    chat = make("hm\n</thought>\n\nFour.", "</thought>Yes.", "never", source=EXAONE_DEEP)
    assert shown(list(chat.stream("2+2?"))) == [("think", "hm\n"), ("text", "Four.")]
    assert computed(chat).endswith("[|user|]2+2?\n[|assistant|]<thought>\nhm\n</thought>\n\nFour.")
    reply = chat.send("Sure?")
    assert (reply.thinking, reply.text, reply.usage.thinking) == ("", "Yes.", 10)
    assert chat.send("Why?").thinking == "never"


def test_tags_further_on_are_text() -> None:
    reply = make("The tag <think> opens, </think> closes.").send("Which tags?")
    assert (reply.thinking, reply.usage.thinking) == ("", 0)
    assert reply.text == "The tag <think> opens, </think> closes."


def test_control_tags_in_an_answer_show_nothing() -> None:
    reply = make("a</think>b", vocabulary=HiddenTags(bos="<s>")).send("?")
    assert (reply.thinking, reply.text) == ("", "ab")


def test_a_raw_completion_is_all_text() -> None:
    session = FakeSession(VOCABULARY.n_vocab, script=[*VOCABULARY.encode("<think>a</think>b"), END])
    reply = complete(session, VOCABULARY, "x").run()
    assert (reply.text, reply.thinking) == ("<think>a</think>b", "")


def test_reasoning_is_not_sent_again_and_only_what_is_new_is_computed() -> None:
    chat = make("<think>\nlong thoughts\n</think>\n\nFour.", "Five.", "Six.")
    chat.send("2+2?")
    computed(chat)
    reply = chat.send("3+2?")
    before = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    new = "Four.<|im_end|>\n<|im_start|>user\n3+2?<|im_end|>\n<|im_start|>assistant\n"
    assert computed(chat) == new + "Five."
    assert reply.usage.reused == len(VOCABULARY.encode(before, special=True))
    assert reply.usage.prompt == reply.usage.reused + len(VOCABULARY.encode(new, special=True))
    assert chat.send("3+3?").usage.reused == reply.usage.prompt + len("Five.")  # without reasoning all is reused


def test_reasoning_that_was_off_is_reused_where_the_template_repeats_it() -> None:
    chat = make("Four.", "Five.", source=EXAONE4)
    first = chat.send("2+2?")
    computed(chat)
    assert chat.send("3+2?").usage.reused == first.usage.prompt + len("Four.")
    assert computed(chat).startswith("[|endofturn|]\n[|user|]\n3+2?")


def test_thinking_by_a_variable_of_the_template() -> None:
    chat = make("a", "b", "c", "d", thinking=False, variables={"enable_thinking": True})
    assert chat.can_think and chat.thinking is False
    off = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    chat.send("1")
    assert off in computed(chat)
    chat.thinking = True
    chat.send("2")
    assert "<think>" not in computed(chat)
    chat.thinking = None
    chat.variables = {"enable_thinking": False}
    chat.send("3")
    assert off in computed(chat)
    assert make(source=EXAONE4, thinking=True).can_think


def test_thinking_by_system_text() -> None:
    name = "Llama-3_3-Nemotron-Super-49B-v1"
    chat = make("<think>\na\n</think>\nb", "c", "d", "e", source=NEMOTRON, name=name, thinking=True, system="Be brief.")
    head = "<|start_header_id|>system<|end_header_id|>\n\n"
    assert chat.send("1").thinking == "a\n"
    assert head + "detailed thinking on\n\nBe brief.<|eot_id|>" in computed(chat)
    chat.system, chat.thinking = None, False
    chat.send("2")
    assert computed(chat).startswith("ff<|eot_id|>") and chat.system is None  # "detailed thinking o" was in the cache
    chat.thinking = None
    chat.send("3")
    assert computed(chat).startswith("<|eot_id|><|start_header_id|>user")


def test_a_line_that_the_template_takes_out_again() -> None:
    """Nemotron Nano 2's, in system text or a question; only the answer to that conversation begins inside reasoning."""
    chat = make("a</think>b", "c", "d", "e</think>f", source=NEMOTRON_NANO_2, thinking=True, system="Be brief.")
    reply = chat.send("1")
    assert (reply.thinking, reply.text) == ("a", "b")
    assert "System\nBe brief.\n\n<SPECIAL_11>User\n1\n<SPECIAL_11>Assistant\n<think>\n" in computed(chat)
    chat.thinking = False
    reply = chat.send("2")
    assert (reply.thinking, reply.text) == ("", "c") and "Assistant\n<think></think>c" in computed(chat)
    chat.thinking = None
    assert chat.send("3 /no_think").text == "d" and "_think" not in computed(chat).replace("<think>", "")
    chat = make("e</think>f", source=NEMOTRON_NANO_2)
    assert chat.send("4").text == "f" and chat.system is None


def test_reasoning_in_a_channel_of_its_own() -> None:
    """Gemma 4's: told to think by a token in the system text, told not to by an empty channel."""
    chat = make("Four.", source=GEMMA4)
    assert chat.send("2+2?").text == "Four."
    assert computed(chat).endswith("<|turn>model\n<|channel>thought\n<channel|>Four.")  # not told, it does not think
    answers = "<|channel>thought\nhm\n<channel|>Four.", "Five.", "<|channel>thought\nabcSix."
    chat = make(*answers, source=GEMMA4, thinking=True)
    reply = chat.send("2+2?")
    assert (reply.thinking, reply.text) == ("hm\n", "Four.")
    assert computed(chat).startswith(
        "<s><|turn>system\n<|think|>\n<turn|>\n<|turn>user\n2+2?<turn|>\n<|turn>model\n<|ch"
    )
    assert chat.send("3+2?").text == "Five." and computed(chat).startswith("Four.<turn|>")
    chat.reasoning_budget = 4  # the newline counts
    reply = chat.send("3+3?")
    assert (reply.thinking, reply.text) == ("abc\n", "Six.")
    assert computed(chat).endswith("<|channel>thought\nabc\n<channel|>Six.")


@pytest.mark.parametrize(
    ("source", "message"), [(EXAONE_DEEP, "no switch; a reasoning budget of 0"), (CHATML, "knows no reasoning")]
)
def test_what_can_not_be_switched_says_so(source: str, message: str) -> None:
    vocabulary = NoTags(bos="<s>")
    for thinking in (True, False):
        with pytest.raises(ValueError, match=message):
            make(source=source, vocabulary=vocabulary, thinking=thinking)
    chat = make(source=source, vocabulary=vocabulary)
    assert not chat.can_think and chat.thinking is None
    with pytest.raises(ValueError, match=message):
        chat.thinking = True
    assert chat.thinking is None
    chat.thinking = None


@pytest.mark.parametrize(
    ("source", "budget", "script", "thinking", "written"),
    [
        (QWEN3, 0, "<think>Yes.", "", "<think>\n\n</think>\n\nYes."),
        (QWEN3, 3, "<think>\nabYes.", "ab\n", "<think>\nab\n</think>\n\nYes."),
        (QWEN3, 4, "<think>\na\n</think>Yes.", "a\n", "<think>\na\n</think>Yes."),  # just in time
        (QWEN3, 0, "Yes.", "", "Yes."),
        (EXAONE_DEEP, 0, "xYes.", "", "\n</thought>\n\nYes."),
        (EXAONE_DEEP, 2, "abYes.", "ab\n", "ab\n</thought>\n\nYes."),
        (EXAONE_DEEP, 2, "a\nYes.", "a\n", "a\n</thought>\n\nYes."),
        (EXAONE_DEEP, 3, "a</Yes.", "a</\n", "a</\n</thought>\n\nYes."),
        (EXAONE_DEEP, None, "abYes.", "abYes.", "abYes."),
    ],
)
def test_a_budget_closes_the_reasoning(
    source: str, budget: int | None, script: str, thinking: str, written: str
) -> None:
    chat = make(script, "next", source=source, reasoning_budget=budget)
    events = list(chat.stream("?"))
    reply = chat.last
    assert reply is not None
    answer = "" if thinking == "abYes." else "Yes."
    assert (reply.thinking, reply.text, reply.stop_reason) == (thinking, answer, "eog")
    assert shown(events) == [pair for pair in (("think", thinking), ("text", answer)) if pair[1]]
    assert VOCABULARY.decode(reply.tokens, special=True) == written
    assert computed(chat).endswith(written)
    assert isinstance(chat.session, FakeSession)
    assert chat.session.tokens == [*chat.session.tokens[: reply.usage.prompt], *reply.tokens][: chat.session.n_past]


def test_a_budget_leaves_the_cache_exact() -> None:
    chat = make("abc", "xYes.", "No.", source=EXAONE_DEEP, reasoning_budget=1)
    chat.send("1")
    reply, again = chat.send("2"), chat.regenerate()
    assert again.prompt[: reply.usage.prompt] == again.prompt
    assert again.run().usage.reused == reply.usage.prompt - 1


def test_a_budget_may_change_and_is_checked() -> None:
    chat = make("<think>abc", "<think>abc")
    chat.reasoning_budget = 1
    assert chat.send("1").thinking == "a\n"
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match=f"reasoning_budget is {wrong}, but must be a whole number from 0"):
            chat.reasoning_budget = wrong  # type: ignore[assignment]
        with pytest.raises(ValueError, match="reasoning_budget is"):
            make(reasoning_budget=wrong)
    assert chat.reasoning_budget == 1


def test_no_room_to_close_the_reasoning_ends_the_reply() -> None:
    long_tag = "a" * 20
    reply = make(long_tag, source=EXAONE_DEEP, reasoning_budget=5, max_tokens=10).send("?")
    assert (reply.thinking, reply.text, reply.stop_reason, reply.usage.completion) == ("aaaaa", "", "length", 5)
    reply = make(long_tag, source=EXAONE_DEEP, reasoning_budget=5, max_tokens=17).send("?")
    assert (reply.thinking, reply.text, reply.stop_reason, reply.usage.completion) == ("aaaaa\n", "", "length", 17)


def test_length_and_the_end_of_the_context_in_reasoning() -> None:
    reply = make("abcdef", source=EXAONE_DEEP, max_tokens=3).send("?")
    assert (reply.thinking, reply.text, reply.stop_reason, reply.usage.thinking) == ("abc", "", "length", 3)
    chat = make("0" * 100, source=EXAONE_DEEP, n_ctx=60)
    assert chat.send("?").stop_reason == "length" and chat.n_past == 60


def test_stop_strings_count_in_the_answer_alone() -> None:
    reply = make("<think>a STOP b</think>c STOP d", stop=["STOP"]).send("?")
    assert (reply.thinking, reply.text, reply.stop_reason) == ("a STOP b", "c ", "stop")
    reply = make("<think>a</think>\n\nSTOP d", stop=["\n", "STOP"]).send("?")
    assert (reply.thinking, reply.text, reply.stop_reason) == ("a", "", "stop")


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "ST", "OP", "\n", "<th", "é"]), max_size=12).map("".join))
@pytest.mark.thorough
def test_deltas_make_up_the_reply(text: str) -> None:
    chat = make(text, stop=["STOP"])
    events = list(chat.stream("?"))
    reply = chat.last
    assert reply is not None
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == reply.text
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == reply.thinking
    assert len(shown(events)) <= 2 and "STOP" not in reply.text


def test_leaving_in_the_reasoning_keeps_it() -> None:
    chat = make("<think>abcdef", "Yes.")
    for event in chat.stream("?"):
        if event == ThinkingDelta("b"):
            break
    assert chat.messages == [Message("user", "?"), Message("assistant", "", "ab")]
    assert isinstance(chat.session, FakeSession)
    chat.session.script = [*VOCABULARY.encode("Yes."), END]
    assert chat.regenerate().run().text == "Yes."
    assert chat.messages == [Message("user", "?"), Message("assistant", "Yes.")]


def test_reasoning_is_saved_and_older_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    chat = make("<think>hm</think>Four.", "Five.")
    chat.send("2+2?")
    chat.save(path)
    data = json.loads(path.read_text("utf-8"))
    assert data["version"] == 2 and data["messages"] == [
        {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four.", "thinking": "hm"},
    ]  # fmt: skip
    other = make("Five.")
    other.load(path)
    assert other.messages == chat.messages
    other.send("3+2?")
    assert "hm" not in computed(other)
    del data["messages"][1]["thinking"]
    data["version"] = 1
    path.write_text(json.dumps(data))
    other.load(path)
    assert other.messages == [Message("user", "2+2?"), Message("assistant", "Four.")]
    data["messages"][1]["thinking"] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(SubbyteError, match=r"messages\[1\]: thinking is 1, but must be a text"):
        other.load(path)


def test_a_real_model_reasons_within_its_budget(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    strings = {"tokenizer.chat_template": EXAONE_DEEP, "general.name": "EXAONE Deep 0.001B"}
    write_model(path, "exaone", strings=strings)
    with sb.load(path) as model:
        assert model.reasoning_format == DEEP and model.presets["thinking"].sampling["temperature"] == 0.6
        greedy = sb.Sampling(temperature=0)
        with model.chat(sampling=greedy, reasoning_budget=4, max_tokens=40) as chat:
            first = chat.send("Why?")
            assert first.thinking and "</thought>" not in first.thinking + first.text
            n_close = len(model.tokenize("\n</thought>"))
            assert first.usage.thinking in (4 + n_close, 4 + n_close - 1)  # it may have ended with a newline itself
            second = chat.send("And so?")
            assert 0 < second.usage.reused < first.usage.prompt
        with model.session() as session:  # the tokens that were fed are as good as tokens that were chosen
            prompt = model.template.encode([{"role": "user", "content": "Why?"}])
            n = first.usage.thinking + len(model.tokenize("\n\n"))
            logits = session.eval([*prompt, *first.tokens[:n]])
            assert int(logits.argmax()) in (first.tokens[n : n + 1] or model.tokenizer.eog)


CALL = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"x": 1}<|call|>'
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"


def harmony(*answers: str, **options: object) -> Chat:
    """A conversation in gpt-oss's format; control tokens of the answers are read."""
    vocabulary = FakeTokenizer(eog=("<|return|>", "<|call|>"))
    chat = make(source=GPT_OSS, vocabulary=vocabulary, **options)  # type: ignore[arg-type]
    assert isinstance(chat.session, FakeSession)
    for text in answers:
        chat.session.script += vocabulary.encode(text, special=True)
    return chat


def test_channels_are_reasoning_and_answer() -> None:
    chat = harmony(
        f"{ANALYSIS}2 and 2. <|end|>{FINAL.removeprefix('<|end|>')}Four é.<|return|>",
        f"<|channel|>final<|message|>Five.<|return|>{ANALYSIS}I call.<|end|><|start|>assistant{CALL}",
    )
    events = list(chat.stream("2+2?"))
    assert shown(events) == [("think", "2 and 2. "), ("text", "Four é.")]
    reply = chat.last
    assert reply is not None and reply.stop_reason == "eog"
    assert reply.usage.thinking == len(VOCABULARY.encode(f"{ANALYSIS}2 and 2. <|end|>", special=True))
    computed(chat)
    assert chat.send("3+2?").text == "Five."
    before = computed(chat)
    assert before.startswith("final<|message|>Four é.<|end|><|start|>user<|message|>3+2?<|end|>")
    assert "2 and 2" not in before and before.endswith("<|start|>assistant<|channel|>final<|message|>Five.")
    reply = chat.send("f?")
    assert (reply.thinking, reply.text, reply.stop_reason) == ("I call.", 'to=functions.f {"x": 1}', "eog")


def test_channels_have_a_budget_and_an_effort() -> None:
    chat = harmony(f"{ANALYSIS}abYes.<|return|>", "<|channel|>final<|message|>No.<|return|>", reasoning_budget=2)
    reply = chat.send("?")
    assert (reply.thinking, reply.text) == ("ab", "Yes.")
    assert VOCABULARY.decode(reply.tokens, special=True) == f"{ANALYSIS}ab{FINAL}Yes."
    assert "Reasoning: medium" in computed(chat)
    chat.thinking = False
    chat.send("?")
    assert computed(chat).startswith("low\n")


def test_a_template_that_takes_a_budget_is_told_it() -> None:
    chat = make("a", "b", source=SEED_OSS, vocabulary=NoTags(bos="<s>"), reasoning_budget=100, n_ctx=4000)
    chat.send("?")
    assert "thinking budget, which is 100." in computed(chat)
    chat.thinking = False
    chat.send("?")
    assert "thinking budget is 0" in computed(chat)


def test_an_answer_in_channels_is_begun_and_continued() -> None:
    chat = harmony("2<|return|>", "b.<|return|>", max_tokens=4)
    assert chat.send("2+2?", prefill="4 - 2 = ").text == "4 - 2 = 2"
    assert computed(chat).endswith("<|start|>assistant<|channel|>final<|message|>4 - 2 = 2")
    cut = harmony(f"{ANALYSIS}abcd{FINAL}Yes.<|return|>", max_tokens=13)
    assert cut.send("?").stop_reason == "length"
    reply = cut.continue_answer().run()
    assert (reply.thinking, reply.text) == ("abcd", "")
    assert cut.continue_answer().run().text == "Yes."


@pytest.mark.parametrize("written", ["Four.", "<response>Four.</response>", "<response>\nFour.\n</response>"])
def test_tags_around_an_answer_are_left_out(written: str) -> None:
    chat = make(f"<think>hm</think>\n\n{written}", "<response>x", source=GRANITE, thinking=True, n_ctx=4000)
    assert shown(list(chat.stream("2+2?"))) == [("think", "hm"), ("text", "Four.")]
    assert chat.send("?").text == "<response>x"  # without reasoning before it

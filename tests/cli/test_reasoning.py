"""Reasoning in the chat without a terminal: exact transcripts of what is shown, hidden, switched and advised."""

import io

import pytest
from fake_chat import PRESETS, FakeAnswer, FakeChat, talk

from subbyte.cli.chat.reasoning import Reasoning
from subbyte.cli.chat.stream import show, timing_line
from subbyte.cli.screen.answer_text import PlainText
from subbyte.runtime.generation.events import TextDelta, ThinkingDelta
from subbyte.runtime.generation.sampling import Sampling

REASONING = "Let me see\\x1b[31m.\n\nDone.\n"


def test_reasoning_stands_apart(tmp_path):
    assert talk(tmp_path, "think", "hi") == (
        f"thinking ...\n{REASONING}thought for 2.0 s, 3 tokens\n\nYou said: think\n\nYou said: hi\n\n"
    )


def test_hidden_reasoning_leaves_a_line(tmp_path):
    assert talk(tmp_path, "think", hide_thinking=True) == "thought for 2.0 s, 3 tokens\n\nYou said: think\n\n"


def test_the_last_reasoning_on_demand(tmp_path):
    assert talk(tmp_path, "/think show", "think", "/think show", "hi", "/think show", hide_thinking=True) == (
        "there is no answer yet\n"
        "thought for 2.0 s, 3 tokens\n\nYou said: think\n\n"
        f"{REASONING}\n"
        "You said: hi\n\n"
        "the last answer has no reasoning\n"
    )


def test_reasoning_outlives_saving(tmp_path):
    text = talk(tmp_path, "think", "/save a", "/clear", "/load a", "/think show", hide_thinking=True)
    assert text.endswith(REASONING + "\n")


def test_ctrl_c_within_reasoning(tmp_path):
    class Interrupted(FakeChat):
        def _reasoning(self, text):
            yield "half a "
            raise KeyboardInterrupt

    head = "thinking ...\nhalf a\nthought for 2.0 s, 1 token\n\n"
    head += "(stopped; what came is kept: /continue goes on, /undo takes it back)\n\n"
    assert talk(tmp_path, "think", "/think show", chat=Interrupted()) == head + "half a\n\n"


def test_reasoning_of_white_space_is_none(tmp_path):
    class Blank(FakeChat):
        def _reasoning(self, text):
            yield from ("\n", " \n")

    for hidden in (False, True):
        assert talk(tmp_path, "think", chat=Blank(), hide_thinking=hidden) == "You said: think\n\n"


def test_figures_tell_reasoning_apart(tmp_path):
    assert "\nreasoning      3 of these tokens\n" in talk(tmp_path, "think", "/stats")
    answer = FakeAnswer(iter([ThinkingDelta("hm"), TextDelta("yes")]))
    show(answer, PlainText(io.StringIO()))
    assert "generated 20 (1 of reasoning) in 2.00 s" in timing_line(answer.reply)


def test_thinking_on_and_off(tmp_path):
    chat = FakeChat()
    chat.reasoning_budget = 200
    assert talk(tmp_path, "/think", "/think off", "/think on", "/think maybe", chat=chat) == (
        "thinking: model's default, at most 200 tokens\n"
        "thinking: off, at most 200 tokens\n"
        "thinking: on, at most 200 tokens\n"
        "error: /think takes on, off or show, not 'maybe'\n"
    )
    assert chat.thinking is True
    assert talk(tmp_path, "/show", chat=chat, hide_thinking=True).endswith(
        "\nthinking  on, at most 200 tokens, hidden\n"
    )


class NoSwitch(FakeChat):
    can_think = False

    @property
    def thinking(self):
        return None

    @thinking.setter
    def thinking(self, value):
        raise ValueError("this model has no switch for thinking")


def test_a_model_without_the_switch(tmp_path):
    assert talk(tmp_path, "/think", "/think on", "/think off", chat=NoSwitch()) == (
        "thinking: cannot be switched\n" + 2 * "error: this model has no switch for thinking\n"
    )


# ---- presets


def test_presets_are_listed_and_taken(tmp_path):
    chat = FakeChat()
    chat.sampling = Sampling(repeat_penalty=1.3, seed=5)
    text = talk(tmp_path, "/preset", "/preset careful", "/set temp 0.1", "/preset quick", chat=chat, presets=PRESETS)
    assert text == (
        "careful: temperature 0.6, top_k 20, thinking on\n"
        "  (https://example.org/card)\n"
        "quick: top_p 0.8\n"
        "  (a letter)\n"
        "careful: temperature 0.6, top_k 20, thinking on\n"
        "temperature = 0.1\n"
        "quick: top_p 0.8\n"
    )
    assert chat.thinking is True and chat.sampling == Sampling(top_p=0.8, seed=5)


@pytest.mark.parametrize(
    ("presets", "answer"),
    [
        (PRESETS, "error: this model has no preset fast: it offers careful, quick\n"),
        ({}, "error: this model has no preset fast: none are known for it\n"),
    ],
)
def test_an_unknown_preset(tmp_path, presets, answer):
    assert talk(tmp_path, "/preset fast", presets=presets) == answer


def test_no_presets(tmp_path):
    assert talk(tmp_path, "/preset") == "no presets are known for this model\n"


def test_a_preset_that_can_not_be_taken_changes_nothing(tmp_path):
    chat = NoSwitch()
    assert talk(tmp_path, "/preset careful", chat=chat, presets=PRESETS).startswith("error: this model has no switch")
    assert chat.sampling == Sampling()


# ---- what a terminal gets


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Keys:
    """A keyboard on which Ctrl-T is pressed before the pieces of these numbers."""

    is_listening = True

    def __init__(self, *pieces):
        self._pieces, self._n = pieces, -1

    def presses(self, key):
        self._n += 1
        return self._pieces.count(self._n)


def shown(monkeypatch, keyboard, *, hidden=False, after=0.0):
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    reasoning = Reasoning(screen, hidden=hidden, after=after, keyboard=keyboard)
    show(
        FakeAnswer(iter([*map(ThinkingDelta, ("a", " b", "\n\nc")), TextDelta("d")])),
        PlainText(io.StringIO()),
        reasoning,
    )
    return screen.getvalue().replace("\x1b[2m", "<").replace("\x1b[0m", ">"), reasoning.hidden


END = "\n<thought for 2.0 s, 3 tokens>\n\n"


def test_hiding_leaves_what_stands_there(monkeypatch):
    text, hidden = shown(monkeypatch, Keys(1))
    line = "\r<thinking ... 2.0 s, {} tokens (Ctrl-T shows it)>\x1b[K"
    assert text == "<thinking ... (Ctrl-T hides it)>\n<a>\n" + line.format(2) + line.format(3) + "\r\x1b[K" + END[1:]
    assert hidden


def test_showing_prints_what_was_missed(monkeypatch):
    text, hidden = shown(monkeypatch, Keys(1, 2))
    assert text.endswith("(Ctrl-T shows it)>\x1b[K\r\x1b[K< b\n\n><c>" + END) and not hidden
    text, hidden = shown(monkeypatch, Keys(2), hidden=True)
    assert text.endswith("\r\x1b[K<thinking ... (Ctrl-T hides it)>\n<a b\n\n><c>" + END) and not hidden


def test_two_presses_change_nothing(monkeypatch):
    assert shown(monkeypatch, Keys(1, 1)) == shown(monkeypatch, Keys())


def test_short_hidden_reasoning_leaves_no_trace(monkeypatch):
    assert shown(monkeypatch, None, hidden=True, after=2.1) == ("", True)
    assert shown(monkeypatch, None, hidden=True, after=1.9)[0].endswith(END[1:])

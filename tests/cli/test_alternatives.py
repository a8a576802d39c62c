"""/probs, /alt, /fork and --ab: what the tokens of an answer might have been, as transcripts and at a terminal."""

import io
import math
import sys
from pathlib import Path

import pytest
import undecided_chat
from undecided_chat import FIRST, FORKED, SECOND, VOCABULARY, undecided

from subbyte.cli.chat.context import ReplContext, SecondModel
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.cli.repl.repl import run
from subbyte.cli.tokens.scores import find_token, pieces, whole_answer
from subbyte.cli.tokens.surprise import painted, percent
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.generation.events import TokenLogprob

pytestmark = pytest.mark.thorough


def talk(tmp_path: Path, *inputs: str, chat: Chat | None = None, second: SecondModel | None = None) -> str:
    """The output of a chat with these inputs."""
    script = iter(inputs)

    def read() -> str:
        try:
            return next(script)
        except StopIteration:
            raise EOFError from None

    out = io.StringIO()
    context = ReplContext(
        chat or undecided(FIRST, FORKED),
        "first",
        "",
        tmp_path,
        out,
        second=second,
        keeper=Keeper(tmp_path / FILE, saves=False),
    )
    run(context, read)
    return out.getvalue()


def test_an_answer_by_surprise(tmp_path: Path) -> None:
    assert talk(tmp_path, "hi", "/probs") == (
        "hello world\n\n"
        "hello world[<|im_end|>]\n\n"
        "50 % or more   [20 to 50 %]   [[5 to 20 %]]   [[[under 5 %]]]\n"
        "5 tokens, perplexity 1.37\n"
        "most surprising: 5 '<|im_end|>' 40%, 1 'hello' 60%, 2 ' ' 90%, 3 'wor' 97%, 4 'ld' 100% "
        "(/alt N: what else might have come)\n"
    )


def test_alternatives_and_a_fork(tmp_path: Path) -> None:
    chat = undecided(FIRST, FORKED)
    text = talk(tmp_path, "hi", "/alt 3", "/alt world", "/fork 3 2", "/probs", chat=chat)
    listed = (
        "token 3 of 5, behind 'hello '\n"
        "   1         97%  'wor'  came\n"
        "   2        2.0%  'l'\n"
        "   3        1.0%  '<|im_end|>'\n"
    )
    assert listed in text.replace("under 0.1%", "") and text.count(listed) == 2
    assert "(/fork 3 NUMBER goes on from another of them)\nhello lo\n\n" in text
    assert "hello [[[l]]][[o]][\\n]\n<|im_end|>\n\n" in text  # what was known before the fork still is
    assert chat.messages[-1].content == "hello lo\n" and len(chat.messages) == 2
    assert [top.piece for top in chat.last.logprobs[0].top][:2] == [b"o", b"lo"] if chat.last else False


def test_a_fork_without_a_choice_takes_the_first_that_did_not_come(tmp_path: Path) -> None:
    assert "\nhello lo\n\n" not in talk(tmp_path, "hi", "/fork hello")
    assert "\nhello" in talk(tmp_path, "hi", "/alt 1 2") and "\nhello" in talk(tmp_path, "hi", "/fork 1")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/alt", "/alt needs the number of a token, as /probs tells it, or a word of the answer"),
        ("/alt 6", "there is no token 6: the last answer has 5"),
        ("/alt 0", "there is no token 0: the last answer has 5"),
        ("/alt Rome", "'Rome' is not in the last answer; /probs shows it"),
        ("/fork 3 99", "'99' is no alternative at token 3; /alt 3 lists them, 1 to 10"),
        ("/fork 3 1", "alternative 1 is the token that came; choose another one of /alt 3"),
        ("/fork 3 3", "'<|im_end|>' ends the answer; choose another one with /fork 3 NUMBER"),
    ],
)
def test_what_there_is_not(tmp_path: Path, line: str, error: str) -> None:
    assert talk(tmp_path, "hi", line).endswith(f"\nerror: {error}\n")


@pytest.mark.parametrize("line", ["/probs", "/alt 1", "/fork 1"])
def test_no_answer(tmp_path: Path, line: str) -> None:
    assert talk(tmp_path, line) == "error: there is no answer yet\n"
    assert talk(tmp_path, "hi", "/clear", line).endswith("error: there is no answer yet\n")


def test_an_answer_that_was_not_made_here(tmp_path: Path) -> None:
    chat = undecided(FIRST[:4], FORKED)
    chat.resume([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello world"}])
    text = talk(tmp_path, "/probs", "/alt 3", "/fork 3 2", chat=chat)
    assert text.startswith(
        "hello world\n\n"
        "50 % or more   [20 to 50 %]   [[5 to 20 %]]   [[[under 5 %]]]\n"
        "(so probable first finds this answer, which was not made here)\n"
        "4 tokens, perplexity 1.18\n"
    )
    assert "token 3 of 4, behind 'hello '\n   1         97%  'wor'  came\n" in text and text.endswith("hello lo\n\n")
    assert text.count("not made here") == 1  # it is known from then on


def test_an_answer_that_can_not_be_scored(tmp_path: Path) -> None:
    chat = undecided(n_ctx=100)
    chat.resume([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello world" * 100}])
    assert talk(tmp_path, "/probs", chat=chat).startswith("error: the prompt has 421 tokens, but the context holds 100")
    chat.resume([{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}])
    assert talk(tmp_path, "/probs", chat=chat) == "error: there is nothing to score: the last answer has no text\n"
    chat.resume([*chat.messages, {"role": "user", "content": "and?"}])
    assert talk(tmp_path, "/fork 1", chat=chat).startswith("error: the last question has no answer to go on from")


def test_a_cut_answer_is_known_as_a_whole(tmp_path: Path) -> None:
    chat = undecided(FIRST)
    chat.max_tokens = 2
    text = talk(tmp_path, "hi", "/continue", "/continue", "/probs", chat=chat)
    assert text.endswith("5 tokens, perplexity 1.37\n" + text[text.index("most surprising") :])


def test_characters_of_several_tokens() -> None:
    chances = zip("a🙂b".encode(), [1, 1, 0.5, 0.1, 1, 1], strict=True)
    scores = [TokenLogprob(byte, bytes([byte]), math.log(p), ()) for byte, p in chances]
    assert [(part.text, part.first, round(part.probability or 0, 3)) for part in pieces(scores)] == [
        ("a", 1, 1), ("🙂", 2, 0.1), ("b", 6, 1),
    ]  # fmt: skip
    assert find_token(scores, "🙂") == [2] and find_token(scores, "b") == [6] and find_token(scores, "6") == [6]
    broken = [TokenLogprob(0, b"\xff", 0.0, ()), TokenLogprob(1, b"\xf0", None, ())]
    assert [(part.text, part.probability) for part in pieces(broken)] == [("\ufffd", 1), ("\ufffd", None)]


def test_an_answer_that_goes_on_elsewhere_is_not_known() -> None:
    chat = undecided([{"hello": 0.6, "he": 0.4}, {"lo": 1.0}])
    chat.max_tokens = 1
    first = list(chat.send("hi").logprobs)
    reply = chat.continue_answer().run()
    piece = VOCABULARY.piece
    assert [score.piece for score in whole_answer(first, reply, piece)] == [b"hello", b"lo"]
    unknown = whole_answer([], reply, piece)
    assert [(score.piece, score.logprob) for score in unknown] == [
        (b"hello", None),
        (b"lo", pytest.approx(0, abs=1e-6)),
    ]


def test_marks_without_colour() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    parts = pieces([TokenLogprob(0, text, math.log(p), ()) for text, p in ((b" a", 0.9), (b" b", 0.3), (b"\n", 0.01))])
    assert painted(parts, io.StringIO()) == " a [b][[[\\n]]]\n"
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        assert painted(parts, terminal) == " a \x1b[36mb\x1b[0m\x1b[31;1;4m\\n\x1b[0m\n"
        patch.setenv("NO_COLOR", "1")
        assert painted(parts, terminal) == " a [b][[[\\n]]]\n"
        patch.delenv("NO_COLOR")
        patch.setenv("TERM", "dumb")
        assert painted(parts, terminal) == " a [b][[[\\n]]]\n"
    assert [percent(p) for p in (1, 0.5, 0.099, 0.001, 0.0001)] == ["100%", "50%", "9.9%", "0.1%", "under 0.1%"]


# ---- two models


def test_two_models_part(tmp_path: Path) -> None:
    other = undecided(SECOND)
    text = talk(tmp_path, "hi", second=SecondModel(other, "second"))
    assert text == (
        "first:\nhello> <world\n\nsecond:\nhello\n\n"
        "alike for 1 token, then they part:\n"
        "  first: ' ' 90%, to which second gave 30%\n"
        "  second: '<|im_end|>' 70%, to which first gave 10%\n\n"
    )
    assert other.messages[-1].content == "hello"


def test_what_the_second_model_can_not_answer(tmp_path: Path) -> None:
    text = talk(tmp_path, "hi", second=SecondModel(undecided(n_ctx=9), "second"))
    assert text.startswith("error: second: the prompt has 21 tokens") and "first:\nhello world\n" in text


def test_two_models_go_on_with_the_answers_of_the_first(tmp_path: Path) -> None:
    first, other = undecided(FIRST, FIRST), undecided(SECOND, FIRST)
    text = talk(tmp_path, "hi", "again", "/probs", chat=first, second=SecondModel(other, "second"))
    assert "alike in all 5 tokens; farthest apart at token 1, 'hello': 60% and 60%\n" in text
    assert other.messages == first.messages and "5 tokens, perplexity 1.37" in text
    assert first.sampling.seed is None and other.sampling.temperature == 0


# ---- at a terminal


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_surprise_in_colours(terminal, tmp_path, columns, rows):
    screen = terminal([sys.executable, undecided_chat.__file__, str(tmp_path)], columns=columns, rows=rows)
    screen.prompt()
    screen.keys("hi\r")
    screen.see("hello world")
    screen.prompt()
    screen.keys("/fork 3 2\r")
    screen.see("hello lo")
    screen.prompt()
    screen.keys("/probs\r")
    screen.see("what else might")
    screen.prompt()
    row = next(i for i in reversed(range(rows)) if screen.lines[i].startswith("hello lo"))
    cells = screen.cells(row)
    assert [(cell.fg, cell.bold, cell.underscore) for cell in (cells[0], cells[6], cells[7])] == [
        ("default", False, False), ("red", True, True), ("magenta", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("columns", "rows"), [(200, 50), (80, 24), (40, 12)])
def test_two_models_beside_each_other_or_not(terminal, tmp_path, columns, rows):
    screen = terminal([sys.executable, undecided_chat.__file__, str(tmp_path), "ab"], columns=columns, rows=rows)
    screen.prompt()
    screen.keys("hi\r")
    screen.see("alike for 1 token, then they part:")
    rows_of = {line.strip(): i for i, line in enumerate(screen.lines)}
    if columns >= 100:
        heading = next(line for line in rows_of if line.startswith("smollm2:") and line.endswith("second:"))
        row = screen.lines[rows_of[heading] + 1]
        assert row.split() == ["hello", "world", "hello"] and row.rindex("hello") == heading.index("second")
        marked = screen.cells(rows_of[heading] + 1)
        assert [cell.reverse for cell in marked[4:7]] == [False, True, False]
    else:
        assert screen.lines[rows_of["second:"] + 1] == "hello"


def test_surprise_in_brackets(terminal, tmp_path):
    screen = terminal([sys.executable, undecided_chat.__file__, str(tmp_path)], TERM="dumb")
    screen.see(">>>")
    screen.keys("hi\r")
    screen.see("hello world")
    screen.keys("/probs\r")
    screen.see("hello world[<|im_end|>]")


def test_a_full_context_is_asked_about_where_nothing_can_be_drawn(terminal, tmp_path):
    screen = terminal([sys.executable, undecided_chat.__file__, str(tmp_path)], TERM="dumb")
    screen.see(">>>")
    screen.keys("hi\r")
    screen.see("hello world")
    screen.keys("a question of so many bytes in it\r")
    screen.see("stopping here")
    screen.keys("g")
    screen.see("(the context holds 140 tokens now)")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (200, 50)])
def test_a_full_context_is_asked_about(terminal, tmp_path, columns, rows):
    screen = terminal([sys.executable, undecided_chat.__file__, str(tmp_path)], columns=columns, rows=rows)
    screen.prompt()
    screen.keys("hi\r")
    screen.see("hello world")
    screen.prompt()
    screen.keys("a question of so many bytes in it\r")
    _see_question(screen)
    screen.keys("xf")
    screen.see("(forgot the oldest turn")
    screen.prompt()
    assert "x" not in screen.text.splitlines()[-1].replace("Ask something (/help)", "")
    screen.keys("another one of so many more bytes\r")
    _see_question(screen)
    screen.keys("\x03")
    screen.see("error: the prompt has")
    screen.prompt()
    screen.keys("/context 400\r")
    screen.see("of 400 tokens")
    screen.prompt()
    screen.keys("another one of so many more bytes\r")
    screen.see("hello world")


def _see_question(screen):
    """Waits until the last line is the last choice: keys are read now."""
    screen.wait(lambda: next((line for line in reversed(screen.lines) if line), "") == "  s  stopping here", "a choice")

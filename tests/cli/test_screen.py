"""Answers on a terminal: Markdown laid out as it comes, words wrapped, nothing lost."""

import io
import random
import re
import time
from collections.abc import Iterable

import fake_chat
import pyte
import pytest
from fake_chat import MARKDOWN, talk
from terminals import CTRL_C, CTRL_D

from subbyte.cli.screen import markdown, painter
from subbyte.cli.screen.answer_text import PlainText, answer_text
from subbyte.cli.screen.inline import closed
from subbyte.cli.screen.markdown import MarkdownText
from subbyte.cli.screen.words import WordWrap
from subbyte.cli.terminal.columns import wrapped

SIZES = [(80, 24), (40, 12), (200, 50)]


class FakeTerminal(io.StringIO):
    """A terminal of a size, whose screen and all that has scrolled out of it can be read."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.size = columns, rows
        self._screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.1)
        self._stream = pyte.Stream(self._screen)
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def resize(self, columns: int) -> None:
        self.size = columns, self.size[1]
        self._screen.resize(columns=columns)

    def bold(self, row: int) -> str:
        return "".join(
            self._screen.buffer[row][x].data for x in range(self.size[0]) if self._screen.buffer[row][x].bold
        )

    @property
    def lines(self) -> list[str]:
        width = self._screen.columns
        above = ["".join(line[x].data for x in range(width)).rstrip() for line in self._screen.history.top]
        lines = [*above, *(line.rstrip() for line in self._screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals have the size they say, and every piece is drawn."""
    monkeypatch.setattr(painter, "terminal_size", lambda out: out.size)
    monkeypatch.setattr(markdown, "PAUSE", 0)
    monkeypatch.setattr(markdown, "MAX_PAUSE", 0)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(pieces: Iterable[str], columns: int = 80, rows: int = 24) -> FakeTerminal:
    out = FakeTerminal(columns, rows)
    text = MarkdownText(out)
    for piece in pieces:
        text.feed(piece)
    text.end()
    return out


def pieces(text: str, seed: int) -> list[str]:
    """A text in pieces of a few characters."""
    chance, cut = random.Random(seed), []
    while text:
        n = chance.randint(1, 20)
        cut.append(text[:n])
        text = text[n:]
    return cut


LONG = "\n\n".join(
    [
        MARKDOWN,
        "\n".join(f"{i}. item **number {i}** with `code {i}` and more words\n   - nested {i}" for i in range(1, 25)),
        "```python\n" + "\n".join(f"def f{i}(x):\n    return 'a' * {i}" for i in range(60)) + "\n```",
        "a long paragraph with *some emphasis here* in it and ~~much~~ more. " * 25,
        "| a | b |\n|---|--:|\n" + "\n".join(f"| {i} | {'x' * i} |" for i in range(30)),
        "> a quote\n> of *two* lines\n\n***\n\nend",
    ]
)


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES)
def test_an_answer_in_pieces_looks_like_the_whole_at_once(size: tuple[int, int]) -> None:
    whole = shown([LONG], *size).lines
    assert shown(pieces(LONG, 0), *size).lines == whole


def test_what_is_finished_is_written_once() -> None:
    text = "\n\n".join(f"Paragraph number {i} of many, *in words*." for i in range(100))
    assert len(shown(pieces(text, 1)).written) < 8 * len(text)


def test_the_layout_of_markdown() -> None:
    out = shown([MARKDOWN])
    assert out.lines == [
        "Three things",
        "",
        "1. A bold word in a sentence that is long enough to be wrapped on eighty",
        "   columns.",
        "2. Code of Python:",
        "",
        "def f(x):",
        "    return x  # a line of code that is longer than any of the narrow terminals t",
        "hat it is shown on",
        "",
        "Name  Size",
        "────  ────",
        "one      1",
        "two     22",
        "",
        "Done, with a link (https://example.org) and 日本語 in code.",
    ]
    assert out.bold(0) == "Three things"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("- a\n- b\n  - c\n\n    d\n", ["• a", "• b", "  • c", "", "    d"]),
        ("3) a\n4) b", ["3) a", "4) b"]),
        ("- a\n\n- b", ["• a", "", "• b"]),
        ("one\ntwo", ["one", "two"]),
        ("one  \ntwo\\\nthree", ["one", "two", "three"]),
        ("# A #\ntext", ["A", "", "text"]),
        ("> a\n> > b", ["│ a", "│", "│ │ b"]),
        ("<b>x</b> &lt; &amp;", ["<b>x</b> < &"]),
        ("<div>\nx\n</div>", ["<div>", "x", "</div>"]),
        (r"\(x^2\) and \[y\] and \*no\*", [r"\(x^2\) and \[y\] and *no*"]),
        ("2 * 3 * 4 and a_b_c", ["2 * 3 * 4 and a_b_c"]),
        ("[1]: https://example.org/a", ["[1]: https://example.org/a"]),
        ("[a](https://b.org) <https://c.org>", ["a (https://b.org) https://c.org"]),
        ("![alt](p.png)", ["alt (p.png)"]),
        ("    indented\n      code", ["indented", "  code"]),
        ("```\n\ta\n\n b\n```", ["        a", "", " b"]),
        ("````\n```\n````", ["```"]),
        ("```unknown language\nx\n", ["unknown language", "x"]),
        ("|a|\n|-|", ["a", "─"]),
        ("- ```\n  a\n  ```", ["•", "a"]),
        ("- a\n  ```\n  x\n  ```\n- b", ["• a", "", "x", "", "• b"]),
        ("1. a\n   - b\n     ```\n     x\n     ```\n   - c", ["1. a", "   • b", "", "x", "", "   • c"]),
        ('```python title="a.py"\nx\n```', ['python title="a.py"', "x"]),
        ("$x^*$ and $y^*$, $5 or *six*, $5-$10", ["$x^*$ and $y^*$, $5 or six, $5-$10"]),
        (r"\(a*b*c\), \[x_{i} + \mathbf{y}_{j}\]", [r"\(a*b*c\), \[x_{i} + \mathbf{y}_{j}\]"]),
        ("so\n\\[\n a\n + b\n\\]\nholds", ["so", "", "\\[", "a", "+ b", "\\]", "", "holds"]),
        ("- a\n  $$\n  - x\n  $$\n- b", ["• a", "", "  $$", "  - x", "  $$", "• b"]),
        ("\\begin{align}\na &= b \\\\\n\\end{align}", ["\\begin{align}", "a &= b \\\\", "\\end{align}"]),
        ("$$ never\n\n*closed*", ["$$ never", "", "closed"]),
        ("|a|b|\n|-|-|\n|`x|y`|z|\n|1|2|3|", ["a    b", "───  ─────", "x|y  z", "1    2 | 3"]),
        ("text\n#tag", ["text", "#tag"]),
        ("a\r\nb", ["a", "b"]),
        ("-", ["•"]),
        ("", []),
        ("\n\n", []),
        ("a\n\n\n\nb", ["a", "", "b"]),
    ],
)  # fmt: skip
def test_blocks(source: str, lines: list[str]) -> None:
    assert shown([source]).lines == shown(pieces(source, 0)).lines == lines


def test_a_narrow_table_has_a_line_for_each_cell() -> None:
    table = "| Name | Of | Many | Columns |\n|-|-|-|-|\n| first one | second one | third one | fourth one |"
    assert shown([table], 24).lines == ["Name: first one", "Of: second one", "Many: third one", "Columns: fourth one"]
    assert max(map(len, shown([table], 40).lines)) < 40


@pytest.mark.parametrize("size", SIZES)
def test_no_word_is_cut(size: tuple[int, int]) -> None:
    words = "several words of quite different lengths, like internationalization, " * 9
    for source in (words, f"- {words}", f"> {words}", f"# {words}"):
        found = " ".join(shown(pieces(source, 3), *size).lines).replace("•", "").replace("│", "").split()
        assert found == words.split()


def test_a_long_address_can_be_copied() -> None:
    address = "https://example.org/" + "path/" * 30
    assert address in shown([f"- see {address} and *more*"]).written
    assert shown([f"> {address}\n> end"], 40, 12).lines[-1] == "│ end"


def test_bold_begins_before_its_end_has_come() -> None:
    out = FakeTerminal(80, 24)
    text = MarkdownText(out)
    text.feed("Some **very bold")
    assert out.lines == ["Some very bold"] and out.bold(0) == "very bold"
    text.feed(" words**")
    assert out.lines == ["Some very bold words"]


@pytest.mark.parametrize(
    ("source", "whole"),
    [
        ("a **b", "a **b**"), ("a **", "a "), ("a **b*", "a **b***"), ("a *b", "a *b*"), ("a *", "a"),
        ("2 * 3", "2 * 3"), ("`a", "`a`"), ("`a`", "`a`"), ("see [x](http://e", "see x"), ("~~a", "~~a~~"),
        ("**a** b", "**a** b"), ("* item", "* item"),
    ],
)  # fmt: skip
def test_open_marks_are_closed(source: str, whole: str) -> None:
    assert closed(source).rstrip() in (whole.rstrip(), whole.replace("b***", "b**"))


def test_the_first_words_wait_for_nothing() -> None:
    out = FakeTerminal(80, 24)
    text = MarkdownText(out)
    text.feed("The")
    text.feed(" capital is Paris.")
    assert out.written == "The capital is Paris." and "_layout" not in vars(text)
    text.end()
    assert out.lines == ["The capital is Paris."] and out.written.endswith("\n")


HOSTILE = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\r\x08\u202e &#x202e; &#27;[2J &#155; [a\x1b](http://\x1b[2J) `\x1b[2J`\n\n"
    "```python\n\x1b[2J'\x1b[31m'\n```\n\n| \x1b[2J |\n|---|\n| \x9b2J |\n\n![\x1b[2J](\x1b[2J)\n"
)


@pytest.mark.parametrize("plain", [False, True])
def test_a_model_does_not_steer_the_terminal(plain: bool) -> None:
    out = FakeTerminal(80, 24)
    text = answer_text(out, plain=plain)
    for piece in pieces(HOSTILE, 5):
        text.feed(piece)
    text.end()
    left = out.written
    for own in ("\r\x1b[J", "\x1b[0m", *(f"\x1b[{n}A" for n in range(1, 24))):
        left = left.replace(own, "")
    styles = re.sub(r"\x1b\[[0-9;]*m", "", left)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", styles)
    assert "31m'" in "".join(out.lines) and "\x1b[31m'" not in out.written


ODD = ["[" * 2000, "*a " * 700, "> " * 1000, "|" * 900 + "\n" + "|-" * 900, "`a``b" * 400, "- " * 1000, "x" * 9000]


@pytest.mark.thorough
@pytest.mark.parametrize("source", [*ODD, "```\n" + "y" * 9000, "![a](" * 400])
def test_odd_markdown_is_shown_within_bounds(source: str) -> None:
    begin = time.process_time()
    out = shown([source[i : i + 200] for i in range(0, len(source), 200)])
    assert time.process_time() - begin < 30
    n_signs = sum(not char.isspace() for char in source)
    assert sum(map(len, out.lines)) >= n_signs // 2 or set(source) <= set("> -|\n")


def test_a_resize_loses_no_word() -> None:
    words = [f"word{i}" for i in range(120)]
    for columns in (50, 30, 120):
        out = FakeTerminal(80, 24)
        text = MarkdownText(out)
        text.feed("Begin: *so* " + " ".join(words[:60]) + " ")
        out.resize(columns)
        text.feed(" ".join(words[60:]))
        text.end()
        assert " ".join(out.lines).split()[-60:] == words[60:]


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = shown(["# A\n\n```python\nreturn 1\n```\n**b** `c`"]).written
    assert "\x1b[1" in written and not re.search(r"\x1b\[[0-9;]*\b[39]\d", written)


def test_plain_text_keeps_marks_and_words() -> None:
    out = FakeTerminal(24, 12)
    text = PlainText(out)
    wrap = WordWrap()
    assert wrap.feed("one two three", 12) == "one two " and wrap.end(12) == "\nthree"
    assert (
        "".join([wrap.feed("```\na long line of code\n```\n", 10), wrap.end(10)]) == "```\na long line of code\n```\n"
    )
    assert wrap.feed("a b c d ", 3) == "a b c d "
    text.feed("x")
    text.end()
    assert out.lines == ["x"]


# ---- the whole chat at a terminal


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES)
def test_an_answer_in_markdown(terminal, size):
    chat = terminal(columns=size[0], rows=size[1])
    chat.prompt()
    chat.keys("markdown\r")
    chat.see("Done, with a link")
    chat.prompt()
    assert "**" not in chat.text and "two     22" in chat.text
    chat.keys("/")
    chat.see(">>> /")
    chat.see(" /help")
    chat.keys(CTRL_C)
    chat.prompt()
    chat.keys(CTRL_D)
    assert chat.end() == 0


@pytest.mark.thorough
def test_a_terminal_without_abilities_sees_marks_and_whole_words(terminal):
    screen = terminal(TERM="dumb")
    screen.see(">>>")
    screen.keys("markdown\r")
    screen.see("Done, with a [link]")
    assert "1. A **bold word** in a sentence that is long enough to be wrapped on eighty\ncolumns." in screen.text
    assert "\x1b" not in screen.text


@pytest.mark.thorough
def test_a_resize_while_an_answer_streams(terminal, tmp_path):
    chat = terminal()
    chat.prompt()
    chat.keys("slow\r")
    chat.see("slow 0 1 2 3")
    chat.resize(40, 12)
    (tmp_path / "go").touch()
    chat.prompt()
    chat.keys("next\r")
    chat.see("You said: next")


@pytest.mark.thorough
def test_input_of_several_rows_has_no_marks_in_it(terminal):
    chat = terminal(columns=40, rows=12)
    chat.prompt()
    chat.keys("abcdefghij" * 6)
    chat.see("abcdefghij" * 3 + "abcdef\nghij" + "abcdefghij" * 2)


def test_text_in_a_pipe_is_as_it_is(tmp_path) -> None:
    assert talk(tmp_path, "markdown") == f"{MARKDOWN}\n"
    assert fake_chat.MARKDOWN == MARKDOWN


def test_lines_of_our_own_are_wrapped_by_columns() -> None:
    assert wrapped("one two  three", 8) == ["one two", "three"] and wrapped("", 8) == [""]
    assert wrapped("日本の首都は東京です", 8) == ["日本の首", "都は東京", "です"]
    assert wrapped("see 日本の首都", 8) == ["see 日本", "の首都"]
    assert wrapped("a 0123456789", 8) == ["a", "01234567", "89"]
    assert wrapped("a 0123456789", 8, whole=True) == ["a", "0123456789"]

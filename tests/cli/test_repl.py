"""The chat at the terminal: exact transcripts without one, and the screen of a real one (pexpect + pyte)."""

import io
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import fake_chat
import pytest
from fake_chat import FakeAnswer, FakeChat, talk
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.layout.processors import TransformationInput
from terminals import ALT_ENTER, CTRL_C, CTRL_D, UP

from subbyte.cli.chat import context as context_module
from subbyte.cli.chat.blocks import is_open_block, unquote
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import MAKES_ROOM
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.cli.chat.settings import SETTINGS
from subbyte.cli.message.mentions import mentioned_files
from subbyte.cli.repl import toolbar
from subbyte.cli.repl.completion import CommandCompleter
from subbyte.cli.repl.repl import HINT
from subbyte.cli.repl.whole_words import WholeWords
from subbyte.cli.slash import slash_commands
from subbyte.cli.terminal import columns
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.generation.events import Usage
from subbyte.runtime.types import CheckpointUse

pytestmark = pytest.mark.thorough

# ---- without a terminal: what goes in, what comes out


def test_transcript_of_a_conversation(tmp_path):
    assert talk(tmp_path, "hi", "  \n", '"""\na\nb\n"""', "/regen", "/bye", "not reached") == (
        "You said: hi\n\n"
        "You said: a\nb\n\n"
        "You said: again: a\nb\n\n"
    )  # fmt: skip


def test_stats_of_a_model_with_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeChat, "checkpoints", CheckpointUse((512, 700), 3 << 19, 4 << 20, 37))
    lines = talk(tmp_path, "hi", "/stats").splitlines()
    assert "checkpoints    behind tokens 512, 700: 1.5 of 4.0 MiB" in lines
    assert "computed again 37 tokens, behind checkpoints it went back to" in lines


def test_stats_of_an_answer_with_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_chat, "Usage", partial(Usage, drafted=9, accepted=7))
    assert "speculation    7 of these tokens were drafted, of 9 tokens drafted in all" in talk(tmp_path, "hi", "/stats")


def test_transcript_of_stats_show_and_settings(tmp_path):
    assert talk(tmp_path, "/stats", "hi", "/stats", "/set temp 0.5", "/system Be brief.", "/show", '/system ""') == (
        "error: there is no answer yet\n"
        "You said: hi\n\n"
        "prompt         10 tokens (4 cached)\n"
        "prefill        6 tokens in 0.50 s, 12.0 tokens/s\n"
        "generation     20 tokens in 2.00 s, 10.0 tokens/s\n"
        "session total  20 tokens in 2.00 s, 10.0 tokens/s\n"
        "temperature = 0.5\n"
        "system: Be brief.\n"
        "model     fake: no model\n"
        "context   4 of 1000 tokens, 2 messages\n"
        "system    Be brief.\n"
        "sampling  temperature 0.5, top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1, repeat_last_n 64, seed random\n"
        "thinking  model's default\n"
        "no system prompt\n"
    )


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/hlep", "unknown command /hlep; did you mean /help or /clear or /export?\n"),
        ("/", "unknown command /; /help lists the commands\n"),
        ("/regen", "error: nothing was said yet\n"),
        ("/continue", "error: there is no answer to continue: nothing was said yet\n"),
        ("/save", "error: /save needs a name or a path\n"),
        ("/set temprature 1", "error: unknown setting temprature; did you mean temperature?\n"),
        ("/set tmep 1", "error: unknown setting tmep; did you mean temp?\n"),
        ("/set top_k many", "error: top_k is a whole number, not 'many'\n"),
        ("/set temperature nan", "error: temperature is nan, but must be a finite number\n"),
        ("/set temperature -1", "error: temperature is -1, but must be at least 0\n"),
        ("/set seed", "seed = random\n"),
        ("/set temp=0.7", "temperature = 0.7\n"),
        ("/set Temp = 0.7", "temperature = 0.7\n"),
        ("/set temp 0.7 top-k 20 seed=5", "temperature = 0.7\ntop_k = 20\nseed = 5\n"),
        ("/set temp=0.7 top_k", "temperature = 0.7\ntop_k = 40\n"),
        ("/set seed temp", "seed = random\ntemperature = 0.8\n"),
        ("/set top_k=5 banned=an apple", "top_k = 5\nbanned = 'an apple'\n"),
        ("/set temp=0.7 topk=20", "error: unknown setting topk; did you mean top_k?\n"),
        ("/set logit_bias=5+1.5, 6-inf", "logit_bias = 5+1.5,6-inf\n"),
        ("/set ignore_eos on", "ignore_eos = on\n"),
        ("/set ignore_eos yes", "error: ignore_eos is on or off, not 'yes'\n"),
        ("/set logit_bias 5+1.5, 6-inf", "logit_bias = 5+1.5,6-inf\n"),
        ("/set logit_bias", "logit_bias = none\n"),
        ("/set logit_bias the", "error: logit_bias is like 15043+1,15044-inf, or none, not 'the'\n"),
        ("/set dry_sequence_breakers none", "dry_sequence_breakers = none\n"),
        ("/SET seed 7", "seed = 7\n"),
        ("/set seed random", "seed = random\n"),
        ("/usr/bin is a folder", "You said: /usr/bin is a folder\n\n"),
        ("/two\nlines", "You said: /two\nlines\n\n"),
        ("/etc\nis a folder", "You said: /etc\nis a folder\n\n"),
        ('"""/help"""', "You said: /help\n\n"),
        ("/system Be brief.\nBe kind.", "system: Be brief. Be kind.\n"),
        ('/system """\nBe brief.\n Be kind.\n"""', "system: Be brief. Be kind.\n"),
        ('/system """\n"""', "no system prompt\n"),
        ('/system """', 'error: the block has no """ at its end\n'),
        ("/save\nmy life", 'error: /save takes one line; a message that begins so goes between """ and """\n'),
        ("fail", f"error: the context of 1000 tokens is full ({MAKES_ROOM})\n"),
        ("cut", "You said: cut\n(truncated: reached -n; /continue goes on)\n\n"),
    ],
)
def test_one_line(tmp_path, line, answer):
    assert talk(tmp_path, line) == answer


class NarrowTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [80, 44])
def test_a_narrow_terminal_gets_whole_words(tmp_path, monkeypatch, width):
    for module in (context_module, columns):
        monkeypatch.setattr(module, "terminal_width", lambda stream: width)
    out = NarrowTerminal()
    context = ReplContext(FakeChat(), "fake", "", tmp_path, out, keeper=Keeper(tmp_path / FILE))
    for line in ("/help", "/set", "/show"):
        slash_commands.run(context, line)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) < width or width < 45  # the longest label and the narrowest column
    text = " ".join(out.getvalue().split())
    assert all(setting.help in text for setting in SETTINGS) and "repeat_last_n 64, seed random" in text


def test_every_command_is_in_the_help(tmp_path):
    text = talk(tmp_path, "/help")
    assert all(f"{name} " in text for name in slash_commands.COMMANDS)
    assert talk(tmp_path, "/?") == text


def test_ctrl_c_at_the_prompt_hints_and_stays(tmp_path):
    assert talk(tmp_path, KeyboardInterrupt(), "hi") == f"{HINT}\nYou said: hi\n\n"


def test_of_several_settings_a_wrong_one_changes_none(tmp_path):
    text = talk(tmp_path, "/set temp=0.7 top_k=many", "/set temp")
    assert text == "error: top_k is a whole number, not 'many'\ntemperature = 0.8\n"


def test_a_system_prompt_keeps_its_lines(tmp_path):
    for text in ("/system one\n two", '/system """\none\n two\n"""', "/system\none\n two"):
        chat = FakeChat()
        talk(tmp_path, text, chat=chat)
        assert chat.system == "one\n two"


def test_a_cut_answer_goes_on(tmp_path):
    text = talk(tmp_path, "cut", "/continue")
    assert text == "You said: cut\n(truncated: reached -n; /continue goes on)\n\nand so on\n\n"


def test_a_full_context_is_not_said_to_go_on(tmp_path):
    chat = FakeChat()
    chat.n_ctx = 29
    assert talk(tmp_path, "cut", chat=chat) == (f"You said: cut\n(truncated: the context is full; {MAKES_ROOM})\n\n")


def test_ctrl_c_keeps_what_has_come(tmp_path):
    class Interrupted(FakeChat):
        def _words(self, text):
            yield "half an "
            raise KeyboardInterrupt

    chat = Interrupted()
    assert talk(tmp_path, "hi", "/show", chat=chat).startswith("half an \n(stopped; ")
    assert chat.messages[-1].content == "half an "


def test_save_and_load(tmp_path):
    elsewhere = tmp_path / "talk"
    text = talk(tmp_path, "hi", "/save first", "/clear", "/load first", f"/save {elsewhere}", "/load second")
    assert "loaded 2 messages" in text
    assert (tmp_path / "chats/first.json").exists()
    assert not elsewhere.exists() and elsewhere.with_suffix(".json").exists()
    assert text.endswith(
        f"error: no conversation second, nor a file {tmp_path}/chats/second.json; /sessions lists them\n"
    )
    assert " (did you mean first?); /sessions" in talk(tmp_path, "/load frist")


def test_saving_asks_before_it_replaces_a_conversation_and_never_replaces_another_file(tmp_path):
    package = tmp_path / "package.json"
    package.write_text('{"name": "mine"}')
    assert talk(tmp_path, "hi", f"/save {tmp_path}/package").endswith(
        "package.json: exists and is not a saved conversation, so it is never overwritten; give another place\n"
    )
    assert package.read_text() == '{"name": "mine"}'
    text = talk(tmp_path, "hi", "/save my talk", "more", "/save my talk", "n")
    path = tmp_path / "chats/my talk.json"
    assert text.endswith(f"{path} is a saved conversation; write over it? [y/N] \n{path} stays\n")
    assert "loaded 2 messages" in talk(tmp_path, "/load my talk")
    assert talk(tmp_path, "hi", "more", "/save my talk", "y").endswith(f"saved to {path}\n")
    assert "loaded 4 messages" in talk(tmp_path, "/load my talk")


def test_a_pipe_is_not_loaded(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    text = talk(tmp_path, f"/load {tmp_path}/pipe", "/load " + "x" * 300, f"/load {tmp_path}/pipe/x")
    assert "not a conversation saved by subbyte: a pipe" in text
    assert text.count("error: ") == 3 and text.count("\n") == 3


@pytest.mark.parametrize("name", ["..", ".", "/", "a\0b", "x" * 300, "/dev/null/x", "~nobody-of-that-name/x"])
def test_a_bad_name_to_save_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    lines = talk(tmp_path, "hi", f"/save {name}").splitlines()
    assert len(lines) == 3


def test_blocks():
    assert is_open_block('"""') and is_open_block('"""a\nb') and is_open_block('""""') and is_open_block('"""a""')
    assert is_open_block('/system """') and is_open_block('/system """\na') and not is_open_block('/system """a"""')
    assert not is_open_block('""""""') and not is_open_block('"""a\n"""') and not is_open_block('say """')
    assert unquote('"""\na\n b\n"""') == "a\n b" and unquote('""""""') == "" and unquote('say """') == 'say """'


def test_gauge(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert [toolbar.gauge(share) for share in (0, 0.001, 0.5, 1)] == ["........", "#.......", "####....", "########"]


def test_toolbar_warns_of_a_full_context(tmp_path):
    chat = FakeChat()
    context = ReplContext(chat, "fa\x1bke", "", tmp_path, io.StringIO(), keeper=Keeper(tmp_path / FILE))
    for n, style, note in ((790, "gauge", ""), (800, "filling", " 80% full"), (950, "full", " 95% full")):
        chat._messages, chat._answer = [Message("user", ""), Message("assistant", "word " * n)], FakeAnswer(iter(()))
        parts = toolbar.toolbar(context)
        assert (f"class:bottom-toolbar.{style}", toolbar.gauge(n / 1000)) in parts
        shown = "".join(text for _, text in parts)
        assert shown == f" fa\\x1bke  context {n}/1.0k {toolbar.gauge(n / 1000)}{note}  10.0 tokens/s"


def test_toolbar_shows_what_fits(tmp_path, monkeypatch):
    context = ReplContext(FakeChat(), "a-name-" * 9, "", tmp_path, io.StringIO(), keeper=Keeper(tmp_path / FILE))
    for width, shown in (
        (24, " a-name-…  context 0/1.0k ▁▁▁▁▁▁▁▁"),
        (50, " a-name-a-name-a-name-a-…  context 0/1.0k ▁▁▁▁▁▁▁▁"),
    ):
        monkeypatch.setattr(toolbar, "terminal_width", lambda _, width=width: width)
        assert "".join(text for _, text in toolbar.toolbar(context)) == shown


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("one two three four", ["one two", "three four"]),  # in 11 columns, of which the prompt takes 4 in the first
        ("one two", ["one two"]),
        ("internationalization of it", ["interna", "tionalizati", "on of it"]),
        ("a  internation", ["a", "internation"]),
        ("日本語 です", ["日本語", "です"]),
        ("one twothree", ["one", "twothree"]),
    ],
)
def test_words_of_the_input_stay_whole(line, rows):
    processor = WholeWords(4)
    given = TransformationInput(None, Document(line), 0, lambda i: i, [("", line)], 11, 5)
    new = processor.apply_transformation(given)
    text = "".join(part[1] for part in new.fragments)
    assert [row.strip() for row in in_rows(text, 11, 4)] == rows
    for i in range(len(line) + 1):
        assert new.display_to_source(new.source_to_display(i)) == i
        assert text[new.source_to_display(i) :][:1] == line[i:][:1]
    places = [new.display_to_source(i) for i in range(len(text) + 1)]
    assert places == sorted(places) and places[-1] == len(line)


def in_rows(text, width, column):
    rows = [""]
    for char in text:
        wide = 2 if ord(char) > 0x2FFF else 1
        if column + wide > width:
            rows.append("")
            column = 0
        rows[-1] += char
        column += wide
    return rows


def test_files_complete_as_commands_and_messages_read_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my notes.txt", "my.txt"):
        Path(name).touch()
    context = ReplContext(FakeChat(), "fake", "", tmp_path, io.StringIO(), keeper=Keeper(tmp_path / FILE))

    def completed(line):
        return [line + each.text for each in CommandCompleter(context).get_completions(Document(line), CompleteEvent())]

    assert completed("/read a.txt my") == ["/read a.txt my\\ notes.txt", "/read a.txt my.txt"]
    assert completed("/read my\\ n") == ["/read my\\ notes.txt"]
    assert completed("see @my") == ["see @my\\ notes.txt", "see @my.txt"]
    assert completed("see @my\\ n") == ["see @my\\ notes.txt"] and completed("see @my n") == []
    assert [file.name for file in mentioned_files("see @my\\ notes.txt, @my.txt")] == ["my notes.txt", "my.txt"]


# ---- at a terminal


def test_question_answer_and_bottom_line(chat):
    assert chat.lines[-1] == " smollm2  context 0/1.0k ▁▁▁▁▁▁▁▁"
    chat.keys("hello\r")
    chat.see("You said: hello")
    chat.prompt()
    assert chat.text.splitlines()[:3] == [">>> hello", "You said: hello", ""]
    assert chat.lines[-1] == " smollm2  context 4/1.0k ▇▁▁▁▁▁▁▁  10.0 tokens/s"
    chat.keys(CTRL_D)
    chat.see("left the chat")
    assert chat.end() == 0


def test_text_streams_and_ctrl_c_stops_it(chat, tmp_path):
    chat.keys("slow\r")
    chat.see("You said: slow 0 1 2 3")  # the answer has no end of its own
    chat.keys(CTRL_C)
    chat.see("(stopped")
    chat.prompt()
    assert "^C" not in chat.text
    chat.keys("next\r")
    chat.see("You said: next")
    chat.keys(CTRL_D)
    assert chat.end() == 0


def test_keys_typed_during_an_answer_wait_for_the_prompt(chat, tmp_path):
    chat.keys("slow\r")
    chat.see("slow 0 1 2 3")
    chat.keys("early")
    (tmp_path / "go").touch()
    chat.prompt("early")
    assert chat.text.count("early") == 1


def test_ctrl_c_clears_the_line_and_ctrl_d_needs_an_empty_one(chat):
    chat.keys("half a thought" + CTRL_D)
    chat.prompt("half a thought")
    chat.keys(CTRL_C)
    chat.see(HINT)
    chat.prompt()
    chat.keys(CTRL_D)
    assert chat.end() == 0


def test_several_lines_with_alt_enter(chat):
    chat.keys("one" + ALT_ENTER + "two")
    chat.see("... two")
    chat.keys("\r")
    chat.see("You said: one\ntwo")


def test_several_lines_with_quotes(chat):
    chat.keys('"""\rone\r\rtwo\r')
    chat.see("... two\n...")
    chat.keys('"""\r')
    chat.see("You said: one\n\ntwo\n\n>>>")


def test_paste_of_several_lines_is_one_message(chat):
    chat.keys("\x1b[200~first\r\nsecond\x1b[201~")
    chat.see(">>> first\n... second")
    chat.keys("\r")
    chat.see("You said: first\nsecond")


def test_history_outlives_the_program(terminal, tmp_path):
    first = terminal()
    first.prompt()
    first.keys("remember me\r")
    first.see("You said: remember me")
    first.prompt()
    first.keys(CTRL_D)
    first.end()
    assert (tmp_path / "history").stat().st_mode & 0o077 == 0
    second = terminal()
    second.prompt()
    second.keys(UP)
    second.prompt("remember me")


def test_a_history_that_cannot_be_written_is_no_obstacle(terminal, tmp_path):
    (tmp_path / "history").mkdir()
    screen = terminal()
    screen.prompt()
    screen.keys("hello\r")
    screen.see("You said: hello")


def test_commands_complete_while_typed(chat):
    chat.keys("/s")
    chat.see("/stats")
    chat.see("tokens and speed of the last answer")
    chat.keys("et \t")
    chat.see("repeat_penalty")


@pytest.mark.parametrize("rows", [2, 3, 12])
def test_commands_complete_in_a_low_terminal(terminal, rows):
    low = terminal(rows=rows)
    low.prompt()
    low.keys("/")
    low.see(">>> /\n /help" if rows > 2 else ">>> /")
    low.keys("bye\r")
    assert low.end() == 0


def test_a_search_of_the_history_shows_its_find_alone(chat):
    chat.keys("remember me\r")
    chat.see("You said: remember me")
    chat.prompt()
    chat.keys("\x12ember")
    chat.see("I-search")
    chat.wait(lambda: any(line == ">>> remember me" for line in chat.lines[3:]), "what was found")
    chat.keys("\r")
    chat.prompt("remember me")  # which is now in the line, to be changed or sent
    chat.keys("\x05 not\r")
    chat.see("You said: remember me not")


def test_ctrl_d_between_two_prompts_is_not_lost(terminal, tmp_path):
    """A program that reads no key for a while after Ctrl-C: what is typed then is a key for the next prompt."""
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    chat = terminal([sys.executable, str(program), str(tmp_path)])
    chat.prompt()
    chat.keys(CTRL_C)
    chat.see("wait")
    chat.keys(CTRL_D)
    time.sleep(0.1)
    (tmp_path / "go").touch()
    assert chat.end() == 0


SLOW = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(fake_chat.__file__)!r})
import fake_chat
from subbyte.cli.chat.context import ReplContext

def say(context, text):
    print("wait", flush=True)
    while not fake_chat.Path(sys.argv[1], "go").exists():
        time.sleep(0.01)

ReplContext.say = say
fake_chat.main()
"""


def test_a_terminal_without_abilities(terminal):
    screen = terminal(TERM="dumb")
    screen.see(">>>")
    screen.keys("hello\r")
    screen.see("You said: hello")
    screen.keys(CTRL_D)
    assert screen.end() == 0


def test_escape_sequences_of_a_model_do_not_reach_the_terminal(chat):
    chat.keys("colour\r")
    chat.see("You said: \\x1b]0;title\\x07\\x1b[31mred")


def test_sigterm_gives_the_terminal_back(chat):
    os.killpg(chat.child.pid, signal.SIGTERM)
    chat.wait(lambda: chat.text.splitlines()[-1] == "echo", "a terminal that echoes")
    assert chat.end() == 128 + signal.SIGTERM


def test_many_ctrl_c_leave_a_sound_terminal(chat):
    chat.keys("slow\r")
    chat.see("slow 0 1 2 3")
    for _ in range(30):
        chat.child.send(CTRL_C)
    chat.prompt()
    chat.keys("next\r")
    chat.see("You said: next")
    chat.prompt()
    chat.keys(CTRL_D)
    chat.wait(lambda: chat.text.splitlines()[-1] == "echo", "a terminal that echoes")
    assert chat.end() == 0

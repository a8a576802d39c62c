"""Reasoning at a real terminal: the key that hides it, the other keys, and the terminal however an answer ends."""

import os
import signal
import sys

import pytest
from terminals import CTRL_C, CTRL_D, CTRL_T, CTRL_Z
from tiny_models import write_model

pytestmark = pytest.mark.thorough


def ponder(chat):
    """Asks a question whose reasoning has no end of its own."""
    chat.keys("ponder\r")
    chat.see("Let me see\\x1b[31m. 0 1 2 3")


def test_ctrl_t_hides_and_shows(chat, tmp_path):
    ponder(chat)
    assert chat.lines[1] == "thinking … (Ctrl-T hides it)"
    chat.keys(CTRL_T)
    chat.see("tokens (Ctrl-T shows it)")
    before = chat.lines[2]
    chat.keys(CTRL_T)
    chat.wait(lambda: chat.lines[3].strip() and "thinking" not in chat.lines[3], "what was missed")
    assert chat.lines[2] == before and before.split()[-1].isdigit()
    assert int(chat.lines[3].split()[0]) == int(before.split()[-1]) + 1
    (tmp_path / "go").touch()
    chat.prompt()
    assert chat.text.splitlines()[-6:-3] == ["Done.", chat.text.splitlines()[-5], ""]
    assert chat.text.splitlines()[-5].startswith("thought for 2.0 s, ")


def test_hidden_reasoning_stays_hidden_until_asked_for(chat, tmp_path):
    ponder(chat)
    chat.keys(CTRL_T)
    chat.see("(Ctrl-T shows it)")
    (tmp_path / "go").touch()
    chat.prompt()
    assert "Ctrl-T shows it" not in chat.text and "Done." not in chat.text
    chat.keys("think\r")
    chat.see("You said: think")
    chat.prompt()
    assert chat.text.splitlines()[-6:-1] == [">>> think", "thought for 2.0 s, 3 tokens", "", "You said: think", ""]
    chat.keys("unfinished" + CTRL_T)
    chat.see("Done.")
    chat.prompt("unfinished")


def test_other_keys_wait_for_the_prompt(chat, tmp_path):
    ponder(chat)
    chat.keys("früh " + CTRL_T + "早く\r" + "läter")
    chat.see("(Ctrl-T shows it)")
    (tmp_path / "go").touch()
    chat.see("You said: früh 早く")
    chat.prompt("läter")


def test_ctrl_c_within_hidden_reasoning(chat):
    ponder(chat)
    chat.keys(CTRL_T)
    chat.see("(Ctrl-T shows it)")
    chat.keys("gone" + 2 * CTRL_T)
    chat.keys(CTRL_C)
    chat.see("(stopped")
    chat.prompt()
    assert "Ctrl-T" not in chat.text.splitlines()[-5] and chat.text.splitlines()[-5].startswith("thought for ")
    chat.keys(CTRL_D)
    chat.wait(lambda: chat.text.splitlines()[-1] == "echo", "a terminal that echoes")
    assert chat.end() == 0


def test_sigterm_within_reasoning_gives_the_terminal_back(chat):
    ponder(chat)
    os.killpg(chat.child.pid, signal.SIGTERM)
    chat.wait(lambda: chat.text.splitlines()[-1] == "echo", "a terminal that echoes")
    assert chat.end() == 128 + signal.SIGTERM


# With -m the program is a job: Ctrl-Z stops it, and the shell says how it finds the terminal, changes it, goes on.
JOB = """set -m; "$@"; stty -a | tr " " "\\n" | grep -x -e -*icanon -e -*echo; stty -icrnl icanon echo; fg"""


def test_ctrl_z_gives_the_terminal_back_and_takes_it_again(terminal, tmp_path):
    chat = terminal(shell=JOB)
    chat.prompt()
    ponder(chat)
    chat.keys(CTRL_Z)
    chat.see("icanon\necho\n")
    chat.keys(CTRL_T + "kept")
    chat.see("(Ctrl-T shows it)")
    (tmp_path / "go").touch()
    chat.prompt("kept")
    assert "-icanon" not in chat.text and "-echo" not in chat.text


def test_ctrl_z_where_no_shell_could_go_on(chat):
    """As in a container: the system stops no process that nobody could continue."""
    ponder(chat)
    chat.keys(CTRL_Z)
    chat.keys("lost" + CTRL_T)
    chat.see("(Ctrl-T shows it)")
    chat.keys(CTRL_T)
    chat.keys(CTRL_C)
    chat.see("(stopped")
    assert "lost" not in chat.text


def test_a_narrow_terminal(terminal, tmp_path):
    chat = terminal(columns=24)
    chat.see(">>>")
    chat.keys("ponder\r")
    chat.see(" 5 6 7")
    chat.keys(CTRL_T)
    chat.see("thinking … 2.0 s, ")
    above = chat.lines.index(next(line for line in chat.lines if line.startswith("thinking … 2.0")))
    for _ in range(5):
        now = chat.lines[above]
        chat.wait(lambda now=now: chat.lines[above] != now, "another figure in the same line")
    (tmp_path / "go").touch()
    chat.see("You said: ponder")
    assert sum("thought for" in line for line in chat.lines) == 1


def test_a_terminal_without_abilities(terminal, tmp_path):
    chat = terminal(TERM="dumb")
    chat.see(">>>")
    chat.keys("ponder\r")
    chat.see("0 1 2 3")
    chat.keys("kept")
    (tmp_path / "go").touch()
    chat.see("You said: ponder")
    assert "thought for" in chat.text and "2m" not in chat.text and "[K" not in chat.text
    chat.see(">>> kept")


def test_completions(chat):
    chat.keys("/think s")
    chat.see("the reasoning before the last answer")
    chat.keys(CTRL_C)
    chat.prompt()
    chat.keys("/preset c")
    chat.see("temperature 0.6, top_k 20, thinking on")


# ---- a model


TEMPLATE = (
    "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    "<think>\n{% if enable_thinking is false %}\n</think>\n\n{% endif %}"
)
ARGS = "--reasoning-budget 8 -n 40 -s 1 -c 256".split()


@pytest.fixture
def command(tmp_path):
    """A chat with a model that knows no words, but reasons as Qwen3 does."""
    path = tmp_path / "tiny.gguf"
    write_model(path, "qwen3", strings={"general.name": "Qwen3 14B", "tokenizer.chat_template": TEMPLATE})
    return [sys.executable, "-c", "from subbyte.cli.entry import main; main()", "chat", str(path), *ARGS]


def test_a_model_reasons(terminal, command, tmp_path):
    chat = terminal(command, XDG_DATA_HOME=str(tmp_path))
    chat.see(">>>")
    chat.keys("a\r")
    chat.see("thought for ")
    assert "thinking … (Ctrl-T hides it)" in chat.text
    hidden = terminal([*command, "--hide-thinking"], XDG_DATA_HOME=str(tmp_path))
    hidden.see(">>>")
    hidden.keys("a\r")
    hidden.see("thought for ")
    assert "hides it" not in hidden.text


def test_switch_and_presets_of_a_model(terminal, command, tmp_path):
    chat = terminal([*command, "--preset", "thinking", "--temp", "0.1"], XDG_DATA_HOME=str(tmp_path))
    chat.see("presets: thinking, non-thinking (/preset)\n")
    chat.keys("/show\r")
    chat.see("temperature 0.1, top_k 20, top_p 0.95, min_p 0")
    chat.see("thinking  on, at most 8 tokens")
    chat.keys("/preset non-thinking\r")
    chat.see("non-thinking: temperature 0.7, top_p 0.8, top_k 20, min_p 0, thinking off\n")
    chat.keys("a\r/stats\r")
    chat.see("\ngeneration ")
    assert "thought for" not in chat.text and "reasoning " not in chat.text

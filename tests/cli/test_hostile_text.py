"""No text from outside steers the terminal: every command over files with control characters, outside and inside."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_list import commands
from paths import ROOT
from tiny_models import MIXED, write_model

from subbyte.cli.chat.keeper import FILE
from subbyte.cli.main import cli
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.conversations.recording import Recording
from subbyte.runtime.conversations.store import ConversationStore
from subbyte.runtime.imatrix.imatrix import Imatrix

ESCAPES = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\r\x08"  # of a terminal's title, screen and colours, in both ways
    "\u202e\u2066\u2028"  # what turns the order of text around, and begins a line
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
MODEL, BASE, REFUSED, TEXT, RECIPE = (f"{name}{ESCAPES}" for name in ("m", "base", "refused", "text", "recipe"))
MEASURED = ("-f", TEXT, "-c", "32", "--chunks", "2")

LINES = {
    "inspect": [("inspect", MODEL), ("inspect", MODEL, "--tensors"), ("inspect", MODEL, "--heatmap")],
    "diff": [("diff", MODEL, BASE), ("diff", BASE, MODEL, "--weights", "--tensors"), ("diff", MODEL, MODEL)],
    "quantize": [
        ("quantize", MODEL, f"q{ESCAPES}", f"{RECIPE}.toml"), ("quantize", MODEL, "q", ESCAPES),
        ("quantize", MODEL, f"none{ESCAPES}/q", "Q8_0", "--dry-run"),
        ("quantize", MODEL, "q", "--imatrix", TEXT, "Q8_0"),
        ("quantize", MODEL, "q", "Q8_0", "--tensor-type", f"{ESCAPES}=Q8_0"),
        ("quantize", MODEL, "q", "Q8_0", "--tensor-type", "none=Q8_0"),
    ],
    "recipe show": [("recipe", "show", f"{RECIPE}.toml"), ("recipe", "show", f"{RECIPE}.toml", MODEL)],
    "recipe search": [
        ("recipe", "search", MODEL, "-f", TEXT, "--size", "1MB", "--cache", "cache"),
        ("recipe", "search", REFUSED, "-f", TEXT, "--size", "1MB", "--cache", "cache"),
        ("recipe", "search", MODEL, "-f", TEXT, "--bits", "4", "--cache", "cache", "--fast-on", ESCAPES),
        ("recipe", "search", BASE, "-f", TEXT, "--chat", TEXT, "--bits", "4", "--cache", f"cache{ESCAPES}"),
    ],
    "recipe extract": [("recipe", "extract", MODEL), ("recipe", "extract", REFUSED)],
    "recipe check": [("recipe", "check", MODEL, f"{RECIPE}.toml"), ("recipe", "check", REFUSED, "Q8_0")],
    "recipe export": [("recipe", "export", "Q4_K_M", REFUSED), ("recipe", "export", f"{RECIPE}.toml", MODEL)],
    "recipe import": [
        ("recipe", "import", f"{RECIPE}.toml", "Q4_K_M"), ("recipe", "import", f"{RECIPE}.types", "Q8_0"),
        ("recipe", "import", ESCAPES, ESCAPES),
    ],
    "imatrix": [
        ("imatrix", MODEL, f"i{ESCAPES}", *MEASURED), ("imatrix", REFUSED, "i", *MEASURED),
        ("imatrix", MODEL, "i", "--chat", TEXT), ("imatrix", MODEL, "i", *MEASURED, "--weights", ESCAPES),
    ],
    "imatrix-merge": [
        ("imatrix-merge", f"given{ESCAPES}", f"given{ESCAPES}", f"merged{ESCAPES}"), ("imatrix-merge", TEXT, "i"),
    ],
    "imatrix-stats": [("imatrix-stats", f"given{ESCAPES}"), ("imatrix-stats", MODEL), ("imatrix-stats", ESCAPES)],
    "split": [
        ("split", MODEL, f"s{ESCAPES}", "--max-tensors", "9"),
        ("split", REFUSED, f"none{ESCAPES}/s", "--max-size", "1GB"),
    ],
    "merge": [("merge", MODEL, "w"), ("merge", f"s{ESCAPES}-00001-of-00003.gguf", f"w{ESCAPES}")],
    "set-metadata": [
        ("set-metadata", MODEL, f"own.{ESCAPES}=str:{ESCAPES}", "--out", f"c{ESCAPES}", "--overwrite"),
        ("set-metadata", MODEL, "--remove", ESCAPES, "--out", "c"), ("set-metadata", MODEL, ESCAPES, "--out", "c"),
        ("set-metadata", MODEL, f"a={ESCAPES}:1", "--out", "c"), ("set-metadata", ESCAPES, "a=int:1", "--in-place"),
        ("set-metadata", MODEL, "--from-file", f"{ESCAPES}={TEXT}", "--out", "c", "--overwrite"),
    ],
    "perplexity": [
        ("perplexity", MODEL, *MEASURED), ("perplexity", MODEL, BASE, *MEASURED, "-f", TEXT),
        ("perplexity", MODEL, "--chat", TEXT),
    ],
    "compare": [
        ("compare", BASE, MODEL, *MEASURED), ("compare", BASE, MODEL, *MEASURED, "--layers", "--blame", "tensor"),
    ],
    "report": [
        ("report", MODEL, BASE, *MEASURED, "-p", "8", "-n", "2", "-r", "1"),
        ("report", "--from", TEXT, "--plot", f"{TEXT}.svg"), ("report", "--from", "x", "--plot", TEXT),
    ],
    "choices": [("choices", MODEL, BASE, "-f", f"{TEXT}.jsonl"), ("choices", MODEL, "-f", TEXT)],
    "toolcheck": [("toolcheck", MODEL), ("toolcheck", REFUSED), ("toolcheck", MODEL, "-f", TEXT, "--answers", TEXT)],
    "bench": [("bench", MODEL, "-p", "8", "-n", "2", "-r", "1"), ("bench", "--synthetic", ESCAPES)],
    "chat": [("chat", REFUSED), ("chat", ESCAPES), ("chat", MODEL, "--preset", ESCAPES)],
    "generate": [("generate", REFUSED, "-p", "a"), ("generate", MODEL, "-p", "a", "--preset", ESCAPES)],
    "serve": [("serve", REFUSED, "--port", "0"), ("serve", ESCAPES), ("serve", f"{ESCAPES}={REFUSED}", "--port", "0")],
    "batch": [("batch", REFUSED, TEXT), ("batch", MODEL, TEXT), ("batch", MODEL, TEXT, "--resume", f"{RECIPE}.toml")],
    "pull": [("pull", MODEL), ("pull", ESCAPES)],
    "ls": [("ls",)],
    "history search": [("history", "search", "word"), ("history", "search", f'"{ESCAPES}*')],
    "history show": [("history", "show", "hostile"), ("history", "show", ESCAPES)],
    "history export": [("history", "export", "hostile"), ("history", "export", ESCAPES, "-f", TEXT)],
    "history delete": [("history", "delete", ESCAPES), ("history", "delete", "hostile", "--yes")],
    "doctor": [("doctor",)],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    outside = {f"outside{ESCAPES}.weight": np.ones((2, 256), np.float32)}  # not used, which is said
    inside = {f"blk.0.{ESCAPES}.weight": np.ones((2, 256), np.float32)}  # nor known, which is refused
    strings = {"general.name": f"name{ESCAPES}", f"own.{ESCAPES}": f"{ESCAPES}\n{ESCAPES}" * 40}
    shape = {**MIXED, "n_layer": 2}
    write_model(folder / MODEL, shape=shape, types=["Q8_0"], tensors=outside, strings=strings)
    write_model(folder / BASE, shape=shape, strings={f"own.{ESCAPES}": "another"})
    write_model(folder / REFUSED, shape=shape, tensors=inside, strings=strings)
    (folder / TEXT).write_bytes(np.random.default_rng(0).integers(97, 123, 400, np.uint8).tobytes())
    of = {f"blk.{i}.{ESCAPES}.weight": np.ones((2, 4)) for i in range(2)}
    counts = {name: np.array([1.0, 0.0]) for name in of}
    Imatrix(of, counts, {}, (f"text{ESCAPES}",), 1, 32).save(folder / f"given{ESCAPES}")
    question = {"question": ESCAPES, "choices": [ESCAPES, "a"], "answer": 0}
    (folder / f"{TEXT}.jsonl").write_text(json.dumps(question))
    recording = Recording(ConversationStore(folder / "subbyte" / FILE), f"model{ESCAPES}", "")
    recording.begin("hostile")
    recording.keep([Message("user", f"a word{ESCAPES}"), Message("assistant", ESCAPES)], {"system": ESCAPES})
    name = "".join(f"\\u{ord(c):04x}" for c in ESCAPES)
    (folder / f"{RECIPE}.types").write_text(f"{ESCAPES}=Q4_0")
    rule = '[[rule]]\nmatch = "none"\ntype = "Q4_0"\n'
    (folder / f"{RECIPE}.toml").write_text(f'name = "recipe{name}"\nmix = "Q4_K_M"\n{rule}')
    return folder


def test_all_commands_are_here() -> None:
    assert LINES.keys() == {name for name, _ in commands(cli)}


@pytest.mark.parametrize("command", LINES)
@pytest.mark.thorough
def test_no_control_characters(
    command: str,
    folder: Path,
    command_line: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    (of,) = (of for name, of in commands(cli) if name == command)
    formats = [option.type.choices for option in of.params if option.name == "output"]  # type: ignore[attr-defined]
    outputs = [("-o", output) for output in formats[0]] if formats else [()]
    for line in LINES[command]:
        for output in outputs:
            code, out, err = command_line(*line, *([] if command.startswith("history") else ["-v"]), *output)
            assert code in (0, 1, 2, 3, 4, 5), line
            for shown in (out, err):
                assert not CONTROLS.search(shown), (line, output, shown)
                assert "internal error" not in shown, (line, output, shown)


def test_commands_print_by_what_cleans() -> None:
    """One place writes: what does not go through it must be looked at, and is not there."""
    own = {"cli/terminal/console.py"}
    for path in sorted((ROOT / "cli").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in own or name.startswith(
            ("cli/chat/", "cli/repl/", "cli/screen/", "cli/slash/")
        ):  # see test_screen.py
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "click.secho", "sys.stdout.write", "sys.stderr.write", "Text") or (
                    name in ("cli/terminal/perplexity_progress.py", "cli/terminal/plot.py")
                ), f"{name}:{node.lineno}: {called}"

"""What README and docs/ show is true: their Python runs, their commands, options, paths and links exist."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import doc_pages
import numpy as np
import pytest
import supported_table
from doc_pages import PAGES
from model_logits import TOKENS, logits
from paths import ROOT
from template_conversations import source
from tiny_models import LLAMA, forward, write_model
from vocabularies import model_file

from subbyte import models
from subbyte.cli.main import cli
from subbyte.kernels import isas
from subbyte.runtime.template.chat_template import CHATML

SHAPE = {**LLAMA, "n_embd": 256, "head_dim": 64, "n_ff": 512}  # rows that blocks of 256 weights fill
BASES = ("smollm2", "f16.gguf", "base.gguf")
MODELS = ("model.gguf", "a.gguf", "b.gguf", "q8_0.gguf", "q4_k.gguf", "q4_k_m.gguf", "iq2_xs.gguf", "IQ2_M.gguf",
          "DynamicGate-IQ2_S.gguf")  # fmt: skip
TEXT = "the tin and the can are on the lane, and in the other an inn then rings the one horn. " * 20
LLAMA_CPP = {"--kl-divergence", "--kl-divergence-base", "--show-statistics", "--tensor-type-file"}
CLIENTS = {"--model_args", "--batch_size", "--device", "--apply_chat_template", "--schema"}

each_page = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return PAGES[page].read_text()


# ---- Python ----


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the pages' code reads: small models of two kinds, and texts."""
    folder = tmp_path_factory.mktemp("docs")
    strings = {"general.name": "SmolLM2 tiny", "tokenizer.chat_template": CHATML}
    write_model(folder / "smollm2", shape=SHAPE, strings=strings)
    write_model(folder / "model.gguf", shape=SHAPE, types=["Q8_0", "Q4_0"], strings=strings)
    write_model(folder / "qwen3-4b.gguf", shape=SHAPE, strings={**strings, "tokenizer.chat_template": source("qwen3")})
    for name in (*BASES, *MODELS):
        if not (folder / name).exists():
            (folder / name).symlink_to("smollm2" if name in BASES else "model.gguf")
    for name in ("wiki.test.raw", "calibration.txt"):
        (folder / name).write_text(TEXT)
    messages = '[{"role": "user", "content": "the"}, {"role": "assistant", "content": "inn and the ring"}]'
    (folder / "chat.jsonl").write_text(f'{{"messages": {messages}}}\n' * 5)
    (folder / "science.jsonl").symlink_to(ROOT / "tests/clients/science.jsonl")
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("page", [page for page in PAGES if doc_pages.python_blocks(text_of(page))])
def test_python_runs(page: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a page in order, in one namespace, where the names of models and texts are files."""
    monkeypatch.chdir(files)
    namespace: dict[str, Any] = {"__name__": "page"}
    for number, code in enumerate(doc_pages.python_blocks(text_of(page)), 1):
        exec(compile(code, f"{page}, block {number}", "exec", dont_inherit=True), namespace)


@pytest.mark.model
def test_readmes_python_runs_on_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    path = model_file("smollm2")
    (code,) = doc_pages.python_blocks(text_of("README.md"))
    exec(compile(code.replace('sb.load("smollm2")', f"sb.load({str(path)!r})"), "README", "exec"), {})
    assert "Paris" in capsys.readouterr().out


def test_the_architecture_of_the_page_computes_what_numpy_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = doc_pages.python_blocks(text_of("docs/add-an-architecture.md"))
    module = ModuleType("subbyte.models.toy")
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(models, "ARCHITECTURES", (*models.ARCHITECTURES, "toy"))
    weights = write_model(tmp_path / "m.gguf", "toy", LLAMA)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS) - forward("toy", weights, TOKENS, LLAMA)).max() < 1e-4


# ---- commands ----


def parse(arguments: str) -> None:
    """Reads a command line as click would; raises UsageError for what does not exist. No file need be there."""
    words, command = shlex.split(arguments), cli
    context = click.Context(cli, info_name="subbyte", **cli.context_settings)  # a command keeps the -h it sees first
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            raise click.UsageError(f"no command {name}")
        command = command.commands[name]
        context = click.Context(command, parent=context, info_name=name)
    given, *_ = command.make_parser(context).parse_args(words)
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice) and isinstance(value := given.get(parameter.name or ""), str):
            parameter.type.convert(value, parameter, context)


@each_page
def test_commands_and_their_options_exist(page: str) -> None:
    for arguments in doc_pages.subbyte_commands(text_of(page)):
        try:
            parse(arguments)
        except click.UsageError as error:
            pytest.fail(f"{page}: subbyte {arguments}: {error.format_message()}")


def test_a_command_that_does_not_exist_is_found() -> None:
    for wrong in ("chatt", "chat --tempo 1", "bench -o yaml", "recipe shout", "chat --think --temp"):
        with pytest.raises(click.UsageError):
            parse(wrong)


def known_options(command: click.Command) -> set[str]:
    """Every option of a command and of the commands below it."""
    own = {name for p in command.params for name in [*p.opts, *p.secondary_opts] if name.startswith("-")}
    return own.union(*map(known_options, command.commands.values())) if isinstance(command, click.Group) else own


@each_page
def test_options_named_in_the_text_exist(page: str) -> None:
    folders = [ROOT / "benchmarks", ROOT / "tests" / "support"]
    scripts = "".join(script.read_text() for folder in folders for script in folder.rglob("*.py"))
    known = known_options(cli) | LLAMA_CPP | CLIENTS | {"--help"} | set(re.findall(r'"(--[\w-]+)"', scripts))
    named = {span.split()[0].partition("=")[0] for span in doc_pages.inline(text_of(page)) if span.startswith("--")}
    assert named <= known


@each_page
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [*doc_pages.shell_lines(text_of(page)), *doc_pages.inline(text_of(page))]
    assert {target for line in lines for target in re.findall(r"^make (?:-s )?([\w-]+)", line)} <= targets


# ---- what pages point at ----


@each_page
def test_paths_exist(page: str) -> None:
    assert [path for path in doc_pages.repository_paths(text_of(page)) if not (ROOT / path).exists()] == []


@each_page
def test_links_lead_somewhere(page: str) -> None:
    for file, anchor in doc_pages.links(text_of(page)):
        target = (PAGES[page].parent / file).resolve() if file else PAGES[page]
        assert target.exists(), file
        assert not anchor or anchor in doc_pages.anchors(target), f"{file}#{anchor}"


@each_page
def test_nothing_is_left_to_fill_in(page: str) -> None:
    assert not re.findall(r"^[A-Z]+$|TODO|XXX", doc_pages.prose(text_of(page)), re.MULTILINE)


def test_the_index_has_every_page() -> None:
    named = {file for file, _ in doc_pages.links(text_of("docs/index.md"))}
    assert {path.name for path in PAGES.values() if path.parent.name == "docs"} - {"index.md"} <= named


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 7000


# ---- what runs ----


@pytest.mark.parametrize("path", supported_table.PAGES)
def test_what_runs_is_the_codes(path: Path) -> None:
    expected = supported_table.PAGES[path]()
    assert supported_table.written(path.read_text()) == expected, (
        "run: .venv/bin/python tests/support/supported_table.py"
    )


@pytest.mark.parametrize("isa", isas())
def test_the_pages_name_what_this_machine_has(isa: str) -> None:
    assert any(isa in names for names in supported_table.processors().values())

"""/model in the chat: another model goes on with the conversation."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminals import CTRL_D, Terminal
from tiny_models import write_model

import subbyte as sb
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keeper import FILE, Keeper
from subbyte.cli.chat.model_switch import ModelSwitch
from subbyte.cli.slash.models import short_name
from subbyte.cli.slash.slash_commands import run


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplContext]:
    """A chat with one tiny model, beside which there is another one."""
    for key, name in {"HOME": "home", "SUBBYTE_CACHE": "own", "LLAMA_CACHE": "models"}.items():
        monkeypatch.setenv(key, str(tmp_path / name))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models/one.gguf")
    write_model(tmp_path / "models/two.gguf", "qwen2", seed=1)
    (tmp_path / "models/broken.gguf").write_bytes(b"GGUF")

    def open_model(name: str) -> sb.Model:
        return sb.load(name, threads=1)

    model = open_model("llama.cpp:one")
    start = sb.Sampling()
    chat = model.chat(n_ctx=128, system="Be kind.", sampling=sb.Sampling(temperature=0.0, seed=3), max_tokens=2)
    models = ModelSwitch(open_model, model, start, {"n_ctx": 128})
    with Keeper(tmp_path / FILE) as keeper:
        keeper.hold_with("llama.cpp:one", str(model.path))
        chats = tmp_path / "chats"
        context = ReplContext(chat, "one", "one: a model", chats, io.StringIO(), models=models, keeper=keeper)
        yield context
    context.chat.close()
    models.model.close()


def says(context: ReplContext, line: str) -> str:
    assert isinstance(context.out, io.StringIO)
    context.out.seek(0)
    context.out.truncate()
    run(context, line)
    return context.out.getvalue()


def test_the_conversation_goes_on_with_another_model(context: ReplContext) -> None:
    assert context.models is not None
    before, model = context.chat, context.models.model
    before.send("hello")
    context.chat.sampling = sb.Sampling(temperature=0.0, seed=3, top_k=7)
    messages = before.messages
    assert says(context, "/model llama.cpp:two").startswith("llama.cpp:two (qwen2, ")
    chat = context.chat
    assert chat is not before and chat.messages == messages and len(messages) == 2
    assert (chat.system, chat.max_tokens, chat.n_ctx) == ("Be kind.", 2, 128)
    assert (chat.sampling.temperature, chat.sampling.seed, chat.sampling.top_k) == (0.0, 3, 7)
    assert context.model == "llama.cpp:two" and "qwen2" in context.details
    with pytest.raises(sb.SubbyteError):
        model.session()  # the one before is closed
    assert chat.send("and then?").usage.completion > 0 and len(chat.messages) == 4
    context.keep()
    (kept,) = context.keeper.store.recent()
    assert (kept.model, kept.path) == ("llama.cpp:two", str(context.models.model.path)) and kept.n_messages == 4
    says(context, "/model llama.cpp:one")
    assert len(context.chat.messages) == 4


def test_what_was_for_the_first_model_alone_is_named_once(context: ReplContext) -> None:
    assert context.models is not None
    context.models.for_first = ("--draft", "--chat-template")
    assert says(context, "/model llama.cpp:two").endswith("note: not taken along: --draft, --chat-template\n")
    assert "note:" not in says(context, "/model llama.cpp:one")


def test_a_question_without_an_answer_is_kept(context: ReplContext) -> None:
    answer = context.chat.stream("hello")
    answer.close()
    says(context, "/model llama.cpp:two")
    assert context.chat.unanswered == "hello"


@pytest.mark.parametrize("name", ["llama.cpp:broken", "nothing", "llama.cpp:", "/dev/null", "."])
def test_an_error_leaves_the_old_model_in_place(context: ReplContext, name: str) -> None:
    context.chat.send("hello")
    before = context.chat
    with pytest.raises(sb.SubbyteError):
        run(context, f"/model {name}")
    assert context.chat is before and context.model == "one"
    assert context.chat.send("again").usage.completion > 0


def test_a_context_that_does_not_fit_leaves_the_old_model_in_place(
    context: ReplContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = context.chat
    monkeypatch.setattr("subbyte.runtime.opened_model.available_memory", lambda: 1000)
    with pytest.raises(sb.ResourceError, match="ask for a smaller one"):
        run(context, "/model llama.cpp:two")
    assert context.chat is before and before.send("again").usage.completion > 0


def test_model_alone_lists(context: ReplContext) -> None:
    lines = says(context, "/model").splitlines()
    assert lines[0] == "now: one: a model"
    text = "\n".join(lines)
    assert "/model llama.cpp:one  " in text and "a base model" in text
    assert "/model llama.cpp:broken  4 B, damaged" in text and "/model smollm2  to download, 98.4 MB" in text


def test_short_names() -> None:
    assert [short_name(name) for name in ("smollm2", "/a/b.c-Q4.gguf", "hf:u/Qwen2.5-GGUF:Q4_0", "ollama:x:1b")] == [
        "smollm2", "b.c-Q4", "Qwen2.5-GGUF:Q4_0", "ollama:x:1b",
    ]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("columns", "rows", "kind"), [(80, 24, "xterm"), (40, 12, "xterm"), (200, 50, "xterm"), (80, 24, "dumb")]
)
def test_at_a_terminal(tmp_path: Path, terminal: Callable[..., Terminal], columns: int, rows: int, kind: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    write_model(folder / "one.gguf", strings={"tokenizer.chat_template": "{{ messages[-1].content }}"})
    write_model(folder / "two.gguf", "qwen2", strings={"tokenizer.chat_template": "{{ messages[-1].content }}"})
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "SUBBYTE_CACHE": str(tmp_path), "TERM": kind}
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()"]
    screen = terminal(
        [*command, "chat", "llama.cpp:one", "-c", "64", "-n", "2", "--seed", "1"], columns=columns, rows=rows,
        LLAMA_CACHE=str(folder), **env,
    )  # fmt: skip
    typed = ""

    def asks() -> bool:
        """Whether an empty prompt is at the end, above the bottom line if there is one."""
        last = [line for line in screen.lines if line][-2:]
        return any(line.startswith(">>>") and not (typed and typed in line) for line in last)

    for typed, shown in (
        ("hello", "/continue"), ("/model", "/model llama.cpp:two"), ("/model llama.cpp:two", "messages"),
        ("/model llama.cpp:three", "llama.cpp has no 'three'"), ("again", "again"),
    ):  # fmt: skip
        screen.wait(asks, "the prompt")
        screen.keys(f"{typed}\r")
        screen.wait(lambda shown=shown: shown in "".join(screen.lines), shown)
    screen.wait(asks, "the prompt")
    screen.keys(CTRL_D)
    assert screen.end() == 0

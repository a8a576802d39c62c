"""A conversation without a model, and a program that holds it at a terminal: `python fake_chat.py DATA_DIR`.

Each answer repeats the question. A question that starts with "slow" is answered one word at a time until a file
DATA_DIR/go appears, so that a test decides when an answer ends. A "fail" question does not fit, a "long" one reads
first, a "colour" one is answered by escape sequences, a "markdown" one by Markdown, a "call" one by calls of the tools
there are, whose results the next answer repeats. A "think" question is reasoned about first, a "ponder" one until that
file appears.
"""

import io
import itertools
import json
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from subbyte.errors import ContextOverflow
from subbyte.runtime.chat.chat_context import ContextPolicy
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.presets import Preset
from subbyte.runtime.chat.saved_chat import read_conversation, write_conversation
from subbyte.runtime.chat.settings import ChatSettings
from subbyte.runtime.chat.turns import Forgotten
from subbyte.runtime.generation.events import (
    Done,
    Event,
    PrefillProgress,
    Reply,
    StopReason,
    TextDelta,
    ThinkingDelta,
    Timings,
    Usage,
)
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.tool import Tool, ToolSource, tools_by_name
from subbyte.runtime.types import CheckpointUse

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat

FULL = 30  # tokens; a smaller context is full after one answer
MARKDOWN = """## Three things

1. A **bold word** in a sentence that is long enough to be wrapped on eighty columns.
2. Code of Python:

   ```python
   def f(x):
       return x  # a line of code that is longer than any of the narrow terminals that it is shown on
   ```

| Name | Size |
|------|-----:|
| one  |    1 |
| two  |   22 |

Done, with a [link](https://example.org) and 日本語 in `code`.
"""
PRESETS = {
    "careful": Preset("careful", {"temperature": 0.6, "top_k": 20}, True, "https://example.org/card"),
    "quick": Preset("quick", {"top_p": 0.8}, None, "a letter"),
}


class FakeAnswer:
    """Has the attributes and methods of `subbyte.runtime.generation.generation.Generation` that the chat uses."""

    def __init__(self, events: Iterable[Event], limit: StopReason = "eog") -> None:
        self._events, self._limit = self._note(events), limit
        self.text, self.thinking, self.n_thinking, self.ended = "", "", 0, False
        self.tool_calls: tuple[ToolCall, ...] = ()

    def _note(self, events: Iterable[Event]) -> Generator[Event]:
        for event in events:
            self.text += event.text if isinstance(event, TextDelta) else ""
            self.thinking += event.text if isinstance(event, ThinkingDelta) else ""
            self.tool_calls += (event,) if isinstance(event, ToolCall) else ()
            self.n_thinking += isinstance(event, ThinkingDelta)
            yield event
        self.ended = True
        yield Done(self.reply)

    @property
    def reply(self) -> Reply:
        usage, timings = Usage(10, 4, completion=20, thinking=self.n_thinking), Timings(0.5, 2.0, 12.0, 10.0)
        return Reply(
            self.text, (), usage, timings, self._limit if self.ended else "cancelled", self.thinking,
            tool_calls=self.tool_calls,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def close(self) -> None:
        self._events.close()


class FakeChat:
    """Has the attributes and methods of `subbyte.runtime.chat.chat.Chat` that the chat at the terminal uses."""

    n_ctx = 1000
    thinking: bool | None = None
    reasoning_budget: int | None = None
    can_think = True
    checkpoints = CheckpointUse((), 0, 0, 0)
    context_policy: ContextPolicy = "stop"
    logprobs: int | None = None
    constraint: Constraint | None = None
    max_tokens: int | None = None
    forgotten = Forgotten()
    can_grow = True
    n_ctx_train = 4000

    def __init__(self, go: Path | None = None) -> None:
        self.system: str | None = None
        self.sampling, self.go = Sampling(), go
        self._messages: list[Message] = []
        self._before: list[Message] = []  # the answer that is made again
        self._answer: FakeAnswer | None = None
        self.tools: Mapping[str, Tool] = {}

    def __enter__(self) -> "FakeChat":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def _said(self) -> list[Message]:
        answer = self._answer
        if answer and (answer.text or answer.thinking or answer.tool_calls):
            return [*self._messages, Message("assistant", answer.text, answer.thinking, answer.tool_calls)]
        return [*self._messages, *self._before]

    @property
    def messages(self) -> list[Message]:
        return self._said[: len(self._said) - len(self.waiting)]

    @property
    def waiting(self) -> list[Message]:
        return [message for message in self._said[-1:] if message.role == "user"]

    @property
    def unanswered(self) -> str | None:
        return self.waiting[-1].content if self.waiting else None

    @property
    def settings(self) -> ChatSettings:
        return ChatSettings(self.sampling, "int8", "f16", self.n_ctx, None, (), self.system, self.thinking, None)

    @property
    def last(self) -> Reply | None:
        return self._answer.reply if self._answer else None

    @property
    def n_past(self) -> int:
        return sum(len(message.content.split()) for message in self._said)

    def stream(self, text: str) -> FakeAnswer:
        if text.rpartition("\n")[2].startswith("fail"):
            self._make_room()
        self._messages, self._before = [*self.messages, Message("user", text)], []
        self._answer = FakeAnswer(self._events(text), "length" if text.startswith("cut") else "eog")
        return self._answer

    def use_tools(self, tools: Iterable[ToolSource]) -> None:
        self.tools = tools_by_name(tools)

    def stream_tool_results(self, results: Sequence[str]) -> FakeAnswer:
        calls = self.messages[-1].tool_calls
        assert len(calls) == len(results) > 0
        rows = [Message("tool", result, tool_call_id=call.id) for call, result in zip(calls, results, strict=True)]
        self._messages = [*self.messages, *rows]
        self._answer = FakeAnswer([TextDelta(f"I see {' and '.join(results)}")])
        return self._answer

    def regenerate(self) -> FakeAnswer:
        if not self._messages:
            raise ValueError("nothing was said yet")
        said = self._said
        self._before = said[-1:] if said[-1].role == "assistant" else []
        self._messages = said[: len(said) - len(self._before)]
        self._answer = FakeAnswer(self._events("again: " + self._messages[-1].content))
        return self._answer

    def undo(self) -> str:
        said = self._said
        places = [i for i, message in enumerate(said) if message.role == "user"]
        if not places:
            raise ValueError("there is nothing to take back: nothing was said yet")
        self.resume(said[: places[-1]], system=self.system)
        return said[places[-1]].content

    def resume(self, messages: Sequence[Message], *, system: str | None = None) -> None:
        self._messages, self._before, self._answer, self.system = list(messages), [], None, system

    def continue_answer(self) -> FakeAnswer:
        if self._answer is None:
            raise ValueError("there is no answer to continue: nothing was said yet")
        if self.n_ctx < FULL:
            self._make_room()
        said = self._answer.text
        self._answer = FakeAnswer([TextDelta("and so on")])
        self._answer.text = said
        return self._answer

    def _make_room(self) -> None:
        if self.context_policy == "stop":
            raise ContextOverflow(f"the context of {self.n_ctx} tokens is full")
        if self.context_policy == "grow":
            self.resize(self.n_ctx_train)
        else:
            self.forget(2)

    def forget(self, n_turns: int = 1) -> Forgotten:
        new = Forgotten(n_turns, 15 * n_turns)
        self.forgotten += new
        return new

    def resize(self, n_ctx: int) -> None:
        self.n_ctx = n_ctx

    def _events(self, text: str) -> Iterator[Event]:
        if text.startswith("long"):
            yield PrefillProgress(512, 2048)
        if text.startswith(("think", "ponder")):
            yield from map(ThinkingDelta, self._reasoning(text))
        if text.startswith("call"):
            for i, name in enumerate(self.tools):
                yield ToolCall(f"call{i:05}", name, json.loads(text.removeprefix("call") or "{}"))
            return
        for word in MARKDOWN if text == "markdown" else self._words(text):
            yield TextDelta(word)

    def _reasoning(self, text: str) -> Iterator[str]:
        yield "\n"
        yield "Let me see\x1b[31m."
        if text.startswith("ponder"):
            yield from self._numbers()
        yield "\n\nDone.\n"

    def _numbers(self) -> Iterator[str]:
        for number in itertools.count():
            if self.go is None or self.go.exists():
                return
            yield f" {number}"
            time.sleep(0.02)

    def _words(self, text: str) -> Iterator[str]:
        yield "You said: "
        yield "\x1b]0;title\x07\x1b[31mred" if text == "colour" else text
        if text.startswith("slow"):
            yield from self._numbers()

    def clear(self) -> None:
        self.resume([], system=self.system)

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        write_conversation(path, None, self.messages, overwrite=overwrite)

    def load(self, path: Path) -> None:
        self.resume(read_conversation(path)[1])


def as_chat(fake: FakeChat) -> "Chat":
    """What the terminal's chat takes it for; it asks for no more than what a FakeChat has."""
    return cast("Chat", fake)


def talk(data: Path, *inputs: str | BaseException, chat: FakeChat | None = None, **options: Any) -> str:
    """The whole output of a chat with these inputs; an exception among them is raised at the prompt.

    What the chat asks is answered by the next input.
    """
    from subbyte.cli.chat.context import ReplContext
    from subbyte.cli.chat.keeper import FILE, Keeper
    from subbyte.cli.repl.repl import run

    script = iter([*inputs, EOFError()])

    def read() -> str:
        item = next(script)
        if isinstance(item, BaseException):
            raise item
        return item

    out = io.StringIO()

    def ask(question: str) -> str:
        out.write(question + "\n")
        return read()

    keeper = options.pop("keeper", None) or Keeper(data / FILE)
    keeper.hold_with("fake", "/models/fake.gguf")
    with keeper:
        context = ReplContext(
            as_chat(chat or FakeChat()),
            "fake",
            "fake: no model",
            data / "chats",
            out,
            keeper=keeper,
            **{"ask": ask, **options},
        )
        run(context, read)
    return out.getvalue()


def main() -> None:
    """Talks at the terminal."""
    from subbyte.cli.chat.context import ReplContext
    from subbyte.cli.chat.keeper import FILE, Keeper
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import run

    data = Path(sys.argv[1])
    chat = FakeChat(data / "go")
    with Keeper(data / FILE) as keeper:
        keeper.hold_with("smollm2", "/models/smollm2.gguf")
        context = ReplContext(
            as_chat(chat), "smollm2", "smollm2: a fake", data / "chats", sys.stdout, PRESETS, keeper=keeper
        )
        run(context, open_prompt(context, data / "history"))
    print("left the chat")


if __name__ == "__main__":
    main()

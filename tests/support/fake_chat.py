"""A conversation without a model, and a program that holds it at a terminal: `python fake_chat.py DATA_DIR`.

Each answer repeats the question. A question that starts with "slow" is answered one word at a time until a file
DATA_DIR/go appears, so that a test decides when an answer ends. A "fail" question raises, a "long" one reads first,
a "colour" one is answered by escape sequences. A "think" question is reasoned about first, a "ponder" one until that
file appears.
"""

import io
import itertools
import json
import sys
import time
from pathlib import Path

from subbyte.errors import ContextOverflow
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.presets import Preset
from subbyte.runtime.generation.events import Done, PrefillProgress, Reply, TextDelta, ThinkingDelta, Timings, Usage
from subbyte.runtime.generation.sampling import Sampling

PRESETS = {
    "careful": Preset("careful", {"temperature": 0.6, "top_k": 20}, True, "https://example.org/card"),
    "quick": Preset("quick", {"top_p": 0.8}, None, "a letter"),
}


class FakeAnswer:
    """Has the attributes and methods of `subbyte.runtime.generation.generation.Generation` that the chat uses."""

    def __init__(self, events, limit="eog"):
        self._events, self._limit = self._note(events), limit
        self.text, self.thinking, self.n_thinking, self.ended = "", "", 0, False

    def _note(self, events):
        for event in events:
            self.text += event.text if isinstance(event, TextDelta) else ""
            self.thinking += event.text if isinstance(event, ThinkingDelta) else ""
            self.n_thinking += isinstance(event, ThinkingDelta)
            yield event
        self.ended = True
        yield Done(self.reply)

    @property
    def reply(self):
        usage, timings = Usage(10, 4, completion=20, thinking=self.n_thinking), Timings(0.5, 2.0, 12.0, 10.0)
        return Reply(self.text, (), usage, timings, self._limit if self.ended else "cancelled", self.thinking)

    def __iter__(self):
        return self._events

    def close(self):
        self._events.close()


class FakeChat:
    """Has the attributes and methods of `subbyte.runtime.chat.chat.Chat` that the chat at the terminal uses."""

    n_ctx = 1000
    thinking = reasoning_budget = None
    can_think = True

    def __init__(self, go=None):
        self.system, self.sampling, self.go, self._messages, self._answer = None, Sampling(), go, [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def messages(self):
        answer = self._answer
        return [*self._messages, Message("assistant", answer.text, answer.thinking)] if answer else self._messages

    @property
    def last(self):
        return self._answer and self._answer.reply

    @property
    def n_past(self):
        return sum(len(message.content.split()) for message in self.messages)

    def stream(self, text):
        if text.startswith("fail"):
            raise ContextOverflow("the context of 1000 tokens is full")
        self._messages = [*self.messages, Message("user", text)]
        self._answer = FakeAnswer(self._events(text), "length" if text.startswith("cut") else "eog")
        return self._answer

    def regenerate(self):
        if not self._messages:
            raise ValueError("nothing was said yet")
        self._answer = FakeAnswer(self._events("again: " + self._messages[-1].content))
        return self._answer

    def _events(self, text):
        if text.startswith("long"):
            yield PrefillProgress(512, 2048)
        if text.startswith(("think", "ponder")):
            yield from map(ThinkingDelta, self._reasoning(text))
        for word in self._words(text):
            yield TextDelta(word)

    def _reasoning(self, text):
        yield "\n"
        yield "Let me see\x1b[31m."
        if text.startswith("ponder"):
            yield from self._numbers()
        yield "\n\nDone.\n"

    def _numbers(self):
        for number in itertools.count():
            if self.go is None or self.go.exists():
                return
            yield f" {number}"
            time.sleep(0.02)

    def _words(self, text):
        yield "You said: "
        yield "\x1b]0;title\x07\x1b[31mred" if text == "colour" else text
        if text.startswith("slow"):
            yield from self._numbers()

    def clear(self):
        self._messages, self._answer = [], None

    def save(self, path):
        path.write_text(json.dumps([message.to_dict() for message in self.messages]))

    def load(self, path):
        self._messages, self._answer = [Message(**row) for row in json.loads(path.read_text())], None


def talk(data, *inputs, chat=None, **options):
    """The whole output of a chat with these inputs; an exception among them is raised at the prompt."""
    from subbyte.cli.repl.context import ReplContext
    from subbyte.cli.repl.repl import run

    script = iter([*inputs, EOFError()])

    def read():
        item = next(script)
        if isinstance(item, BaseException):
            raise item
        return item

    out = io.StringIO()
    run(ReplContext(chat or FakeChat(), "fake", "fake: no model", data / "chats", out, **options), read)
    return out.getvalue()


def main():
    """Talks at the terminal."""
    from subbyte.cli.repl.context import ReplContext
    from subbyte.cli.repl.prompt import open_prompt
    from subbyte.cli.repl.repl import run

    data = Path(sys.argv[1])
    chat = FakeChat(data / "go")
    context = ReplContext(chat, "smollm2", "smollm2: a fake", data / "chats", sys.stdout, PRESETS)
    run(context, open_prompt(context, data / "history"))
    print("left the chat")


if __name__ == "__main__":
    main()

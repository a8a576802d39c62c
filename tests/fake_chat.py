"""A conversation without a model, and a program that holds it at a terminal: `python fake_chat.py DATA_DIR`.

Each answer repeats the question. A question that starts with "slow" is answered one word at a time until a file
DATA_DIR/go appears, so that a test decides when an answer ends. A "fail" question raises, a "long" one reads first,
a "colour" one is answered by escape sequences.
"""

import itertools
import json
import sys
import time
from pathlib import Path

from subbyte.errors import ContextOverflow
from subbyte.runtime.events import Done, PrefillProgress, Reply, TextDelta, Timings, Usage
from subbyte.runtime.sampling import Sampling


class FakeChat:
    """Has the attributes and methods of `subbyte.cli.repl.Chat`."""

    n_ctx = 1000

    def __init__(self, go=None):
        self.system, self.sampling, self.messages, self.go = None, Sampling(), [], go

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def n_past(self):
        return sum(len(message["content"].split()) for message in self.messages)

    def stream(self, text):
        self.messages.append({"role": "user", "content": text})
        yield from self._answer(text)

    def regenerate(self):
        while self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        yield from self._answer("again: " + self.messages[-1]["content"])

    def _answer(self, text):
        said = []
        try:
            if text.startswith("fail"):
                raise ContextOverflow("the context of 1000 tokens is full; /clear starts anew")
            if text.startswith("long"):
                yield PrefillProgress(512, 2048)
            for word in self._words(text):
                said.append(word)
                yield TextDelta(word)
        finally:
            self.messages.append({"role": "assistant", "content": "".join(said)})
        usage, timings = Usage(prompt=10, reused=4, completion=20), Timings(0.5, 2.0, 12.0, 10.0)
        yield Done(Reply("".join(said), (), usage, timings, "length" if text.startswith("cut") else "eog"))

    def _words(self, text):
        yield "You said: "
        yield "\x1b]0;title\x07\x1b[31mred" if text == "colour" else text
        if text.startswith("slow"):
            for number in itertools.count():
                if self.go is None or self.go.exists():
                    return
                yield f" {number}"
                time.sleep(0.02)

    def clear(self):
        self.messages.clear()

    def save(self, path):
        path.write_text(json.dumps(self.messages))

    def load(self, path):
        self.messages = json.loads(path.read_text())


def main():
    """Talks at the terminal."""
    from subbyte.cli.prompt import open_prompt
    from subbyte.cli.repl import Repl

    data = Path(sys.argv[1])
    repl = Repl(FakeChat(data / "go"), "smollm2", "smollm2: a fake", data / "chats", read=str, out=sys.stdout)
    repl.read = open_prompt(repl, data / "history")
    repl.run()
    print("left the chat")


if __name__ == "__main__":
    main()

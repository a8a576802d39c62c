"""Many clients of one server for a long time, not all of them good ones: what it must not do, it did not.

    python benchmarks/serving_soak.py model.gguf --clients 64 --seconds 600

Some clients read their answers, streamed or whole; some go away at any moment, some read slowly, some send rubbish. No
request may fail but by an error of its own or a full queue, every answer must be the one that its request has alone,
and at the end the server must hold no more memory, threads and files than after the warm-up, with all slots free.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
from http_client import request

WARM_UP = 0.3  # of the time, in which caches fill
GROWTH = 48 << 20  # bytes of resident memory that may come behind it
QUESTION = "Tell me something about"
SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}


def requests() -> list[tuple[str, dict[str, Any]]]:
    """Paths and bodies, whose answers are the same each time."""
    chats: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"{QUESTION} {what}."}], "temperature": 0, "max_tokens": n}
        for what, n in (("rivers", 24), ("bread", 12), ("the moon", 40), ("chess", 3))
    ]
    chats += [{**chats[i], "temperature": 1.0, "seed": i, "n": 1 + i} for i in (0, 1)]
    chats.append({**chats[1], "logprobs": True, "top_logprobs": 2})
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    chats.append({**chats[2], "response_format": schema})
    chats.append({**chats[0], "messages": [*chats[0]["messages"], {"role": "assistant", "content": "Rivers are"}]})
    texts: list[dict[str, Any]] = [
        {"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0, "echo": True},
        {"prompt": ["One, two,", "A, B,"], "max_tokens": 6, "temperature": 0, "logprobs": 1, "stop": ["\n"]},
    ]
    return [*(("/v1/chat/completions", chat) for chat in chats), *(("/v1/completions", text) for text in texts)]


RUBBISH: list[bytes] = [
    b"", b"{", b"[" * 5000, b"null", b'{"messages": []}', b'{"messages": [{"role": "user"}], "max_tokens": "x"}',
    b'{"messages": [{"role": "wizard", "content": "a"}]}', b'{"prompt": 1}', b"\xff" * 1000, b'{"n": 1e400}',
    b'{"messages": [{"role": "user", "content": "a"}], "model": "../../etc/passwd"}',
    b'{"prompt": [9999999], "max_tokens": 1}',
]  # fmt: skip


@dataclass
class Load:
    """What clients did to a server, and what it did wrong. alone: the answer that each request has alone."""

    url: str
    asked: Sequence[tuple[str, dict[str, Any]]] = field(default_factory=requests)
    alone: list[Any] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    async def ask_alone(self) -> None:
        """Asks for each answer by itself, which all others are held against."""
        for path, body in self.asked:
            async with request(self.url + path, body) as response:
                answer = json.loads(await response.body())
                if response.status != 200:
                    raise EOFError(f"{path} {body}: {answer}")
                self.alone.append(told(answer))

    async def run(self, n_clients: int, seconds: float) -> None:
        """So many clients at once, for so long."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._client(random.Random(i), until) for i in range(n_clients)))

    async def _client(self, chance: random.Random, until: float) -> None:
        kinds: Sequence[Callable[[random.Random, int], Awaitable[None]]] = (
            self._whole, self._streamed, self._streamed, self._vanishing, self._slow, self._rubbish
        )  # fmt: skip
        while time.monotonic() < until:
            kind = chance.choice(kinds)
            try:
                await asyncio.wait_for(kind(chance, chance.randrange(len(self.asked))), 300)
            except (EOFError, OSError, asyncio.TimeoutError, ValueError) as error:
                self.faults.append(f"{kind.__name__}: {error!r}")

    async def _whole(self, _: random.Random, which: int) -> None:
        path, body = self.asked[which]
        async with request(self.url + path, body) as response:
            answer = json.loads(await response.body())
            if await self._is_begun(response.status, response.headers, answer):
                self._compare(which, told(answer))

    async def _streamed(self, _: random.Random, which: int, pause: float = 0) -> None:
        path, body = self.asked[which]
        async with request(self.url + path, {**body, "stream": True}, limit=1 << 16) as response:
            if not await self._is_begun(response.status, response.headers, None):
                return
            choices: dict[int, list[Any]] = {}
            async for event in response.events():
                if "error" in event:
                    self.faults.append(f"a stream failed: {event['error']}")
                    return
                for choice in event.get("choices", ()):
                    one = choices.setdefault(choice["index"], ["", None])
                    one[0] += choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
                    one[1] = choice["finish_reason"] or one[1]
                await asyncio.sleep(pause)
            self._compare(which, [tuple(choices[i]) for i in sorted(choices)])

    async def _slow(self, chance: random.Random, which: int) -> None:
        await self._streamed(chance, which, pause=0.05 * chance.random())

    async def _vanishing(self, chance: random.Random, which: int) -> None:
        """Goes away before its request is whole, after it, or while it is answered."""
        path, body = self.asked[which]
        written = json.dumps({**body, "stream": chance.random() < 0.7, "max_tokens": 300}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(written)}\r\n\r\n".encode()
        sent = (head + written)[: chance.choice((None, None, None, 10, len(head), len(head) + 20))]
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        try:
            await asyncio.wait_for(reader.read(chance.choice((1, 500, 5000))), chance.random())
        except asyncio.TimeoutError:
            pass
        writer.close() if chance.random() < 0.5 else writer.transport.abort()
        self.counts["vanished"] += 1

    async def _rubbish(self, chance: random.Random, _: int) -> None:
        body = chance.choice(RUBBISH)
        path = chance.choice(("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/nothing"))
        async with request(self.url + path, body) as response:
            answer = json.loads(await response.body())
            self.counts[f"rubbish {response.status}"] += 1
            if response.status not in (400, 404) or "message" not in answer["error"]:
                self.faults.append(f"rubbish {body[:60]!r} to {path}: {response.status} {str(answer)[:200]}")

    async def _is_begun(self, status: int, headers: Mapping[str, str], answer: Any) -> bool:
        """Whether a request was taken on; if the queue was full, it has waited for as long as it was told to."""
        self.counts[str(status)] += 1
        if status == 200:
            return True
        if status in (429, 503) and "retry-after" in headers:
            await asyncio.sleep(float(headers["retry-after"]))
        else:
            self.faults.append(f"status {status}: {answer}")
        return False

    def _compare(self, which: int, answer: Any) -> None:
        if answer != self.alone[which]:
            self.faults.append(f"{self.asked[which]}: {answer!r}, but alone {self.alone[which]!r}")


def told(answer: Any) -> list[tuple[str, str]]:
    """The text and the end of each choice."""
    texts = [(choice["message"]["content"] if "message" in choice else choice["text"]) for choice in answer["choices"]]
    return [(text, choice["finish_reason"]) for text, choice in zip(texts, answer["choices"], strict=True)]


def held(pid: int) -> tuple[int, int, int]:
    """Resident bytes, threads and open files of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    n_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(status["VmRSS"].split()[0]) << 10, int(status["Threads"]), n_files


async def watched(load: Load, pid: int, n_clients: int, seconds: float) -> list[tuple[int, int, int]]:
    """Runs a load, and looks at the server's process now and then."""
    seen = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / 60)
            seen.append(held(pid))

    watching = asyncio.create_task(watch())
    try:
        await load.ask_alone()
        await load.run(n_clients, seconds)
    finally:
        watching.cancel()
    return seen


def check(load: Load, seen: Sequence[tuple[int, int, int]], idle: tuple[int, int, int], url: str) -> None:
    """Adds to the faults what the server holds at the end, and should not. idle: what it held before the load."""
    time.sleep(2)
    with closing(urlopen(f"{url}/slots")) as slots:
        if any(slot["is_processing"] for slot in json.load(slots)):
            load.faults.append("a slot is busy at the end")
    warm = [each[0] for each in seen[int(WARM_UP * len(seen)) : len(seen) // 2 + 1]]
    if (growth := max(each[0] for each in seen[len(seen) // 2 :]) - max(warm)) > GROWTH:
        load.faults.append(f"memory grew by {growth >> 20} MiB behind the warm-up")
    if seen[-1][1] > idle[1] + 60:  # Starlette keeps 40 threads, asyncio some for its own
        load.faults.append(f"{seen[-1][1]} threads, {idle[1]} before")


@click.command(help=__doc__)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--clients", default=64, type=click.IntRange(1), help="At once.")
@click.option("--seconds", default=600.0, type=click.FloatRange(5))
@click.option("--memory", default=600, type=click.IntRange(64), help="MiB that the server may take for the model.")
def main(model: Path, clients: int, seconds: float, memory: int) -> None:
    program = "from subbyte.cli.entry import main; main()"
    options = [f"m={model}", "--port", "0", "--memory", str(memory), "-c", "1024"]
    with subprocess.Popen(
        [sys.executable, "-c", program, "serve", *options], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            url = server.stderr.readline().split(" at ")[1].split("/v1")[0]
            load, idle = Load(url), held(server.pid)
            seen = asyncio.run(watched(load, server.pid, clients, seconds))
            check(load, seen, idle, url)
            last = held(server.pid)
        finally:
            server.terminate()
    click.echo(", ".join(f"{what}: {n}" for what, n in sorted(load.counts.items())))
    for name, i, unit in (("MiB", 0, 1 << 20), ("threads", 1, 1), ("files", 2, 1)):
        points = [each[i] // unit for each in seen[:: max(len(seen) // 10, 1)]]
        click.echo(f"{name}: {idle[i] // unit} before, {points}, {last[i] // unit} at the end")
    for fault in load.faults[:20]:
        click.echo(fault, err=True)
    click.echo(f"{len(load.faults)} faults")
    sys.exit(bool(load.faults))


if __name__ == "__main__":
    main()

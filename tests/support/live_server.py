"""A server over tiny models, in a thread of this process, and what tests ask it with."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.server.models import ModelPool, ServedModel
from subbyte.runtime.server.serve import Server
from subbyte.runtime.server.settings import ServerSettings
from subbyte.runtime.server.state import ServerState

MIB = 1 << 20
USER = [{"role": "user", "content": "the thing"}]
GREEDY = {"messages": USER, "temperature": 0, "max_tokens": 8}
"""A chat completion's request, whose answer is the same each time."""


class LiveServer:
    """The server; `url` is its address, `key` its API key, `end` ends it. `state` may be looked at."""

    def __init__(self, url: str, state: ServerState, end: Callable[[], object]) -> None:
        self.url, self.state, self.end = url, state, end
        self.port = int(url.rpartition(":")[2])
        self.key = next(iter(state.settings.api_keys), "")
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.http = httpx.Client(base_url=url, timeout=60, headers=headers, trust_env=False)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """The response to a request without a body."""
        return self.http.get(path, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """The response to a request of JSON."""
        return self.http.post(path, json=body, **options)

    def chat(self, **fields: Any) -> Any:
        """The body of a chat completion; fields besides those of GREEDY, or in their place."""
        return succeeded(self.post("/v1/chat/completions", {**GREEDY, **fields}))

    def stream(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All chunks of a stream, which must end as it should."""
        with self.http.stream("POST", path, json={**body, "stream": True}) as response:
            assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
            return list(chunks(response.iter_lines()))

    def connect(self) -> socket.socket:
        """A connection, to send on it what no client's package would."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def served(self, name: str = "tiny") -> ServedModel:
        """A model that is open."""
        return self.state.pool.open[name]

    def scheduler(self, name: str = "tiny") -> Scheduler:
        """Its scheduler."""
        return self.served(name).serving.scheduler

    @contextmanager
    def held(self, name: str = "tiny") -> Iterator[threading.Event]:
        """Within, no step of a model's scheduler begins: what runs or waits goes on doing so.

        The event is set when one would: requests that come later wait, those before it may have been taken on.
        """
        runner = self.scheduler(name)._loop._runner
        step, gate, reached = runner.step, threading.Event(), threading.Event()

        def wait_and_step(*arguments: Any) -> Any:
            reached.set()
            gate.wait()
            return step(*arguments)

        runner.step = wait_and_step  # type: ignore[method-assign, assignment]
        try:
            yield reached
        finally:
            runner.step = step  # type: ignore[method-assign]
            gate.set()

    def is_idle(self, name: str = "tiny") -> bool:
        """Whether it answers nobody, and nobody waits."""
        use = self.scheduler(name).use
        return not (use.n_running or use.n_waiting or self.state.active or self.served(name).n_users)


@contextmanager
def live_server(paths: Mapping[str, Path], **settings: Any) -> Iterator[LiveServer]:
    """A server of models by name, on a free port, with one thread each, until the block is left."""
    chosen = ServerSettings(**{"port": 0, "n_ctx": 2048, "n_parallel": 4, "max_bytes": 256 * MIB, **settings})
    server = Server(ServerState(ModelPool(paths, chosen, threads=1), chosen))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    begun: list[asyncio.AbstractEventLoop] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    async def listen() -> None:
        begun.append(asyncio.get_running_loop())
        await server.listen(listener, lambda _: ready.set())

    def run() -> None:
        try:
            asyncio.run(listen())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="live-server")
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        live = LiveServer(url, server.state, lambda: begun[0].call_soon_threadsafe(server.end))
        with live.http:
            yield live
    finally:
        if thread.is_alive():
            begun[0].call_soon_threadsafe(server.end)
        thread.join()
        listener.close()
    if failed:
        raise failed[0]


def succeeded(response: httpx.Response) -> Any:
    """The JSON of a response that must be one of success."""
    assert response.status_code == 200, response.text
    return response.json()


def chunks(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The objects of a stream of OpenAI's, whose end must be [DONE]; comments are passed over."""
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return map(json.loads, data[:-1])


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Returns once a condition holds, which it must within that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)

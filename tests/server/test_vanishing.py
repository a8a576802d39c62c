"""Clients that go away, at each moment; a queue that is full; a server that is told to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import GREEDY, LiveServer, live_server, succeeded, wait_until

LONG = {**GREEDY, "max_tokens": 1800, "ignore_eos": True}
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def narrow(tiny_path: Path) -> Iterator[LiveServer]:
    """A server that makes two answers at once, and lets two wait."""
    with live_server({"tiny": tiny_path}, n_parallel=2, n_waiting=2) as running:
        yield running


def request(path: str, body: Any) -> bytes:
    written = json.dumps(body).encode()
    return HEAD % (path.encode(), len(written)) + written


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_who_goes_away_frees_the_slot_within_a_step(narrow: LiveServer, stream: bool, n: int) -> None:
    loop = narrow.scheduler()._loop
    with narrow.held():
        with narrow.connect() as connection:
            connection.sendall(request("/v1/chat/completions", {**LONG, "stream": stream, "n": n, "temperature": 1}))
            wait_until(lambda: loop.n_running + loop.n_waiting == min(n, 2))
            wait_until(lambda: narrow.state.active)
            (active,) = narrow.state.active.values()
            assert sum(slot["is_processing"] for slot in succeeded(narrow.get("/slots"))) == min(n, 2)
            steps = loop.n_steps
        wait_until(lambda: all(answer._decoder._cancelled for answer in active.answers.begun.values()))
    wait_until(narrow.is_idle)
    assert loop.n_steps - steps <= 2  # what had begun, at the end of which it is seen


def test_who_goes_away_in_the_queue_is_not_answered(narrow: LiveServer) -> None:
    loop = narrow.scheduler()._loop
    with narrow.held() as step_begins:
        crowd = [narrow.connect() for _ in range(3)]
        for i, connection in enumerate(crowd):
            connection.sendall(request("/v1/chat/completions", LONG))
            wait_until(lambda i=i: loop.n_running + loop.n_waiting == i + 1)
            assert step_begins.wait(60)  # of the first alone
        crowd[2].close()
        wait_until(lambda: loop._waiting[1].decoder._cancelled)
        for connection in crowd:
            connection.close()
    wait_until(narrow.is_idle)


@pytest.mark.parametrize("n_bytes", [0, 1, 30, 70, 100, -1])
def test_who_goes_away_before_the_request_is_whole_costs_nothing(narrow: LiveServer, n_bytes: int) -> None:
    asked = len(narrow.state.active), narrow.scheduler().use.n_steps
    with narrow.connect() as connection:
        connection.sendall(request("/v1/chat/completions", LONG)[:n_bytes])
    assert narrow.get("/health").status_code == 200
    assert (len(narrow.state.active), narrow.scheduler().use.n_steps) == asked


def test_who_goes_away_between_tokens_frees_the_slot(narrow: LiveServer) -> None:
    for n_chunks in (1, 2, 5, 20):
        with narrow.http.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True}) as response:
            for _, _ in zip(range(n_chunks), response.iter_raw(), strict=False):
                pass
        wait_until(narrow.is_idle)
    assert narrow.chat()["choices"]


def test_a_full_queue_says_when_to_come_back(narrow: LiveServer) -> None:
    loop = narrow.scheduler()._loop
    with narrow.held() as step_begins:
        crowd = [narrow.connect() for _ in range(3)]
        for i, connection in enumerate(crowd):
            connection.sendall(request("/v1/chat/completions", {**GREEDY, "stream": bool(i % 2)}))
            wait_until(lambda i=i: loop.n_running + loop.n_waiting == i + 1)
            assert step_begins.wait(60)  # of the first alone
        for stream in (False, True):
            response = narrow.post("/v1/chat/completions", {**GREEDY, "stream": stream})
            assert response.status_code == 429 and int(response.headers["retry-after"]) > 0
            assert response.json()["error"]["code"] == "queue_full"
    for connection in crowd:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.close()
    wait_until(narrow.is_idle)


def test_the_rest_of_a_request_that_was_taken_on_waits_for_room(tiny_path: Path) -> None:
    answers: list[Any] = []
    asked = {**GREEDY, "n": 8, "temperature": 1, "seed": 1, "max_tokens": 30}
    with live_server({"tiny": tiny_path}, n_parallel=2, n_waiting=8) as server:

        def ask() -> None:
            answers.append(succeeded(httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=60)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 4 and all(answer["choices"] == answers[0]["choices"] for answer in answers)


def test_a_time_that_is_over_ends_an_answer(tiny_path: Path) -> None:
    with live_server({"tiny": tiny_path}, timeout=0.05) as server:
        (choice,) = succeeded(server.post("/v1/chat/completions", LONG))["choices"]
        assert choice["finish_reason"] == "length"


def test_streams_are_told_of_the_end(tiny_path: Path) -> None:
    with live_server({"tiny": tiny_path}) as server:
        with server.http.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True, "n": 4}) as response:
            lines = response.iter_lines()
            next(lines)
            server.end()
            rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]" and "shutting down" in json.loads(rest[-2][6:])["error"]["message"]


class Serving:
    """`subbyte serve` in a process of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        program = "from subbyte.cli.entry import main; main()"
        command = [sys.executable, "-c", program, "serve", f"tiny={path}", "--port", "0", "-t", "1", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.url = line.split(" at ")[1].split("/v1")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", ["idle", "streams", "slow"])
def test_a_signal_ends_the_process(tiny_path: Path, number: int, busy: str) -> None:
    serving = Serving(tiny_path)
    lines: list[str] = []
    with httpx.Client(base_url=serving.url, timeout=60) as client:
        if busy == "streams":
            body = {**LONG, "stream": True, "n": 4, "temperature": 1}
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                stream = response.iter_lines()
                next(stream)
                serving.process.send_signal(number)
                lines = [line for line in stream if line]
        elif busy == "slow":
            port = int(serving.url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(HEAD % (b"/v1/chat/completions", 500) + b"{")
                time.sleep(0.2)
                serving.process.send_signal(number)
                serving.process.wait(60)
        else:
            assert client.get("/health").status_code == 200
            serving.process.send_signal(number)
    told = serving.process.communicate(timeout=60)[1]
    assert serving.process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in told
    if lines:
        assert lines[-1] == "data: [DONE]"


def test_a_forked_process_leaves_the_server_alone(tiny_path: Path) -> None:
    with live_server({"tiny": tiny_path}) as server:
        before = server.chat()["choices"]
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.chat()["choices"] == before

"""Several models by name: loaded when asked for, within the memory that there is."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from live_server import GREEDY, MIB, USER, live_server, succeeded, wait_until
from tiny_models import write_model

from subbyte.runtime.server import models
from subbyte.runtime.server.models import ModelPool


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("several")
    for i, name in enumerate("abc"):
        write_model(folder / name, context_length=256, seed=i)
    return {name: folder / name for name in "abc"}


def states(server: Any) -> dict[str, str]:
    return {entry["id"]: entry["status"] for entry in succeeded(server.get("/v1/models"))["data"]}


def test_models_are_loaded_when_asked_for(paths: dict[str, Path]) -> None:
    with live_server(paths) as server:
        assert states(server) == {"a": "loaded", "b": "unloaded", "c": "unloaded"}
        texts = {name: server.chat(model=name)["choices"][0]["message"]["content"] for name in "abc"}
        assert len(set(texts.values())) == 3 and set(states(server).values()) == {"loaded"}
        assert server.chat()["choices"][0]["message"]["content"] == texts["a"]
        assert server.post("/v1/embeddings", {"input": "x", "model": "b"}).json()["model"] == "b"
        response = server.post("/v1/chat/completions", {**GREEDY, "model": "d"})
        assert response.status_code == 404 and "there is a, b, c" in response.json()["error"]["message"]


def test_those_that_nobody_uses_make_room(paths: dict[str, Path]) -> None:
    size = paths["a"].stat().st_size
    with live_server(paths, max_bytes=size * 3, n_ctx=16, n_parallel=1, cache_type="f16") as server:
        texts = {}
        for name in "abcabcba":
            asked = {"model": name, "prompt": "the", "max_tokens": 4, "temperature": 0}
            text = succeeded(server.post("/v1/completions", asked))["choices"][0]["text"]
            assert texts.setdefault(name, text) == text
            open_ = [name for name, state in states(server).items() if state == "loaded"]
            assert name in open_ and len(open_) < 3
        both = [
            threading.Thread(target=server.post, args=("/v1/completions", {"model": n, "prompt": "a"}))
            for n in "abc" * 4
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        wait_until(lambda: not any(served.n_users for served in server.state.pool.open.values()))


def test_one_in_use_is_waited_for(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_WAIT", 0.2)
    size = paths["a"].stat().st_size
    with live_server(paths, max_bytes=size + 1000, n_ctx=64, n_parallel=1) as server:
        answers: list[Any] = []
        ask = threading.Thread(target=lambda: answers.append(server.chat(model="a", max_tokens=3)))
        with server.held("a"):
            ask.start()
            while not server.state.active:
                time.sleep(0.005)
            response = server.post("/v1/chat/completions", {**GREEDY, "model": "b"})
            assert response.status_code == 503 and "no room" in response.json()["error"]["message"]
            assert int(response.headers["retry-after"]) > 0
        ask.join()
        assert answers[0]["choices"] and server.chat(model="b", max_tokens=3)["choices"]


def test_an_open_model_answers_while_another_is_loaded(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gate, n_loads = threading.Event(), []
    load = ModelPool._load

    def slow(self: ModelPool, name: str, size: int) -> Any:
        if name != "a":
            n_loads.append(name)
            gate.wait(100)
        return load(self, name, size)

    monkeypatch.setattr(ModelPool, "_load", slow)
    with live_server(paths) as server:
        answers: list[Any] = []
        waiting = [threading.Thread(target=lambda: answers.append(server.chat(model="b"))) for _ in range(3)]
        for thread in waiting:
            thread.start()
        while not n_loads:
            time.sleep(0.005)
        with server.connect() as connection:  # one that asks for it, and goes away
            connection.sendall(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n")
            connection.sendall(b'{"content": "a", "model": "b"}')
        assert server.chat(model="a")["choices"] and not answers
        gate.set()
        for thread in waiting:
            thread.join()
        assert n_loads == ["b"] and len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1


def test_a_model_that_can_not_be_loaded_is_said_to_be_so(paths: dict[str, Path], tmp_path: Path) -> None:
    broken, gone = tmp_path / "broken", tmp_path / "gone"
    broken.write_bytes(b"GGUF" + bytes(100))
    with live_server({"a": paths["a"], "broken": broken, "gone": gone}) as server:
        for name, status in (("broken", 500), ("gone", 404)):
            response = server.post("/v1/chat/completions", {**GREEDY, "model": name})
            assert response.status_code == status and response.json()["error"]["message"]
        assert server.chat(model="a")["choices"]
        assert server.get("/v1/models/broken").json()["status"] == "unloaded"


def test_any_name_can_be_answered_to(paths: dict[str, Path]) -> None:
    with live_server({"a": paths["a"], "*": paths["b"]}) as server:
        asked = {"messages": USER, "max_tokens": 2, "temperature": 0}
        for name in ("gpt-4o", "../../etc/passwd", "claude"):
            answer = succeeded(server.post("/v1/chat/completions", {**asked, "model": name}))
            assert answer["model"] == name
        assert server.state.pool.open.keys() == {"a", "*"}


def test_memory_is_kept_to(paths: dict[str, Path]) -> None:
    with live_server(paths, max_bytes=64 * MIB) as server:
        for name in "abc":
            server.chat(model=name)
        assert sum(served.n_bytes for served in server.state.pool.open.values()) <= 64 * MIB

"""A server for the chat page: the real page with its headers, and answers that a test has written down."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from typing import Any

from subbyte.runtime.server.page import chat_page

Chunk = dict[str, Any]
MODELS = [{"id": "tiny", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}, {"id": "other", "meta": {"n_ctx": 512}}]
GATE: Chunk = {"gate": True}
"""Among the chunks of an answer: it goes on when the test opens the gate."""


class PageServer(ThreadingHTTPServer):
    """Serves the page. `answers` are given in turn: chunks of a stream, or an HTTP error (status, message)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[list[Chunk] | tuple[int, str]] = []
        self.requests: list[dict[str, Any]] = []
        self.key = ""
        self.gate, self.gone = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@contextmanager
def page_server() -> Iterator[PageServer]:
    server = PageServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/":
            body, headers = chat_page()
            self._answer(200, body, headers)
        elif self._has_key():
            self._json(200, {"object": "list", "data": MODELS})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._has_key():
            return
        self.server.requests.append(json.loads(body))
        answer = self.server.answers.pop(0)
        if isinstance(answer, tuple):
            return self._error(*answer)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for chunk in answer:
                if chunk is GATE:
                    self._wait()
                else:
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.gone.set()

    def _wait(self) -> None:
        """Waits at the gate, with comments that keep the connection alive and tell when the client has gone."""
        while not self.server.gate.wait(0.02):
            self.wfile.write(b": waiting\n\n")
        self.server.gate.clear()

    def _has_key(self) -> bool:
        allowed = self.headers["Authorization"] == f"Bearer {self.server.key}" or not self.server.key
        if not allowed:
            self._error(401, "an API key is needed")
        return allowed

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "param": None, "code": None}})

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def delta(finish: str | None = None, **fields: Any) -> Chunk:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def content(*pieces: str) -> list[Chunk]:
    return [delta(content=piece) for piece in pieces]


def reasoning(*pieces: str) -> list[Chunk]:
    return [delta(reasoning_content=piece) for piece in pieces]


def tool_call(index: int, id: str, name: str, *arguments: str) -> list[Chunk]:
    start = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return [delta(tool_calls=[call]) for call in [start, *pieces]]


def token(text: str, probability: float, *others: tuple[str, float], field: str = "content") -> Chunk:
    """A token with its probability, and the most probable ones in its place, of which it may be one."""
    chunk = delta(**{field: text})
    top = [{"token": other, "logprob": log(p)} for other, p in others or [(text, probability)]]
    chunk["choices"][0]["logprobs"] = {
        "content": [{"token": text, "logprob": log(probability), "bytes": None, "top_logprobs": top}]
    }
    return chunk


def progress(processed: int, total: int, cache: int = 0) -> Chunk:
    made = {"total": total, "cache": cache, "processed": processed, "time_ms": 4 * (processed - cache)}
    return {**delta(), "prompt_progress": made}


def end(n_prompt: int = 20, n_answer: int = 30, finish: str = "stop", cached: int = 0) -> list[Chunk]:
    """The last chunks: why the answer ended, then usage and timings in one without choices."""
    usage = {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_answer,
        "total_tokens": n_prompt + n_answer,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    timings = {"prompt_n": n_prompt - cached, "prompt_ms": 400.0, "prompt_per_second": 50.0}
    timings |= {"predicted_n": n_answer, "predicted_ms": 1000.0, "predicted_per_second": float(n_answer)}
    return [delta(finish), {"object": "chat.completion.chunk", "choices": [], "usage": usage, "timings": timings}]

"""What comes over a connection that no client's package would send: too much, too slowly, or no HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_server import GREEDY, MIB, LiveServer, live_server, wait_until
from soak import Held

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hurried(tiny_path: Path) -> Iterator[LiveServer]:
    """A server with short times, and small requests."""
    with live_server({"tiny": tiny_path}, body_seconds=0.3, write_seconds=0.3, max_body=1 << 20) as running:
        yield running


def answered(connection: socket.socket) -> tuple[int, bytes]:
    """The status and body of the response; 0 where the connection ends without one."""
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
            head, found, body = received.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if found and length and len(body) >= int(length[0].split(b":")[1]):
                return int(received.split()[1]), body
    except ConnectionError:
        pass
    return int(received.split()[1]) if received else 0, received


def send_all(connection: socket.socket, piece: bytes, times: int) -> None:
    """Sends until all is sent, or the server wants no more."""
    try:
        for _ in range(times):
            connection.sendall(piece)
    except OSError:
        pass


@pytest.mark.parametrize(
    "length", [b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"], ids=["told", "chunked"]
)
def test_a_body_of_a_gigabyte_is_refused_early_and_not_kept(hurried: LiveServer, length: bytes) -> None:
    before = Held.now()
    with hurried.connect() as connection:
        connection.sendall(CHAT + length + b"\r\n\r\n")
        piece = b"[" * 65_536 if b"Content" in length else b"10000\r\n" + b"[" * 65_536 + b"\r\n"
        sender = threading.Thread(target=send_all, args=(connection, piece, 16_384))
        sender.start()
        status, body = answered(connection)
        assert status == 413 and "more than 1048576 bytes" in json.loads(body)["error"]["message"]
        sender.join()  # and the server ends what does not end
    assert Held.now().memory - before.memory < 32 * MIB
    assert hurried.chat()["choices"]


def test_what_is_told_to_be_too_long_is_refused_before_it_comes(hurried: LiveServer) -> None:
    with hurried.connect() as connection:
        connection.sendall(CHAT + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
        assert answered(connection)[0] == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"P", b"POST /v1/chat", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", CHAT,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal",
    ],
)  # fmt: skip
def test_headers_that_do_not_end_are_cut_off(hurried: LiveServer, sent: bytes) -> None:
    with hurried.connect() as connection:
        connection.sendall(sent)
        while connection.recv(1 << 16):  # a response, if a request was whole; then the end
            pass


def test_headers_that_come_a_byte_at_a_time_are_cut_off(hurried: LiveServer) -> None:
    for begun in (b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with hurried.connect() as connection:
            connection.sendall(begun + b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
            connection.settimeout(0.02)
            for _ in range(500):
                try:
                    connection.sendall(b"x")
                    if not connection.recv(1 << 16):
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            else:
                pytest.fail("it went on")


def test_a_body_that_does_not_come_is_told_so(hurried: LiveServer) -> None:
    for sent in (
        b"Content-Length: 5\r\n\r\n{}",
        b"Content-Length: 5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ):
        with hurried.connect() as connection:
            connection.sendall(CHAT + sent)
            status, body = answered(connection)
            assert status == 408 and "did not arrive" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n\r\n", b"\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /health HTTP/1.0\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET /" + b"a" * 100_000, CHAT + b"a: " + b"b" * 200_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 50_000, CHAT + b"Content-Length: -1\r\n\r\n",
        CHAT + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        CHAT + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        CHAT + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", CHAT + b"Transfer-Encoding: gzip\r\n\r\n",
        CHAT + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n",
        b"GET /%00%ff%2e%2e/../.. HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:30]) + repr(sent[-20:]),
)  # fmt: skip
def test_what_is_no_request_is_an_error(hurried: LiveServer, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with hurried.connect() as connection:
        send_all(connection, sent, 1)
        status, _ = answered(connection)
    assert status in (0, 200, 400, 403, 404, 405, 408, 413)
    assert hurried.get("/health").status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_rubbish_behind_a_request_ends_the_connection_alone(
    hurried: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({**GREEDY, "stream": True, "max_tokens": 300}).encode()
    with hurried.connect() as connection:
        connection.sendall(CHAT + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"\x00rubbish\r\n\r\n")
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    assert received.count(b"HTTP/1.1 200") == 1 and b"[DONE]" in received
    with hurried.connect() as connection:  # refused before its body is read, which then is none
        connection.sendall(b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert answered(connection)[0] == 404
        connection.sendall(b"no length\r\n\r\n")
        assert connection.recv(1 << 16) == b""
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_client_that_does_not_read_is_cut_off(hurried: LiveServer) -> None:
    body = json.dumps(
        {**GREEDY, "stream": True, "max_tokens": 1900, "logprobs": True, "top_logprobs": 20, "n": 16, "temperature": 9}
    ).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with connection:
        connection.connect(("127.0.0.1", hurried.port))
        connection.sendall(CHAT + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: hurried.state.active)
        wait_until(hurried.is_idle)
    assert hurried.chat()["choices"]


def test_many_connections_that_ask_nothing_leave_room(hurried: LiveServer) -> None:
    before = Held.now().files
    crowd = [hurried.connect() for _ in range(300)]
    assert hurried.chat()["choices"]
    for connection in crowd:
        connection.close()
    wait_until(lambda: Held.now().files <= before + 2)


def test_large_requests_together_are_bounded(hurried: LiveServer) -> None:
    piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    crowd = [hurried.connect() for _ in range(40)]
    for connection in crowd:
        connection.sendall(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + piece[: 1 << 19])
    statuses = {answered(connection)[0] for connection in crowd}
    for connection in crowd:
        connection.close()
    assert statuses <= {408, 503} and hurried.chat()["choices"]

"""More than the server can do: clients are taken on, and told at once that there is no room."""

import asyncio
import errno
import os
import re
import signal
import socket
import types
from pathlib import Path

import httpx
import pytest

from inkdigits.self_test import DIGIT
from inkdigits.server.factory import create_app
from inkdigits.server.http.responses import serialize
from inkdigits.server.http.transport import Joined
from inkdigits.server.processes import worker
from inkdigits.server.processes.shared_state import LEAD, READY, UP, SharedState
from inkdigits.server.processes.worker import Server
from inkdigits.settings import Settings

from support.requests import THREE
from support.servers import until

pytestmark = pytest.mark.slow

REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%b" % (
    len(THREE),
    THREE,
)
posix = pytest.mark.skipif(os.name != "posix", reason="it stops and continues a process by POSIX signals")


def scope_of(path="/predict", method="POST", *headers: tuple[bytes, bytes]) -> dict:
    client = {"client": ("1.2.3.4", 5), "http_version": "1.1"}
    return {"type": "http", "method": method, "path": path, "headers": list(headers), **client}


def away(service, *scopes, headers=()) -> list[bytes | None]:
    """What is told to requests that come in one turn of the event loop."""

    async def ask():
        answers = [service.turn_away(scope) for scope in scopes]
        return [answer and serialize(answer, headers) for answer in answers]

    return asyncio.run(ask())


def test_what_is_beyond_the_queue_is_turned_away_before_anything_is_begun():
    service = create_app(Settings(max_queue=2))
    mine = scope_of("/predict", "POST", (b"x-request-id", b"mine"))
    for _ in range(2):  # the second turn has room again
        first, second, third = away(service, scope_of(), scope_of(), mine, headers=[(b"date", b"today")])
        assert first is second is None
        head, _, body = third.partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        assert line == "HTTP/1.1 503 Service Unavailable"
        named = dict(header.split(": ") for header in headers)
        assert named["retry-after"] == "1"
        assert named["content-type"] == "application/problem+json"
        assert named["content-length"] == str(len(body))
        assert (named["x-request-id"], named["date"]) == ("mine", "today")
        assert "connection" not in named
        assert httpx.Response(503, content=body).json()["type"] == "/docs#overloaded"


def test_other_requests_are_not_turned_away():
    service = create_app(Settings(max_queue=1))
    infer, other, get = scope_of("/v2/models/cnn/infer"), scope_of("/nothing"), scope_of("/predict", "GET")
    answers = away(service, scope_of(), other, get, infer)
    assert answers[:3] == [None] * 3
    assert b'"error":' in answers[3]  # as the Open Inference Protocol asks


def test_answers_that_need_more_than_bytes_go_the_long_way():
    service = create_app(Settings(max_queue=1, cors_origins="https://example.com"))
    assert away(service, *[scope_of()] * 3) == [None] * 3


def test_what_is_turned_away_is_counted_and_logged(caplog):
    service = create_app(Settings(max_queue=1, log_requests="on"))
    with caplog.at_level("INFO", "inkdigits.requests"):
        away(service, scope_of(), scope_of())
    text = service.metrics.text(service.deployment.recognizer.model, "1").decode()
    assert 'inkdigits_requests_total{route="/predict",status="503"} 1\n' in text
    assert 'inkdigits_shed_total{reason="queue"} 1\n' in text
    assert [record.fields["status"] for record in caplog.records] == [503]


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def response(connection: socket.socket) -> tuple[int, bytes, bytes]:
    """Status, head and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12]), head, body


@posix
def test_who_is_turned_away_and_wants_no_more_is_let_go(start_server):
    server = start_server(INKDIGITS_MAX_QUEUE="1")
    server.process.send_signal(signal.SIGSTOP)
    crowd = [connect(server.url) for _ in range(20)]
    for connection in crowd:
        connection.sendall(REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    server.process.send_signal(signal.SIGCONT)
    for connection in crowd:
        data = b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023
        assert re.match(rb"HTTP/1.1 (200|503) ", data)
        assert data.lower().count(b"\r\nconnection: close\r\n") == 1
        connection.close()


@posix
def test_a_crowd_that_comes_at_once_is_taken_on_at_once(start_server):
    server = start_server(INKDIGITS_MAX_QUEUE="4")
    assert httpx.post(f"{server.url}/predict", content=THREE).status_code == 200
    # What comes while it is stopped is all there in its next turn.
    server.process.send_signal(signal.SIGSTOP)
    crowd = [connect(server.url) for _ in range(200)]
    for connection in crowd:
        connection.sendall(REQUEST)
    server.process.send_signal(signal.SIGCONT)
    answers = [response(connection) for connection in crowd]
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 503}
    assert all(
        b"\r\nretry-after: 1\r\n" in head and b"\r\ndate: " in head for status, head, _ in answers if status == 503
    )
    assert all(b'"digit":%d' % DIGIT in body for status, _, body in answers if status == 200)
    for connection in crowd:  # all were kept, and are answered as ever
        connection.sendall(REQUEST)
        assert response(connection)[0] == 200
        connection.close()


def test_pipelined_requests_are_answered_in_order_when_there_is_no_room(start_server):
    server = start_server(INKDIGITS_MAX_QUEUE="1")
    with connect(server.url) as connection:
        count = 300
        connection.sendall((REQUEST + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") * count)
        data = b""
        while data.count(b'{"status":"ok"}') < count:
            data += connection.recv(65536)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", data)
    assert len(statuses) == 2 * count
    assert set(statuses[1::2]) == {b"200"}
    assert set(statuses[::2]) <= {b"200", b"503"}


def test_only_the_head_of_an_answer_is_held_back():
    written = []
    transport = types.SimpleNamespace(
        write=written.append, is_closing=lambda: False, close=lambda: written.append(None)
    )
    joined = Joined(transport)
    for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", b"head", b"HTTP/1.1 100, as a body may begin", b"more"):
        joined.write(piece)
    joined.end()
    joined.write(b"a head alone")
    joined.end()
    joined.write(b"the last")
    joined.close()
    assert written == [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"headHTTP/1.1 100, as a body may begin",
        b"more",
        b"a head alone",
        b"the last",
        None,
    ]


def test_an_answer_is_one_piece(live_server):
    with connect(live_server) as connection:
        connection.sendall(REQUEST)
        data = connection.recv(65536)
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert data.endswith(b"}")
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")  # a head without a body
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert response(connection)[0] == 404
        head, _, body = REQUEST.partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert response(connection)[0] == 200


def test_a_client_that_was_answered_early_is_not_kept_for_ever(start_server):
    server = start_server(INKDIGITS_MAX_BYTES="1024", INKDIGITS_KEEP_ALIVE_SECONDS="1")
    with connect(server.url) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n")
        assert response(connection)[0] == 413
        connection.sendall(bytes(2000))
        assert connection.recv(1) == b""  # within the time that a test waits


@pytest.fixture
def server(monkeypatch):
    """A server whose connections are but counted."""
    server = Server(Settings(), create_app(Settings(), SharedState(2)))
    server.taken = 0

    def connect(connection):
        connection.close()
        server.taken += 1

    monkeypatch.setattr(server, "_connect", connect)
    monkeypatch.setattr(server, "_start", lambda none: None)
    return server


@posix
def test_many_connections_are_taken_in_a_turn(server):
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        crowd = [socket.create_connection(listener.getsockname()) for _ in range(LEAD + 20)]
        server._accept(listener)
        assert server.taken == LEAD
        server._service.metrics.connections(LEAD)
        server._accept(listener)
        assert server.taken > LEAD + 1
        server._accept(listener)  # where there is none any more
        for connection in crowd:
            connection.close()


@posix
def test_a_worker_that_is_ahead_leaves_clients_to_the_others(server):
    shared = server._service.metrics._shared
    shared.set_state(1, UP)  # it has none
    shared.set_open(0, 100)

    async def serve():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            crowd = [socket.create_connection(listener.getsockname()) for _ in range(3)]
            server._accept(listener)
            assert server.taken == 1
            await asyncio.sleep(0.2)  # nobody else came for them
            assert server.taken == 3
            loop.remove_reader(listener)
            for connection in crowd:
                connection.close()

    asyncio.run(serve())


@posix
def test_it_rests_when_no_more_files_may_be_opened(server, monkeypatch, caplog):
    class Full(socket.socket):
        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.05)

    async def serve():
        loop = asyncio.get_running_loop()
        with Full() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            server._listen(listener)
            with socket.create_connection(listener.getsockname()):
                await asyncio.sleep(0.2)
            loop.remove_reader(listener)

    asyncio.run(serve())
    told = [record.getMessage() for record in caplog.records]
    assert 2 <= len(told) <= 5
    assert all("Too many open files" in line for line in told)


def test_workers_have_about_as_many_connections_each():
    shared = SharedState(3)
    shared.set_state(0, READY)
    assert shared.room(0) == LEAD  # alone
    shared.set_open(0, 100)
    assert shared.room(0) == 50
    shared.set_state(1, UP)
    assert shared.room(0) < 0
    assert shared.room(1) == LEAD
    shared.set_open(1, 90)
    assert shared.room(0) == 90 + 45 - 100


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="it looks at processes in Linux's /proc")
def test_the_gauge_of_connections(start_server):
    server = start_server("--workers", "2")

    def open_now():
        text = httpx.get(f"{server.url}/metrics").text
        return int(re.search(r"^inkdigits_connections (\d+)$", text, re.MULTILINE)[1])

    crowd = [connect(server.url) for _ in range(40)]
    until(lambda: open_now() >= 40)
    for connection in crowd:
        connection.close()
    until(lambda: open_now() <= 5)

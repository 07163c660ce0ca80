"""Keys, rates, and clients that are slow, many or endless: each is turned away alone, and others are served."""

import contextlib
import io
import socket
import time
from hashlib import sha256

import httpx
import numpy as np
import pytest
from PIL import Image

from inkdigits import SettingError
from inkdigits.self_test import DIGIT
from inkdigits.server.http.auth import WAYS, Authenticator, client_of, key_hashes
from inkdigits.server.http.problems import Problem
from inkdigits.server.inference import INLINE_BYTES
from inkdigits.server.processes.shared_state import BUCKETS, SharedState

from support.requests import HASHES, KEYS, THREE, assert_problem, guard_of

pytestmark = pytest.mark.slow


def counted(url: str, name: str) -> float:
    [line] = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(f"inkdigits_{name} ")]
    return float(line.rpartition(" ")[2])


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def test_keys(start_server):
    url = start_server(INKDIGITS_API_KEYS=HASHES).url
    for headers in (
        {"Authorization": "Bearer first key"},
        {"authorization": "bearer second"},
        {"X-API-Key": "second"},
    ):
        assert httpx.post(f"{url}/predict", content=THREE, headers=headers).json()["digit"] == DIGIT
    for headers, words in (
        ({}, "no API key"),
        ({"X-API-Key": "third"}, "unknown"),
        ({"Authorization": "Bearer"}, "no API key"),
        ({"Authorization": "Basic first key"}, "no API key"),
        ({"X-API-Key": sha256(KEYS[0]).hexdigest()}, "unknown"),
    ):
        response = httpx.post(f"{url}/predict", content=THREE, headers=headers)
        assert_problem(response, 401, "unauthorized", words)
        assert response.headers["www-authenticate"] == 'Bearer realm="inkdigits"'
    assert httpx.post(f"{url}/v2/models/cnn/infer", json={}).status_code == 401
    for path in ("/health", "/ready", "/model", "/", "/openapi.json"):
        assert httpx.get(f"{url}{path}").status_code == 200
    assert httpx.get(f"{url}/openapi.json").json()["paths"]["/predict"]["post"]["security"] == [{"key": []}]


@pytest.mark.parametrize("keys", ["secret", HASHES + ",", sha256(b"").hexdigest()[:-1], "z" * 64])
def test_keys_that_are_no_hashes_stop_the_start(keys):
    if keys == HASHES + ",":
        assert len(key_hashes(keys)) == 2
        return
    with pytest.raises(SettingError, match=r"api_keys \(INKDIGITS_API_KEYS\).*not a SHA-256 hash"):
        key_hashes(keys)


def admitted(guard: Authenticator, client: str = "1.2.3.4", **headers: str) -> bool:
    try:
        encoded = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        guard.admit({"client": (client, 1)}, encoded)
    except Problem as problem:
        assert problem.type.status == 429
        assert int(problem.headers["Retry-After"]) >= 1
        return False
    return True


def test_the_rate_and_the_burst(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    guard = guard_of(rate_limit=2, rate_burst=3)
    assert [admitted(guard) for _ in range(5)] == [True] * 3 + [False] * 2
    assert admitted(guard, "5.6.7.8")  # others have their own
    now += 0.5
    assert [admitted(guard) for _ in range(2)] == [True, False]
    now += 3600
    assert [admitted(guard) for _ in range(4)] == [True] * 3 + [False]


def test_workers_count_a_client_together_and_by_key():
    shared = SharedState(2)
    one, two = (guard_of(shared, rate_limit=1, rate_burst=2, api_keys=HASHES) for _ in range(2))
    assert [admitted(guard, x_api_key="second") for guard in (one, two, one)] == [True, True, False]
    assert admitted(two, x_api_key="first key")


def test_the_table_of_clients_is_bounded_and_forgets_the_oldest():
    guard = guard_of(rate_limit=1, rate_burst=1)
    assert admitted(guard, "first")
    assert not admitted(guard, "first")
    assert all(admitted(guard, f"client {i}") for i in range(4 * BUCKETS // WAYS * WAYS))
    assert len(guard._limiter._buckets) == BUCKETS * 3
    assert admitted(guard, "first")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "9.9.9.9", "127.0.0.1"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "6.6.6.6, 8.8.8.8, 9.9.9.9", "8.8.8.8"),
        (3, "9.9.9.9", "9.9.9.9"),
        (1, None, "127.0.0.1"),
    ],
)
def test_whom_a_request_is_from(proxies, forwarded, client):
    headers = {b"x-forwarded-for": forwarded.encode()} if forwarded else {}
    assert client_of({"client": ("127.0.0.1", 5)}, headers, proxies) == client


def test_a_client_that_asks_too_often(start_server):
    url = start_server("--workers", "2", "--rate-limit", "1", "--rate-burst", "3").url
    statuses = [httpx.post(f"{url}/predict", content=THREE).status_code for _ in range(8)]
    assert statuses[:3] == [200] * 3
    assert 429 in statuses
    assert counted(url, 'shed_total{reason="rate"}') == statuses.count(429)
    assert httpx.get(f"{url}/health").status_code == 200


SLOW = {
    "nothing": b"",
    "half a line": b"POST /pre",
    "half the headers": b"POST /predict HTTP/1.1\r\nHost: x\r\n",
    "no body": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
    "half a body": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1234",
    "half a chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n123",
    "a body to infer": b"POST /v2/models/cnn/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1234",
}


def test_clients_that_are_too_slow(start_server):
    url = start_server("--receive-seconds", "1").url
    with contextlib.ExitStack() as stack:
        connections = {name: stack.enter_context(connect(url)) for name in SLOW}
        for name, data in SLOW.items():
            connections[name].sendall(data)
        assert httpx.post(f"{url}/predict", content=THREE).json()["digit"] == DIGIT
        for name, connection in connections.items():
            head, _, body = answer(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 "), name
            assert b"connection: close" in head
            assert b"the request was not complete after 1 s" in body
    assert counted(url, 'requests_total{route="/predict",status="408"}') >= 3
    assert counted(url, 'requests_total{route="/v2/infer",status="408"}') == 1


def test_slow_clients_on_a_connection_that_was_used(start_server):
    url = start_server("--receive-seconds", "1", "--keep-alive-seconds", "2").url
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(THREE), THREE)
    for rest, last in (
        (b"POST /pre", 408),  # the next request
        (b"\r\n", None),  # nothing that is any
        (b"", None),
    ):
        with connect(url) as connection:
            connection.sendall(request + rest)
            got = answer(connection)
            assert got.count(b"HTTP/1.1 200 ") == 1
            assert got.count(b"HTTP/1.1 ") == (2 if last else 1)
    # A body that goes on after the answer, which its beginning was enough for.
    with connect(url) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1234")
        got = answer(connection)
        assert got.startswith(b"HTTP/1.1 405 ")
        assert got.count(b"HTTP/1.1 ") == 1


def test_headers_without_end(start_server):
    url = start_server().url
    begin = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    for endless in (
        b"GET /" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
    ):
        with connect(url) as connection:
            connection.sendall(endless)
            assert answer(connection).startswith(b"HTTP/1.1 431 ")
    for endless in (begin + b"\r\n1;" + b"x" * 200_000, begin + b"\r\n0\r\n" + b"X: y\r\n" * 40_000):
        with connect(url) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(endless)
            assert answer(connection)[:13] in (b"", b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")
    with connect(url) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        assert b'"type":"/docs#bad-request"' in answer(connection)
    assert httpx.post(f"{url}/predict", content=THREE).json()["digit"] == DIGIT


def photo() -> bytes:
    """A file of several megabytes."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_bodies_that_are_too_much_together(start_server):
    url = start_server("--max-buffered", str(2 << 20)).url
    data = photo()
    assert len(data) > 3 << 20
    response = httpx.post(f"{url}/predict", content=data)
    assert_problem(response, 503, "overloaded", "2,097,152 bytes")
    assert response.headers["retry-after"] == "1"
    assert counted(url, 'shed_total{reason="buffered"}') == 1
    # What was turned away no longer counts, and small ones never do.
    small = Image.new("L", (500, 500), 255)
    file = io.BytesIO()
    small.save(file, "BMP")
    assert 1 << 17 < len(file.getvalue()) < 1 << 20
    for _ in range(12):
        assert httpx.post(f"{url}/predict", content=file.getvalue()).json()["blank"]


def test_large_work_is_shed_before_it_is_sent(start_server):
    server = start_server("--max-heavy", "1")
    data = photo()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(connect(server.url)) for _ in range(4)]
        for connection in busy:
            connection.sendall(head + data)
        statuses = [answer_to(connection) for connection in busy]
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
    assert httpx.post(f"{server.url}/predict", content=THREE).json()["digit"] == DIGIT
    assert counted(server.url, 'shed_total{reason="heavy"}') == statuses.count(503)
    assert len(data) > INLINE_BYTES


def answer_to(connection: socket.socket) -> int:
    return int(connection.recv(65536).split()[1])


def test_a_client_that_does_not_take_its_answer(start_server):
    server = start_server("--receive-seconds", "1")
    with connect(server.url) as connection:
        connection.sendall(b"GET /model.onnx HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        time.sleep(3)
        connection.settimeout(20)
        received = len(answer(connection))
    assert received < 60 * len(httpx.get(f"{server.url}/model.onnx").content)


def test_too_many_connections(start_server):
    url = start_server("--max-connections", "2").url
    with connect(url) as one, connect(url) as two:
        for connection in (one, two):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        with connect(url) as third:
            refused = answer(third)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health").status_code == 200:
                break
    assert counted(url, 'shed_total{reason="connections"}') >= 1

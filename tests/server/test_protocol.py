"""Clients as they are: Java's, curl's, those that do not listen while they send; and what a request is not to reach."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from inkdigits.self_test import DIGIT
from inkdigits.server.http.protocol import LINGER_BYTES
from inkdigits.server.pages import takes_gzip

from support.paths import ROOT
from support.requests import THREE

pytestmark = pytest.mark.slow

SECONDS = 60
LARGE = 21 << 20  # bytes, more than are read


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def told(url: str, *pieces: bytes) -> bytes:
    """All that comes until the server closes the connection."""
    with connect(url) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


@pytest.fixture
def three(tmp_path):
    path = tmp_path / "three.png"
    path.write_bytes(THREE)
    return path


def test_java_s_own_client_gets_its_digits(live_server, three):
    if not shutil.which("java"):
        assert not os.environ.get("CI"), "install a JDK: scripts/get-java.sh"
        pytest.skip("Java's own client was not tried: there is no java on PATH, see scripts/get-java.sh")
    command = [
        "java",
        "-Xshare:auto",
        str(ROOT / "tests" / "support" / "java" / "Predict.java"),
        f"{live_server}/predict",
    ]
    done = subprocess.run([*command, str(three), str(three)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        status, version, body = line.split(" ", 2)
        assert (status, version, json.loads(body)["digit"]) == ("200", "HTTP_1_1", DIGIT)


def test_curl_that_offers_http_2_gets_its_digit(live_server, three):
    if not shutil.which("curl"):
        assert not os.environ.get("CI"), "install curl"
        pytest.skip("curl was not tried: it is not on PATH")
    send = ["curl", "--http2", "--silent", "--data-binary", f"@{three}", "-H", "Content-Type: image/png"]
    done = subprocess.run([*send, f"{live_server}/predict"], capture_output=True, check=True, timeout=SECONDS)
    assert json.loads(done.stdout)["digit"] == DIGIT


def test_who_sends_too_much_and_only_then_listens_reads_why(live_server):
    for kind in ("image/png", "application/json"):
        request = urllib.request.Request(f"{live_server}/predict", bytes(LARGE), {"Content-Type": kind})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=SECONDS)
        assert caught.value.code == 413
        assert json.load(caught.value)["type"] == "/docs#body-too-large"


def test_who_is_refused_and_still_sends_reads_why(start_server, live_server):
    url = start_server("--api-keys", sha256(b"secret").hexdigest(), "--receive-seconds", "1").url
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    for _ in range(2):  # the connection is kept
        connection.request("POST", "/predict", bytes(LARGE // 3))
        response = connection.getresponse()
        assert (response.status, json.load(response)["type"]) == (401, "/docs#unauthorized")
    connection.close()
    post = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
    much = bytes(4 << 20)
    for head, status in (
        (post + b"Content-Length: 30000000\r\nConnection: close\r\n\r\n", 413),
        (post + b"X: " + b"x" * 70_000, 431),
        (post + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        (post + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (post + b"X : y\r\n\r\n", 400),
    ):
        assert statuses(told(live_server, head, much)) == [status], head[:90]
    with connect(url) as slow:
        slow.sendall(post)
        assert statuses(slow.recv(65536)) == [408]
        slow.sendall(much)
        assert slow.recv(65536) == b""
    full = start_server("--max-connections", "1").url
    with connect(full) as first:
        first.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert statuses(first.recv(65536)) == [200]
        assert statuses(told(full, post + b"Content-Length: 4194304\r\n\r\n", much)) == [503]


def test_nobody_is_heard_out_for_ever(live_server):
    with connect(live_server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        assert statuses(connection.recv(65536)) == [413]
        with pytest.raises(ConnectionError):
            for _ in range(LINGER_BYTES // (1 << 20) + 32):
                connection.sendall(bytes(1 << 20))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="it reads memory from Linux's /proc")
def test_requests_that_come_together_cost_no_memory_before_their_turn(start_server):
    server = start_server()
    request, count = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 20_000

    def peak() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) >> 10

    before = peak()
    last = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with connect(server.url) as connection:
        sender = threading.Thread(target=connection.sendall, args=[request * count + last])
        sender.start()
        came = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        sender.join()
    assert came.endswith(b'{"status":"ok"}')
    assert came.count(b"HTTP/1.1 404 ") == count
    assert peak() - before < 20, "MB"


def test_a_chunked_body_of_many_empty_lines_is_read_and_the_last_on_its_connection(live_server):
    part = b'--b\r\nContent-Disposition: form-data; name="%d"; filename="a.png"\r\n\r\n%b\r\n'
    junk = b"--b\r\n\r\n\r\n" * 90
    body = junk + part % (1, THREE + b"\r\n\r\n" * 2000) + b"--b--\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for pieces in ([head + chunks + hidden], [head, chunks + hidden], [head + chunks, hidden]):
        data = told(live_server, *pieces)
        assert statuses(data) == [200]
        assert b'"digit":%d' % DIGIT in data
        assert b"connection: close" in data


def test_a_key_in_a_trailer_opens_nothing(start_server):
    url = start_server("--api-keys", sha256(b"secret").hexdigest()).url
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    rest = b"%x\r\n%b\r\n0\r\nX-API-Key: secret\r\nAuthorization: Bearer secret\r\n\r\n" % (len(THREE), THREE)
    for pieces in ([head + rest], [head, rest], [head + rest[:-2], rest[-2:]]):
        assert statuses(told(url, *pieces)) == [401]
    assert statuses(told(url, head[:-2] + b"X-API-Key: secret\r\n\r\n" + rest)) == [200]


def test_forwarded_addresses_in_two_lines_are_one_list(start_server):
    url = start_server("--rate-limit", "1", "--rate-burst", "1", "--proxies", "2").url

    def ask(*lines: str) -> int:
        return httpx.post(
            f"{url}/predict", content=THREE, headers=[("X-Forwarded-For", line) for line in lines]
        ).status_code

    assert ask("1.1.1.1", "9.9.9.9") == 200
    assert ask("2.2.2.2", "9.9.9.9") == 200  # another client, by the same proxy
    assert ask("3.3.3.3, 2.2.2.2", "9.9.9.9") == 429  # what a client adds in front is not believed
    assert ask("2.2.2.2, 9.9.9.9") == 429


def test_refusals_are_counted_logged_and_have_an_id(start_server):
    server = start_server("--log-requests", "on")
    requests = (
        b"GET http:///health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    )
    for request in requests:
        data = told(server.url, request)
        assert re.search(rb"\r\nx-request-id: \S+\r\n", data)
        assert b"\r\ncontent-security-policy: default-src 'none'" in data
    text = httpx.get(f"{server.url}/metrics").text
    assert 'requests_total{route="page",status="400"} 3\n' in text
    assert 'requests_total{route="page",status="501"} 1\n' in text
    assert 'requests_total{route="/predict",status="400"} 1\n' in text
    lines = server.stop().splitlines()
    assert len(lines) == len(requests) + 1, lines


def test_a_slash_at_the_end_of_a_route(client, recognizer):
    assert client.post("/predict/", content=THREE).json() == client.post("/predict", content=THREE).json()
    assert client.post("/predict/?top=1", content=THREE).json()["top"]
    infer = f"/v2/models/{recognizer.model.name}/infer"
    request = {"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}]}
    assert client.post(f"{infer}/", json=request).json() == client.post(infer, json=request).json()
    for path in ("/health", "/ready", "/metrics", "/v2", "/v2/health/live", f"/v2/models/{recognizer.model.name}"):
        assert client.get(f"{path}/").status_code == 200, path
    assert client.get("/predict/").status_code == 405
    assert client.get("/v2/nothing/").json()["error"]
    for path in ("/app.js/", "//app.js", "/vendor/../app.js", "/./app.js", "/docs/", "/model.onnx/", "/predict//"):
        assert told_path(client, path) == 404, path


def told_path(client, path: str) -> int:
    """The status of a path that is sent as it stands."""
    data = told(str(client.base_url), b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
    return statuses(data)[0]


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("GZIP;q=1.0", True),
        ("br, gzip; q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip ; q=0, *", False),
        ("*;q=0", False),
        ("br", False),
        ("gzipped", False),
        ("identity, gzip;q=0.5", False),
    ],
)
def test_the_form_of_a_file(client, accepted, taken):
    assert takes_gzip(accepted) == taken
    response = client.get("/app.js", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in response.headers) == taken
    assert response.headers["vary"] == "Accept-Encoding"


def test_a_file_and_its_compressed_form_are_two_things(client):
    plain = client.get("/app.js", headers={"Accept-Encoding": "identity"})
    packed = client.get("/app.js", headers={"Accept-Encoding": "gzip"})
    assert plain.content == packed.content
    assert plain.headers["etag"] != packed.headers["etag"]
    assert (plain.headers.get("accept-ranges"), packed.headers.get("accept-ranges")) == ("bytes", None)
    for response, coding in ((plain, "identity"), (packed, "gzip")):
        for tag, status in ((plain.headers["etag"], 304), (packed.headers["etag"], 304)):
            again = client.get("/app.js", headers={"Accept-Encoding": coding, "If-None-Match": tag})
            assert again.status_code == (status if tag == response.headers["etag"] else 200)
            assert again.headers["vary"] == "Accept-Encoding"
    part = client.get("/app.js", headers={"Accept-Encoding": "gzip", "Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, plain.content[10:20])
    assert "content-encoding" not in part.headers
    stale = {"Accept-Encoding": "gzip", "Range": "bytes=10-19", "If-Range": packed.headers["etag"]}
    assert client.get("/app.js", headers=stale).status_code == 200
    old = told(str(client.base_url), b"GET /app.js HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    assert b"content-length: " in old
    assert b"transfer-encoding" not in old


def test_half_of_a_surrogate_pair_is_an_error_of_the_client_s(client, recognizer):
    path = f"/v2/models/{recognizer.model.name}/infer"
    tensor = json.dumps([{"name": "x", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}])
    for text in ("\\ud800", "\\uDFFF", "a\\udc00b"):
        for document in (
            f'{{"id": "{text}", "inputs": {tensor}}}',
            f'{{"id": "{text}", "n": NaN, "inputs": {tensor}}}',
            f'{{"n": -Infinity, "outputs": [{{"name": "{text}"}}], "inputs": {tensor}}}',
        ):
            assert client.post(path, content=document).status_code == 400
        for document in (
            f'{{"{text}": NaN}}',
            f'{{"image": "{text}", "n": NaN}}',
            f'{{"instances": [{{"{text}": NaN}}]}}',
        ):
            response = client.post("/predict", content=document, headers={"Content-Type": "application/json"})
            assert response.status_code == 400


def test_an_option_that_there_is_not(client):
    for query, words in (
        ("topp=3", "did you mean top?"),
        ("images=true", "did you mean image?"),
        ("zzz", "options are: "),
    ):
        response = client.post(f"/predict?{query}", content=THREE)
        assert response.status_code == 400
        assert words in response.json()["detail"]

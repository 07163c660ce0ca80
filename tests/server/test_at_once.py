"""Small predictions that come in one piece are answered past ASGI: the same answers, in order, counted alike."""

import asyncio
import io
import json
import re
import socket

import numpy as np
import pytest
from PIL import Image

from inkdigits.server.factory import create_app
from inkdigits.settings import Settings

from support.drawings import picture
from support.files import encode
from support.requests import THREE

PIXELS = np.asarray(Image.open(io.BytesIO(THREE)).convert("L"))


def multipart(*files: bytes) -> bytes:
    parts = (
        b'--b\r\nContent-Disposition: form-data; name="f%d"; filename="%d.png"\r\n\r\n%b\r\n' % (i, i, file)
        for i, file in enumerate(files)
    )
    return b"".join(parts) + b"--b--\r\n"


LARGE = encode(picture(5, 800))
BODIES = {
    "an image": (b"image/png", THREE),
    "undeclared": (b"", THREE),
    "bytes": (b"application/octet-stream", PIXELS.tobytes()),
    "JSON": (b"application/json", json.dumps({"pixels": PIXELS.ravel().tolist()}).encode()),
    "a form of one": (b"multipart/form-data; boundary=b", multipart(THREE)),
    "a form of three, one broken": (b"multipart/form-data; boundary=b", multipart(THREE, b"nothing", THREE)),
    "only broken ones": (b"multipart/form-data; boundary=b", multipart(b"nothing", b"nothing")),
    "a blank sheet": (b"image/png", encode(np.full((40, 40), 255, np.uint8))),
    "no image": (b"image/png", b"hello"),
    "a damaged image": (b"image/png", THREE[:60]),
    "too small an image": (b"image/png", encode(np.zeros((5, 5), np.uint8))),
    "nothing": (b"image/png", b""),
    "another type": (b"text/html", b"<html>"),
    "a wrong number": (b"application/json", b'{"pixels": [1, 2, "x"]}'),
    "a large image": (b"image/png", LARGE),
}


def request(kind: bytes, body: bytes, *headers: bytes, path: bytes = b"/predict") -> tuple[bytes, bytes]:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    lines += [b"Content-Type: " + kind] if kind else []
    return b"\r\n".join([*lines, b"", b""]), body


class Talk:
    """A connection, and the answers that come on it one after another."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._came = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        self._socket.sendall(b"".join(pieces))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._came:
            self._came += self._more()
        head, _, rest = self._came.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(rest) < length:
            rest += self._more()
        self._came = rest[length:]
        line, *headers = head.decode().split("\r\n")
        return int(line.split()[1]), dict(header.split(": ", 1) for header in headers), rest[:length]

    def _more(self) -> bytes:
        if data := self._socket.recv(65536):
            return data
        raise EOFError


def same(one, other):
    """Status, headers and body, but for what is of one request alone."""
    for headers in (one[1], other[1]):
        for name in ("x-request-id", "date"):
            headers.pop(name, None)
    return one == other


@pytest.mark.parametrize("name", BODIES)
def test_in_one_piece_or_in_two_the_answer_is_the_same(live_server, name):
    head, body = request(*BODIES[name])
    with Talk(live_server) as talk:
        talk.send(head, body)
        at_once = talk.answer()
        talk.send(head)
        if body:
            talk.send(body[:1])  # a packet of its own: the application waits for the rest
            talk.send(body[1:])
        assert same(at_once, talk.answer())
        talk.send(*request(*BODIES[name], path=b"/predict?image=false"))  # with options: the application's, too
        assert same(at_once, talk.answer())


def test_requests_that_come_together_are_answered_in_order(live_server):
    names = ["an image", "a large image", "no image", "JSON", "a large image", "another type", "bytes"]
    with Talk(live_server) as talk:
        talk.send(*(part for name in names for part in request(*BODIES[name])))
        together = [talk.answer() for _ in names]
        for name, answer in zip(names, together, strict=True):
            talk.send(*request(*BODIES[name]))
            assert same(talk.answer(), answer), name


def test_ids_and_the_end_of_a_connection(live_server):
    with Talk(live_server) as talk:
        talk.send(*request(b"image/png", THREE, b"X-Request-ID: mine"))
        status, headers, _ = talk.answer()
        assert (status, headers["x-request-id"]) == (200, "mine")
        assert "connection" not in headers
        talk.send(*request(b"image/png", THREE, b"Connection: close"))
        status, headers, _ = talk.answer()
        assert (status, headers["connection"]) == (200, "close")
        with pytest.raises(EOFError):
            talk.answer()


def scope(*headers: tuple[bytes, bytes], path="/predict", query=b"", method="POST") -> dict:
    called = {"method": method, "path": path, "query_string": query, "headers": list(headers)}
    return {"type": "http", "http_version": "1.1", "client": ("1.2.3.4", 5), **called}


def at_once(service, scope, body, there=True):
    """Whether it was taken on, and what was told."""
    told = []

    async def ask():
        taken = service.at_once(scope, body, lambda answer: told.append(answer) or there)
        await asyncio.sleep(0.05)
        return taken

    return asyncio.run(ask()), told


def counted(service) -> list[str]:
    text = service.metrics.text(service.deployment.recognizer.model, "1").decode()
    return re.findall(r'requests_total\{route="/predict",status="(\d+)"\} 1\b', text)


def test_what_is_of_another_kind_is_left_to_the_application():
    service = create_app(Settings())
    others = [
        scope(path="/v2/models/cnn/infer"),
        scope(method="PUT"),
        scope(query=b"top=3"),
        scope((b"content-encoding", b"gzip")),
    ]
    for each in others:
        assert at_once(service, each, THREE) == (False, [])
    assert at_once(service, scope((b"content-type", b"image/png")), LARGE) == (False, [])
    assert at_once(service, scope((b"content-type", b"image/png")), bytes(100_000)) == (False, [])
    assert at_once(create_app(Settings(max_bytes=1024)), scope(), bytes(1025)) == (False, [])
    for settings in (Settings(cors_origins="https://example.com"), Settings(rate_limit=5)):
        assert at_once(create_app(settings), scope(), THREE) == (False, [])
    assert counted(service) == []


def test_a_client_that_left_is_counted_as_one():
    service = create_app(Settings())
    assert at_once(service, scope(), THREE, there=False)[0]
    assert counted(service) == ["499"]


def test_a_fault_is_told_without_its_cause_and_logged(monkeypatch, caplog):
    service = create_app(Settings())

    def broken(*_, **__):
        raise RuntimeError("a secret path")

    monkeypatch.setattr(service.deployment.recognizer, "predict_preprocessed", broken)
    taken, [answer] = at_once(service, scope(), THREE)
    assert taken
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "a secret path" in caplog.text
    assert counted(service) == ["500"]


def test_an_image_that_cannot_be_read_does_not_harm_those_beside_it():
    service = create_app(Settings())
    told = []

    async def ask():
        for body in (THREE, THREE[:60], THREE):
            assert service.at_once(scope((b"content-type", b"image/png")), body, lambda a: told.append(a) or True)
        await asyncio.sleep(0.05)

    asyncio.run(ask())
    assert [answer.status for answer in told] == [200, 400, 200]
    assert json.loads(told[0].body)["digit"] == json.loads(told[2].body)["digit"] == 3

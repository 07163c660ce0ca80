"""Answers, and how they are sent: to an ASGI server, or as bytes of HTTP/1.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["FRESH", "JSON", "Answer", "Header", "fixed", "serialize"]

JSON = b"application/json"
FRESH = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n%s\r\n"

Header = tuple[bytes, bytes]


class Answer(NamedTuple):
    """A complete answer. It is an ASGI application that sends itself.

    Attributes:
        kind: the Content-Type.
        headers: in addition to those that every answer has.
    """

    status: int
    kind: bytes
    body: bytes
    headers: Sequence[Header] = ()

    def plus(self, header: Header) -> Answer:
        """Return a copy with another header."""
        return self._replace(headers=[*self.headers, header])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(self.body))
        headers = [(b"content-type", self.kind), length, _NOSNIFF, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def serialize(answer: Answer, headers: Iterable[Header]) -> bytes:
    """Return an answer as bytes of HTTP/1.1, with these headers in addition to its own."""
    more = b"".join([b"%s: %s\r\n" % header for header in chain(answer.headers, headers)])
    return _HEAD % (answer.status, _PHRASES[answer.status], answer.kind, len(answer.body), more) + answer.body


def fixed(body: bytes, media_type: str, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint whose answer never changes."""

    async def endpoint(request: Request) -> Response:
        return Response(body, 200, headers, media_type)

    return endpoint

"""Answers: what one is, how it goes to an ASGI server, and how it stands on the wire."""

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
    """A whole answer; as an ASGI application it sends itself.

    Attributes:
        kind: its Content-Type.
        headers: beside those that every answer has.
    """

    status: int
    kind: bytes
    body: bytes
    headers: Sequence[Header] = ()

    def plus(self, header: Header) -> Answer:
        """Return the same with a further header."""
        return self._replace(headers=[*self.headers, header])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(self.body))
        headers = [(b"content-type", self.kind), length, _NOSNIFF, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def serialize(answer: Answer, headers: Iterable[Header]) -> bytes:
    """Return an answer as HTTP/1.1 has it on the wire, with these headers beside its own."""
    more = b"".join([b"%s: %s\r\n" % header for header in chain(answer.headers, headers)])
    return _HEAD % (answer.status, _PHRASES[answer.status], answer.kind, len(answer.body), more) + answer.body


def fixed(body: bytes, media_type: str, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that always gives the same."""

    async def endpoint(request: Request) -> Response:
        return Response(body, 200, headers, media_type)

    return endpoint

"""Receives request bodies: what one may have, and what all that are under way may have together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from inkdigits.server.http.problems import BAD_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem, shown
from inkdigits.server.inference import Executor, overloaded
from inkdigits.server.observability.metrics import Metrics
from inkdigits.settings import Settings

__all__ = ["Bodies"]


class Bodies:
    """Receives request bodies, and holds no more of them than allowed.

    A body that came in one piece is not counted: the connection holds as much of any request, and their number is
    bounded by itself.
    """

    def __init__(self, settings: Settings, executor: Executor, metrics: Metrics) -> None:
        self._each = settings.max_bytes
        self._together = settings.max_buffered
        self._executor = executor
        self._metrics = metrics
        self._held = 0

    @asynccontextmanager
    async def receive(self, receive: Receive, headers: Mapping[bytes, bytes]) -> AsyncIterator[bytes]:
        """Receive a request's body, never more of it than is allowed; it counts until the end of the ``with``.

        Raises:
            Problem: the body is larger, as declared or as found while reading; or it is compressed, as no limit would
                then hold; or the server has too much to do.
            ClientDisconnect: the client left before its body was complete.
        """
        self._check(headers)
        start, held = perf_counter(), 0
        message = await receive()
        try:
            if message["type"] == "http.request" and not message.get("more_body"):
                body = message.get("body", b"")
                self._check_size(len(body))
            else:
                pieces = bytearray()
                while message["type"] == "http.request":
                    piece = message.get("body", b"")
                    self._check_size(len(pieces) + len(piece))
                    held += len(piece)
                    self._held += len(piece)
                    pieces += piece
                    if self._held > self._together:
                        detail = f"the bodies under way have more than {self._together:,} bytes; ask again later"
                        raise overloaded(self._metrics, "buffered", detail)
                    if not message.get("more_body"):
                        break
                    message = await receive()
                else:
                    raise ClientDisconnect
                body = bytes(pieces)
                del pieces
            self._metrics.stage("receive", perf_counter() - start)
            yield body
        finally:
            self._held -= held

    def _check(self, headers: Mapping[bytes, bytes]) -> None:
        encoding = headers.get(b"content-encoding", b"identity")
        declared = headers.get(b"content-length", b"0")
        if encoding.lower() != b"identity":
            detail = f"the Content-Encoding is {shown(encoding.decode('latin-1'))!r}; send the body as it is"
            raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Encoding": "identity"})
        if not declared.isdigit():
            raise Problem(BAD_REQUEST, f"the Content-Length is {declared[:20]!r}, not a number")
        if int(declared) > self._each:
            raise Problem(BODY_TOO_LARGE, f"the body has {int(declared):,} bytes; at most {self._each:,} are read")
        self._executor.check(int(declared))  # before it is sent

    def _check_size(self, size: int) -> None:
        if size > self._each:
            raise Problem(BODY_TOO_LARGE, f"the body has more than {self._each:,} bytes, the most that is read")

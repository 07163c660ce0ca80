"""Receives request bodies, within a limit for each and a limit for all that are buffered at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from inkdigits.server.http.problems import BAD_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem, shorten
from inkdigits.server.inference import Executor, overloaded
from inkdigits.server.observability.metrics import Metrics
from inkdigits.settings import Settings

__all__ = ["Bodies"]


class Bodies:
    """Receives request bodies, and buffers at most ``max_bytes`` of one and ``max_buffered`` of all.

    A body that arrives in one piece does not count: the connection has buffered it already, and the number of
    connections has its own limit.
    """

    def __init__(self, settings: Settings, executor: Executor, metrics: Metrics) -> None:
        self._each = settings.max_bytes
        self._together = settings.max_buffered
        self._executor = executor
        self._metrics = metrics
        self._held = 0

    @asynccontextmanager
    async def receive(
        self, receive: Receive, headers: Mapping[bytes, bytes], *, is_heavy: bool = False
    ) -> AsyncIterator[bytes]:
        """Receive a request's body. It counts as buffered until the end of the ``with`` block.

        Args:
            is_heavy: whether it is a large request, whatever its body.

        Raises:
            Problem: the body is too large, as declared or while reading; it is compressed, which would evade the
                limits; or the server is overloaded.
            ClientDisconnect: the client left before its body was complete.
        """
        self._check(headers, is_heavy)
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
                        detail = f"buffered requests have more than {self._together:,} bytes; try again later"
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

    def _check(self, headers: Mapping[bytes, bytes], is_heavy: bool) -> None:
        encoding = headers.get(b"content-encoding", b"identity")
        declared = headers.get(b"content-length", b"0")
        if encoding.lower() != b"identity":
            detail = f"the Content-Encoding is {shorten(encoding.decode('latin-1'))!r}; send the body uncompressed"
            raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Encoding": "identity"})
        if not declared.isdigit():
            raise Problem(BAD_REQUEST, f"the Content-Length is {declared[:20]!r}, not a number")
        if int(declared) > self._each:
            raise Problem(BODY_TOO_LARGE, f"the body has {int(declared):,} bytes; the limit is {self._each:,}")
        self._executor.check(int(declared), is_heavy=is_heavy)  # before the client sends it

    def _check_size(self, size: int) -> None:
        if size > self._each:
            raise Problem(BODY_TOO_LARGE, f"the body has more than {self._each:,} bytes, the limit")

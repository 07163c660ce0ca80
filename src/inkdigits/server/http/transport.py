"""The transport that a connection writes its answers to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Joined"]

_CONTINUE = b"HTTP/1.1 100"


class Joined:
    """A transport that sends the head of an answer together with the first of its body.

    uvicorn writes them one by one: two system calls, of which each costs as much as parsing a request does, and two
    packets.

    Args:
        linger: called when it is to close; whether it is to stay open until :meth:`finish`.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool] = lambda: False) -> None:
        self._transport = transport
        self._write = transport.write
        self._linger = linger
        self._closed = False
        self.is_closing = transport.is_closing
        self._head: bytes | None = b""  # what is held back; None while a body is sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            self._write(self._head + data)
            self._head = None
        elif self._head is None or data.startswith(_CONTINUE):
            self._write(data)
        else:
            self._head = data

    def end(self) -> None:
        """Of an answer; one without a body is a head alone."""
        if self._head:
            self._write(self._head)
        self._head = b""

    def close(self) -> None:
        self.end()
        if not self._closed:
            self._close()
            if not self._linger():
                self._transport.close()

    def finish(self) -> None:
        """Close now."""
        self._close()
        self._transport.close()

    def _close(self) -> None:
        self._closed = True
        self.is_closing = lambda: True

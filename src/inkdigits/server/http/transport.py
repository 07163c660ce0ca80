"""The transport to which a connection writes its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Joined"]

_CONTINUE = b"HTTP/1.1 100"


class Joined:
    """A transport that sends the head of an answer together with the first part of its body.

    uvicorn writes them one by one, in two packets and two system calls, each as expensive as parsing a request.

    Args:
        linger: called on :meth:`close`; returns whether to keep the socket open until :meth:`finish`.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool] = lambda: False) -> None:
        self._transport = transport
        self._write = transport.write
        self._linger = linger
        self._closed = False
        self.is_closing = transport.is_closing
        self._head: bytes | None = b""  # held back until the body; None while a body is sent

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
        """End an answer; one without a body is only a head."""
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

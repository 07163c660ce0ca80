"""Request heads that need no parsing, as they differ from the last one on their connection only in Content-Length."""

from __future__ import annotations

import re
from typing import Any, Self

__all__ = ["KnownHead"]

MAX_BODY = 64 << 10  # bytes; a larger body goes through the parser, which costs much more than parsing the head
_DIGITS = len(str(MAX_BODY))
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)\r\n", re.IGNORECASE)
_NAME = b"content-length"


class KnownHead:
    """The head of a request with a Content-Length, and its ASGI scope.

    Args:
        start: the head, valid, as received, up to the digits of its length.
        end: the rest of it, up to and including the empty line.
        scope: of that request, before any application changed it.
        keep_alive: whether the connection is kept after the answer.
    """

    __slots__ = ("_end", "_index", "_scope", "_start", "keep_alive")

    def __init__(self, start: bytes, end: bytes, scope: dict[str, Any], keep_alive: bool) -> None:
        self._start, self._end, self._scope, self.keep_alive = start, end, scope, keep_alive
        self._index = [name for name, _ in scope["headers"]].index(_NAME)

    @classmethod
    def of(cls, head: bytes, scope: dict[str, Any], keep_alive: bool) -> Self | None:
        """Return the known head of a request; None if there are more blanks around its length than any client sends."""
        found = _LENGTH.search(head)
        return cls(head[: found.start(1)], head[found.end(1) :], scope, keep_alive) if found else None

    def body_of(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Return where the body begins and ends, if a request with this head begins there and is complete."""
        if not data.startswith(self._start, at):
            return None
        first = at + len(self._start)
        last = data.find(b"\r", first, first + _DIGITS + 1)
        digits = data[first:last]
        if last < 0 or not digits.isdigit() or not data.startswith(self._end, last):
            return None
        begin = last + len(self._end)
        end = begin + int(digits)
        return (begin, end) if int(digits) <= MAX_BODY and end <= len(data) else None

    def scope(self, length: int) -> dict[str, Any]:
        """Return the scope of a request with this head, and a body of this length in bytes."""
        headers = self._scope["headers"].copy()
        headers[self._index] = (_NAME, b"%d" % length)
        return {**self._scope, "headers": headers, "state": self._scope["state"].copy()}

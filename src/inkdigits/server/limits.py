"""What requests may cost: the size of a body, that of all together, and whether work is done in line or in a thread.

A small image takes a fraction of a millisecond and is read in the event loop, which is the fastest for all; a photo
takes tens of milliseconds and would hold up every other request there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from inkdigits.decode import opened
from inkdigits.parts import PNG_HEAD
from inkdigits.server.metrics import Metrics
from inkdigits.server.problems import BAD_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem, shown
from inkdigits.server.work import Heavy, overloaded

__all__ = ["INLINE_BYTES", "INLINE_PARSED", "Bodies", "is_heavy", "pixels_of"]

INLINE_BYTES = 256 << 10  # larger bodies are read in a thread
INLINE_PARSED = 64 << 10  # larger bodies that hold more than one file's bytes are parsed in one; about 1 ms of JSON
INLINE_PIXELS = 512 * 512  # of all images of a request; about 2 ms of decoding and normalising
INLINE_IMAGES = 8


class Bodies:
    """Reads request bodies, and holds no more of them than allowed.

    A body that came in one piece is not counted: the connection holds as much of any request, and their number is
    bounded by itself.

    Args:
        each: bytes that one may have.
        together: bytes that all may have.
    """

    def __init__(self, heavy: Heavy, metrics: Metrics, each: int, together: int) -> None:
        self._heavy = heavy
        self._metrics = metrics
        self._each = each
        self._together = together
        self._held = 0

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> Body:
        """A request's body, never more of it in memory than is allowed; to be used in a ``with``, as it counts so long.

        Raises:
            Problem: the body is larger, as declared or as found while reading; or it is compressed, as no limit would
                then hold; or the server has too much to do.
            ClientDisconnect: the client left before its body was complete.
        """
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            detail = f"the Content-Encoding is {shown(encoding.decode('latin-1'))!r}; send the body as it is"
            raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Encoding": "identity"})
        declared = headers.get(b"content-length")
        if declared is not None:
            if not declared.isdigit():
                raise Problem(BAD_REQUEST, f"the Content-Length is {declared[:20]!r}, not a number")
            if int(declared) > self._each:
                raise Problem(BODY_TOO_LARGE, f"the body has {int(declared):,} bytes; at most {self._each:,} are read")
            if int(declared) > INLINE_BYTES:
                self._heavy.check()  # before it is sent
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body = message.get("body", b"")
            self._check(len(body))
            return Body(body, 0, self)
        return await self._pieces(message, receive)

    def _check(self, size: int) -> None:
        if size > self._each:
            raise Problem(BODY_TOO_LARGE, f"the body has more than {self._each:,} bytes, the most that is read")

    async def _pieces(self, message: Message, receive: Receive) -> Body:
        chunks = bytearray()
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                self._check(len(chunks) + len(chunk))
                self._held += len(chunk)
                chunks += chunk
                if self._held > self._together:
                    detail = f"the bodies under way have more than {self._together:,} bytes; ask again later"
                    raise overloaded(self._metrics, "buffered", detail)
                if not message.get("more_body"):
                    return Body(bytes(chunks), len(chunks), self)
                message = await receive()
        except BaseException:
            self.release(len(chunks))
            raise

    def release(self, size: int) -> None:
        """Forget so many bytes."""
        self._held -= size


class Body:
    """The bytes of a body; they count until the end of the ``with`` that this is used in."""

    __slots__ = ("_bodies", "_counted", "content")

    def __init__(self, content: bytes, counted: int, bodies: Bodies) -> None:
        self.content = content
        self._counted = counted
        self._bodies = bodies

    def __enter__(self) -> bytes:
        return self.content

    def __exit__(self, *_: object) -> None:
        self._bodies.release(self._counted)


def is_heavy(sources: Sequence[bytes | np.ndarray | Exception]) -> bool:
    """Whether these images would hold up the event loop."""
    return len(sources) > INLINE_IMAGES or sum(map(pixels_of, sources)) > INLINE_PIXELS


def pixels_of(source: bytes | np.ndarray | Exception) -> int:
    """Pixels of an image by its header alone; 0 for what has no readable header, or is known to be broken."""
    if isinstance(source, np.ndarray):
        return source.size
    if isinstance(source, Exception):
        return 0
    if source.startswith(PNG_HEAD):  # any other PNG is damaged
        return int.from_bytes(source[16:20]) * int.from_bytes(source[20:24])
    try:
        width, height = opened(source).size
    except Exception:  # whatever a format's parser stumbles over; reading the image will tell what is wrong
        return 0
    return width * height

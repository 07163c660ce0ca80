"""What requests may cost: the size of a body, that of all together, and whether work is done in line or in a thread.

A small image or a drawing takes a fraction of a millisecond and is read in the event loop, which is the fastest for
all. A larger picture may be made to take twenty, and a photo takes tens of milliseconds: both would hold up every other
request there, and are read in threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from inkdigits.errors import ImageError
from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import JPEG, pixels_of, scans_of
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    shown,
)
from inkdigits.server.inference import BATCH, Heavy, overloaded
from inkdigits.server.observability.metrics import Metrics

__all__ = ["INLINE_BYTES", "Bodies", "check_pixels", "is_heavy", "load_of", "parts_of"]

INLINE_BYTES = 64 << 10  # larger bodies are parsed and read in a thread; about 1 ms of JSON
INLINE_IMAGES = 8  # more are read in one, too
HEAVY_PIXELS = 512 * 512  # of a request's images; with more it takes one of the places for large ones
PART_PIXELS = BATCH * SIDE * SIDE  # of a request's images that are read before it is looked how long that took
# Images of a request may have so many pixels together, in the largest images that there may be. In that time a JPEG of
# one scan or a few is decoded; other formats take up to three times as long, and so does one of many scans.
REQUEST_IMAGES = 4
OTHER_FORMATS = 3
PLAIN_SCANS = 16


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


def is_heavy(load: int) -> bool:
    """Whether images of this load take a place among the large requests."""
    return load > HEAVY_PIXELS


def load_of(sources: Sequence[bytes | np.ndarray]) -> int:
    """The pixels of a request's images, by which it is decided where they are read."""
    return HEAVY_PIXELS + 1 if len(sources) > INLINE_IMAGES else sum(map(pixels_of, sources))


def parts_of(sources: Sequence[bytes | np.ndarray]) -> Iterator[Sequence[bytes | np.ndarray]]:
    """The images of a request in turn: as many at a time as are not large together, or one that is."""
    start = pixels = 0
    for i, source in enumerate(sources):
        size = pixels_of(source)
        if i > start and (pixels + size > PART_PIXELS or i - start == BATCH):
            yield sources[start:i]
            start, pixels = i, 0
        pixels += size
    if sources:
        yield sources[start:]


def check_pixels(sources: Sequence[bytes | np.ndarray], max_pixels: int) -> None:
    """Refuse images that take too long together, each of which may be read.

    Args:
        max_pixels: of one image.

    Raises:
        Problem: they do.
    """
    most = max(REQUEST_IMAGES * max_pixels, HEAVY_PIXELS)
    # One that is too large by itself is told so, and costs nothing.
    cost = sum(pixels * _weight(source) for source in sources if (pixels := pixels_of(source)) <= max_pixels)
    if cost > most:
        raise Problem(
            TOO_MANY_IMAGES,
            f"decoding this request takes as long as {cost:,.0f} pixels of JPEG, where other formats count "
            f"{OTHER_FORMATS} times; at most {most:,} are read at once: send fewer images, or smaller ones",
        )


def _weight(source: bytes | np.ndarray) -> float:
    """Times as long as a JPEG of one scan a picture takes, by its format."""
    if isinstance(source, np.ndarray):
        return 1
    try:
        scans = scans_of(source) if source.startswith(JPEG) else 0
    except ImageError:  # it is told when it is read
        return 1
    return max(1, scans / PLAIN_SCANS) if scans else OTHER_FORMATS

"""What one request may cost: the size of its body, and whether its work is done in line or in a thread.

A small image takes a fraction of a millisecond and is read in the event loop, which is the fastest for all; a photo
takes tens of milliseconds and would hold up every other request there.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from inkdigits.decode import FORMATS
from inkdigits.server.problems import BAD_REQUEST, BODY_TOO_LARGE, Problem

__all__ = ["is_heavy", "read_body"]

INLINE_BYTES = 256 << 10  # larger bodies are parsed and read in a thread
INLINE_PIXELS = 512 * 512  # of all images of a request; about 2 ms of decoding and normalising
INLINE_IMAGES = 8
_PNG = b"\x89PNG\r\n\x1a\n"


async def read_body(receive: Receive, declared: bytes | None, limit: int) -> bytes:
    """The request's body, never more than ``limit`` bytes of it in memory.

    Args:
        declared: the Content-Length header, if there is one.

    Raises:
        Problem: the body is larger, as declared or as found while reading.
        ClientDisconnect: the client left before its body was complete.
    """
    if declared is not None:
        if not declared.isdigit():
            raise Problem(BAD_REQUEST, f"the Content-Length is {declared[:20]!r}, not a number")
        if int(declared) > limit:
            raise Problem(BODY_TOO_LARGE, f"the body has {int(declared):,} bytes; at most {limit:,} are read")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise Problem(BODY_TOO_LARGE, f"the body has more than {limit:,} bytes, the most that is read")
        if not message.get("more_body"):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def is_heavy(sources: Sequence[bytes | np.ndarray]) -> bool:
    """Whether these images would hold up the event loop."""
    return len(sources) > INLINE_IMAGES or sum(map(_pixels, sources)) > INLINE_PIXELS


def _pixels(source: Any) -> int:
    """Pixels of an image by its header alone; 0 for what has no readable header, which fails fast."""
    if isinstance(source, np.ndarray):
        return source.size
    if source.startswith(_PNG):
        return int.from_bytes(source[16:20]) * int.from_bytes(source[20:24])
    try:
        width, height = Image.open(io.BytesIO(source), formats=FORMATS).size
    except Exception:  # whatever a format's parser stumbles over; reading the image will tell what is wrong
        return 0
    return width * height

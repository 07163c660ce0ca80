"""Images in JSON and in texts: pixels as numbers, and files as data URLs or base64.

Errors name place and value, such as ``instances[2].pixels[17] is 256``.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from inkdigits.preprocess import SIDE
from inkdigits.preprocess.strokes import MAX_POINTS
from inkdigits.server.cost import Source
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    MAX_QUOTED,
    TOO_MANY_IMAGES,
    UNREADABLE_IMAGE,
    Problem,
    shorten,
)

__all__ = [
    "PIXELS",
    "PIXEL_NAMES",
    "check_count",
    "describe",
    "file_of",
    "image_of",
    "levels",
    "load",
    "percent_decoded",
    "pieces",
]

PIXELS = SIDE * SIDE
PIXEL_NAMES = tuple(f"pixel{i}" for i in range(PIXELS))  # the names in Kaggle's digit files

IMAGE_VALUES = 2000  # lists, objects and commas of an image as numbers, even with each in its own list
STROKES_VALUES = 3 * MAX_POINTS  # of a drawing: a list and two commas a point
OTHER_VALUES = 1000  # of a request, in addition to its images
NUMBER_BYTES = 32  # of a value in JSON that is parsed in Python
PIECE = 1 << 20  # bytes of a text that are processed at a time: a millisecond or two

_EXPECTED = f"expected {PIXELS}, row by row, or {SIDE} rows of {SIDE}"
_NAMES = f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BEGINS = np.isin(np.arange(256), list(b"[{,"))  # by byte
_HEX = np.array([int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 16 for c in range(256)], np.uint8)
_NUMBERS = {int, float}  # by type, as True is an int too
# The letters in which RFC 4648's alphabet for URLs differs, and white space, which wraps lines.
_TO_STANDARD, _BLANKS = bytes.maketrans(b"-_", b"+/"), b" \t\r\n"


def check_count(max_files: int, count: int) -> None:
    """Reject requests with too many images.

    Raises:
        Problem: there are more than ``max_files``.
    """
    if count > max_files:
        raise Problem(TOO_MANY_IMAGES, f"the request has more than {max_files} images, the limit for one request")


def describe(value: Any) -> str:
    """Return a JSON value, shortened, for an error message."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    return shorten(json.dumps(value[: MAX_QUOTED + 1] if isinstance(value, str) else value))


def load(body: bytes, max_images: int, *, strokes: bool = False) -> Any:
    """Parse a JSON text.

    Args:
        max_images: maximum number of images in one request, which limits the number of values.
        strokes: whether it may hold a drawing, which may have more values than an image.

    Raises:
        Problem: it is not valid JSON, or has more values than this many images.
    """
    most = OTHER_VALUES + max(IMAGE_VALUES * max_images, STROKES_VALUES if strokes else 0)
    # Parsing blocks all other threads, and a list of one value takes thirty times the memory of its text: count first.
    if len(body) > most and (count := _count_values(body)) > most:
        raise Problem(
            TOO_MANY_IMAGES,
            f"the JSON has {count:,} lists, objects and commas; the limit is {most:,}, "
            f"enough for {max_images} images as numbers",
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = error
    try:
        # NaN is not JSON, but Python's encoder writes it: its decoder reads it, so that the error can name the pixel.
        # It also accepts lone surrogates, which no answer can quote.
        unread = b"NaN" in body or b"Infinity" in body
        if unread and len(body) <= NUMBER_BYTES * most and not _SURROGATE.search(body):
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise Problem(BAD_REQUEST, f"the body is not valid JSON: {fault}")


def pieces(data: bytes) -> Iterable[bytes]:
    """Return the data in pieces of :data:`PIECE` bytes."""
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def _count_values(body: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text: each follows one of these characters."""
    return sum(int(np.count_nonzero(_BEGINS[np.frombuffer(piece, np.uint8)])) for piece in pieces(body))


def image_of(value: Any, at: str = "", *, strokes: bool = False) -> Source:
    """Return one image from JSON: an object with ``image``, ``pixels`` or ``pixel0`` to ``pixel783``.

    An instance may also be a list of numbers.

    Args:
        at: place in the document, such as ``instances[2]``; "" for the document itself.
        strokes: whether it could be a drawing, too.

    Returns:
        The bytes of an image file, or (28, 28) uint8, or float32 in [0, 1].

    Raises:
        Problem: it is not an image.
    """
    name, dot = (at, f"{at}.") if at else ("the JSON", "")
    if at and isinstance(value, list):
        return _rows(value, at)
    if not isinstance(value, dict):
        raise Problem(INVALID_PIXELS, f"{name} is {describe(value)}, not an object with image, pixels, or {_NAMES}")
    if "image" in value:
        return file_of(value["image"], f"{dot}image")
    if "pixels" in value:
        return _rows(value["pixels"], f"{dot}pixels")
    missing = [key for key in PIXEL_NAMES if key not in value]
    if len(missing) == PIXELS:
        seen = ", ".join(map(shorten, list(value)[:5])) or "none"
        more = ", nor strokes" * strokes + ", nor instances" * (not at)
        raise Problem(INVALID_PIXELS, f"{name} has neither image, nor pixels, nor {_NAMES}{more} (keys: {seen})")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Problem(INVALID_PIXELS, f"{dot}{missing[0]}{more} missing; expected {_NAMES}")
    return levels([value[key] for key in PIXEL_NAMES], lambda i: f"{dot}pixel{i}").reshape(SIDE, SIDE)


def _rows(values: Any, at: str) -> np.ndarray:
    if not isinstance(values, list):
        raise Problem(INVALID_PIXELS, f"{at} is {describe(values)}, not a list of numbers; {_EXPECTED}")
    if len(values) == SIDE and isinstance(values[0], list):
        for y, row in enumerate(values):
            if not isinstance(row, list) or len(row) != SIDE:
                raise Problem(INVALID_PIXELS, f"{at}[{y}] is {describe(row)}; expected a row of {SIDE} numbers")
        flat = [value for row in values for value in row]
        return levels(flat, lambda i: f"{at}[{i // SIDE}][{i % SIDE}]").reshape(SIDE, SIDE)
    if len(values) != PIXELS:
        raise Problem(INVALID_PIXELS, f"{at} has {len(values):,} numbers; {_EXPECTED}")
    return levels(values, lambda i: f"{at}[{i}]").reshape(SIDE, SIDE)


def levels(values: list[Any] | np.ndarray, label: Callable[[int], str]) -> np.ndarray:
    """Return numbers from 0 to 255 as pixels.

    Args:
        values: a list of anything, or an array of numbers.
        label: returns the name of the value at an index, for error messages.

    Returns:
        uint8 if all are integers by type, else float32 in [0, 1].

    Raises:
        Problem: one of them is not a number from 0 to 255.
    """
    if isinstance(values, list) and set(map(type, values)) == {int}:
        with suppress(ValueError):  # one of them is out of range
            return np.frombuffer(bytearray(values), np.uint8)
    array = values if isinstance(values, np.ndarray) else _array(values)
    with np.errstate(invalid="ignore"):  # comparing NaN is False
        if array is None or (array.size and not (array.min() >= 0 and array.max() <= 255)):
            listed = values.ravel().tolist() if isinstance(values, np.ndarray) else values
            i, value = next((i, v) for i, v in enumerate(listed) if type(v) not in _NUMBERS or not 0 <= v <= 255)
            raise Problem(INVALID_PIXELS, f"{label(i)} is {describe(value)}; expected a number from 0 to 255")
    if array.dtype.kind in "iu":
        return array.astype(np.uint8)
    shares: np.ndarray = np.divide(array, 255, dtype=np.float64).astype(np.float32)
    return shares


def _array(values: list[Any]) -> np.ndarray | None:
    if not set(map(type, values)) <= _NUMBERS:
        return None
    try:
        array = np.array(values)
    except OverflowError:  # an integer too large for a float, among floats
        return None
    return array if array.dtype.kind in "iuf" else None


# Files as text


def file_of(text: Any, at: str) -> bytes:
    """Decode a file from text: a data URL (RFC 2397), or base64 (RFC 4648, either alphabet, padded or not).

    The declared type of a data URL is ignored. Addresses are not fetched.

    Args:
        text: str or bytes.

    Raises:
        Problem: it is neither.
    """
    if not isinstance(text, (str, bytes)):
        raise Problem(UNREADABLE_IMAGE, f"{at} is {describe(text)}; expected a string: a data URL, or base64")
    start = text[: MAX_QUOTED + 1]
    if isinstance(start, bytes):
        start = start.decode(errors="replace")
    if "://" in start[:16]:
        detail = f"{at} is the address {shorten(start)!r}; addresses are not fetched: send the image itself"
        raise Problem(UNREADABLE_IMAGE, detail)
    try:
        data = text if isinstance(text, bytes) else text.encode("ascii")
        if data[:5].lower() == b"data:":
            head, comma, data = data.partition(b",")
            if not comma:
                raise Problem(
                    UNREADABLE_IMAGE,
                    f"{at} is a data URL without a comma, so it holds no data "
                    "(curl -F cuts a text at its semicolon, curl --form-string does not)",
                )
            data = percent_decoded(data)
            if not head.lower().endswith(b";base64"):
                return data
        return _base64(data)
    except (UnicodeEncodeError, binascii.Error):
        detail = f"{at} is {describe(start)}, neither a data URL nor base64: send the image's file as either"
        raise Problem(UNREADABLE_IMAGE, detail) from None


def _base64(data: bytes) -> bytes:
    """Decode base64 in pieces, as decoding blocks all other threads.

    Raises:
        binascii.Error: it is not valid base64.
    """
    decoded, digits = [], b""
    for at in range(0, len(data), PIECE):
        digits += data[at : at + PIECE].translate(_TO_STANDARD, _BLANKS)
        whole = (len(digits) - 1) // 4 * 4 if at + PIECE < len(data) else 0
        if b"=" not in digits[:whole]:  # strict_mode accepts padding only at the end
            decoded.append(binascii.a2b_base64(digits[:whole], strict_mode=True))
            digits = digits[whole:]
    digits = digits.rstrip(b"=")
    decoded.append(binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True))
    return b"".join(decoded)


def percent_decoded(data: bytes) -> bytes:
    """Decode like ``urllib.parse.unquote_to_bytes``, without an object for each escape."""
    if b"%" not in data:
        return data
    decoded, at = [], 0
    while at < len(data):
        end = at + PIECE
        if end < len(data) and (cut := data.rfind(b"%", end - 2, end)) >= 0:
            end = cut
        letters = np.frombuffer(data[at:end] + b"\0\0", np.uint8)
        places = np.flatnonzero(letters == ord("%"))
        high, low = _HEX[letters[places + 1]], _HEX[letters[places + 2]]
        escapes = (high < 16) & (low < 16)
        places = places[escapes]
        kept = np.ones(len(letters), bool)
        kept[places + 1] = kept[places + 2] = kept[-2:] = False
        letters = letters.copy()
        letters[places] = high[escapes] * 16 + low[escapes]
        decoded.append(letters[kept].tobytes())
        at = end
    return b"".join(decoded)

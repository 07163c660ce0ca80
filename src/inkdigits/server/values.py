"""What a client writes as JSON or text → images: numbers that are pixels, and files as data URLs or base64.

A fault is told with its place and its value, such as ``instances[2].pixels[17] is 256``.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from inkdigits.preprocess import SIDE
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    SHOWN,
    TOO_MANY_IMAGES,
    UNREADABLE_IMAGE,
    Problem,
    shown,
)

__all__ = ["PIECE", "PIXELS", "PIXEL_NAMES", "file_of", "image_of", "levels", "load", "percent_decoded", "told"]

PIXELS = SIDE * SIDE
PIXEL_NAMES = tuple(f"pixel{i}" for i in range(PIXELS))  # as Kaggle's digit files name them
EXPECTED = f"expected {PIXELS}, row by row, or {SIDE} rows of {SIDE}"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
IMAGE_VALUES = 2000  # lists, objects and commas of an image as numbers; each in a list of its own, as some tensors are
OTHER_VALUES = 1000  # of a request beside its images
NUMBER_BYTES = 32  # of a value in a text that is parsed in Python
PIECE = 1 << 20  # bytes of a text that are gone through at a time: a millisecond or two
_BEGINS = np.isin(np.arange(256), list(b"[{,"))  # by byte
_HEX = np.array([int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 16 for c in range(256)], np.uint8)
_NUMBERS = {int, float}  # by type, as True is an int too
# The letters in which RFC 4648's alphabet for URLs differs; and what lines are wrapped with.
_TO_STANDARD, _BLANKS = bytes.maketrans(b"-_", b"+/"), b" \t\r\n"


def load(body: bytes, max_images: int) -> Any:
    """The value of a JSON text.

    Args:
        max_images: most images of a request, of which each is so many values.

    Raises:
        Problem: it is not valid JSON, or has more values than so many images.
    """
    most = OTHER_VALUES + IMAGE_VALUES * max_images
    # While it is parsed nothing else goes on, and a list of one takes thirty times its text: counted first.
    if len(body) > most and (count := _values(body)) > most:
        raise Problem(
            TOO_MANY_IMAGES,
            f"the JSON has {count:,} lists, objects and commas; at most {most:,} are read, "
            f"which is room for {max_images} images as numbers",
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = error
    try:
        # NaN is no JSON, but Python's own encoder writes it: read so, the answer can say which pixel it is.
        # But it takes half of a surrogate pair for a letter, which no answer can repeat.
        unread = b"NaN" in body or b"Infinity" in body
        if unread and len(body) <= NUMBER_BYTES * most and not _SURROGATE.search(body):
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise Problem(BAD_REQUEST, f"the body is not valid JSON: {fault}")


def _values(body: bytes) -> int:
    """How many values a JSON text has, at most: each begins after one of these signs."""
    pieces = (np.frombuffer(body[at : at + PIECE], np.uint8) for at in range(0, len(body), PIECE))
    return sum(int(np.count_nonzero(_BEGINS[piece])) for piece in pieces)


def percent_decoded(data: bytes) -> bytes:
    """As ``urllib.parse.unquote_to_bytes``, without an object for each escape."""
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


def _base64(data: bytes) -> bytes:
    """Decoded, a piece at a time, as no other thread goes on meanwhile.

    Raises:
        binascii.Error: it is no base64.
    """
    decoded, digits = [], b""
    for at in range(0, len(data), PIECE):
        digits += data[at : at + PIECE].translate(_TO_STANDARD, _BLANKS)
        whole = (len(digits) - 1) // 4 * 4 if at + PIECE < len(data) else 0
        if b"=" not in digits[:whole]:  # which strict_mode refuses but at the end
            decoded.append(binascii.a2b_base64(digits[:whole], strict_mode=True))
            digits = digits[whole:]
    digits = digits.rstrip(b"=")
    decoded.append(binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True))
    return b"".join(decoded)


def image_of(value: Any, at: str = "") -> bytes | np.ndarray:
    """One image, as an object with ``image``, ``pixels`` or ``pixel0`` to ``pixel783``; one of several also as a list.

    Args:
        at: its place in the document, such as ``instances[2]``; "" is the document itself.

    Returns:
        The bytes of an image file, or (28, 28) uint8, or float32 in [0, 1].

    Raises:
        Problem: it is none.
    """
    name, dot = (at, f"{at}.") if at else ("the JSON", "")
    if at and isinstance(value, list):
        return _rows(value, at)
    if not isinstance(value, dict):
        raise Problem(
            INVALID_PIXELS,
            f"{name} is {told(value)}, not an object with image, pixels, or {PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}",
        )
    if "image" in value:
        return file_of(value["image"], f"{dot}image")
    if "pixels" in value:
        return _rows(value["pixels"], f"{dot}pixels")
    missing = [key for key in PIXEL_NAMES if key not in value]
    if len(missing) == PIXELS:
        seen = ", ".join(map(shown, list(value)[:5])) or "none"
        raise Problem(
            INVALID_PIXELS,
            f"{name} has neither image, nor pixels, nor {PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]} (keys: {seen})",
        )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Problem(
            INVALID_PIXELS, f"{dot}{missing[0]}{more} missing; expected {PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}"
        )
    return levels([value[key] for key in PIXEL_NAMES], lambda i: f"{dot}pixel{i}").reshape(SIDE, SIDE)


def _rows(values: Any, at: str) -> np.ndarray:
    if not isinstance(values, list):
        raise Problem(INVALID_PIXELS, f"{at} is {told(values)}, not a list of numbers; {EXPECTED}")
    if len(values) == SIDE and isinstance(values[0], list):
        for y, row in enumerate(values):
            if not isinstance(row, list) or len(row) != SIDE:
                raise Problem(INVALID_PIXELS, f"{at}[{y}] is {told(row)}; expected a row of {SIDE} numbers")
        flat = [value for row in values for value in row]
        return levels(flat, lambda i: f"{at}[{i // SIDE}][{i % SIDE}]").reshape(SIDE, SIDE)
    if len(values) != PIXELS:
        raise Problem(INVALID_PIXELS, f"{at} holds {len(values):,} numbers; {EXPECTED}")
    return levels(values, lambda i: f"{at}[{i}]").reshape(SIDE, SIDE)


def levels(values: list[Any] | np.ndarray, label: Callable[[int], str]) -> np.ndarray:
    """Numbers from 0 to 255 as pixels.

    Args:
        values: a list of anything, or an array of numbers.
        label: the name of the value at an index, for the message of a fault.

    Returns:
        As many, uint8 when all are whole by type, else float32 in [0, 1].

    Raises:
        Problem: one of them is no number from 0 to 255.
    """
    if isinstance(values, list) and set(map(type, values)) == {int}:
        with suppress(ValueError):  # one of them is no byte
            return np.frombuffer(bytearray(values), np.uint8)
    array = values if isinstance(values, np.ndarray) else _array(values)
    with np.errstate(invalid="ignore"):  # NaN goes through both, and fails
        if array is None or (array.size and not (array.min() >= 0 and array.max() <= 255)):
            listed = values.ravel().tolist() if isinstance(values, np.ndarray) else values
            i, value = next(_faults(listed))
            raise Problem(INVALID_PIXELS, f"{label(i)} is {told(value)}; expected a number from 0 to 255")
    if array.dtype.kind in "iu":
        return array.astype(np.uint8)
    shares: np.ndarray = np.divide(array, 255, dtype=np.float64).astype(np.float32)
    return shares


def _array(values: list[Any]) -> np.ndarray | None:
    if not set(map(type, values)) <= _NUMBERS:
        return None
    try:
        array = np.array(values)
    except OverflowError:  # a whole number beyond all floats, among floats
        return None
    return array if array.dtype.kind in "iuf" else None


def _faults(values: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    return ((i, v) for i, v in enumerate(values) if type(v) not in _NUMBERS or not 0 <= v <= 255)


def file_of(text: Any, at: str) -> bytes:
    """The file in a text or its bytes: a data URL (RFC 2397), or base64 (RFC 4648, either alphabet, padded or not).

    The type that a data URL declares is not looked at. Addresses are not fetched.

    Raises:
        Problem: it is neither.
    """
    if not isinstance(text, (str, bytes)):
        raise Problem(UNREADABLE_IMAGE, f"{at} is {told(text)}; expected a text: a data URL, or base64")
    start = text[: SHOWN + 1]
    if isinstance(start, bytes):
        start = start.decode(errors="replace")
    if "://" in start[:16]:
        raise Problem(
            UNREADABLE_IMAGE, f"{at} is the address {shown(start)!r}; addresses are not fetched: send the image itself"
        )
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
        raise Problem(
            UNREADABLE_IMAGE, f"{at} is {told(start)}, neither a data URL nor base64: send the image's file as either"
        ) from None


def told(value: Any) -> str:
    """A value as a client wrote it, cut short."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    return shown(json.dumps(value[: SHOWN + 1] if isinstance(value, str) else value))

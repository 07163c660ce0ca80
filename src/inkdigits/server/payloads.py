"""Parses request bodies into images: a raw file, multipart, a form, JSON, or 784 bytes.

File names and declared types are not trusted: the content decides what an image is. Errors name place and value, such
as ``instances[2].pixels[17] is 256``.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import pixels_of
from inkdigits.server.cost import Source
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    MAX_QUOTED,
    TOO_MANY_IMAGES,
    UNREADABLE_IMAGE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    shorten,
)

__all__ = [
    "ACCEPT_POST",
    "PIXELS",
    "PIXEL_NAMES",
    "Input",
    "check_count",
    "describe",
    "file_of",
    "image_of",
    "levels",
    "load",
    "parse",
    "percent_decoded",
]

PIXELS = SIDE * SIDE
PIXEL_NAMES = tuple(f"pixel{i}" for i in range(PIXELS))  # the names in Kaggle's digit files
FIELD = "image"  # the form field whose text is an image file
ACCEPT_POST = (
    "image/*, multipart/form-data, application/json, application/x-www-form-urlencoded, application/octet-stream"
)

MAX_FIELDS = 100  # fields of one form that are not images
MAX_OPTIONS = 2000  # bytes of a Content-Type or Content-Disposition; parsing takes quadratic time
IMAGE_VALUES = 2000  # lists, objects and commas of an image as numbers, even with each in its own list
OTHER_VALUES = 1000  # of a request, in addition to its images
NUMBER_BYTES = 32  # of a value in JSON that is parsed in Python
PIECE = 1 << 20  # bytes of a text that are processed at a time: a millisecond or two

_FORM = b"application/x-www-form-urlencoded"
# The default of curl, and types that say nothing: the content decides.
_UNDECLARED = (b"", b"application/octet-stream", _FORM, b"binary/octet-stream")
# No image file looks like a form: all have bytes that are not text.
_A_FORM = re.compile(rb"[\w.%+*-]+=")
_TEXT = bytes([*range(0x20, 0x7F)]) + b"\r\n"
_EXPECTED = f"expected {PIXELS}, row by row, or {SIDE} rows of {SIDE}"
_NAMES = f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BEGINS = np.isin(np.arange(256), list(b"[{,"))  # by byte
_HEX = np.array([int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 16 for c in range(256)], np.uint8)
_NUMBERS = {int, float}  # by type, as True is an int too
# The letters in which RFC 4648's alphabet for URLs differs, and white space, which wraps lines.
_TO_STANDARD, _BLANKS = bytes.maketrans(b"-_", b"+/"), b" \t\r\n"


@dataclass(slots=True)
class Input:
    """One image of a request: its file, its pixels or its problem, and its name."""

    source: Source | Problem
    name: str = ""


def parse(content_type: str, body: bytes, max_files: int) -> tuple[list[Input], bool]:
    """Return the images of a request body, at least one, and whether the answer is a list.

    Args:
        content_type: the request's Content-Type header, or "".
        max_files: maximum number of images in one request.

    Raises:
        Problem: the body has no image or too many, cannot be parsed as its Content-Type, or has a single image that
            is invalid.
    """
    if not body:
        raise Problem(BAD_REQUEST, "the body is empty (0 bytes); send an image, multipart files or JSON pixels")
    if content_type[:6].lower() == "image/":
        return [Input(body)], False
    kind, options = _options("Content-Type", content_type.encode("latin-1"))
    if kind == b"multipart/form-data":
        return _several(_multipart(body, options.get(b"boundary", b""), max_files))
    if kind == b"application/json" or kind.endswith(b"+json"):
        return _json(body, max_files)
    if kind in _UNDECLARED:
        # 784 raw pixels may begin with the code of a brace, but hardly end with the other one, too.
        if body.lstrip()[:1] == b"{" and (len(body) != PIXELS or body.rstrip()[-1:] == b"}"):
            return _json(body, max_files)
        if kind == _FORM and _is_form(body):
            return _several(_urlencoded(body, max_files))
        if len(body) == PIXELS and not pixels_of(body):
            return [Input(np.frombuffer(body, np.uint8).reshape(SIDE, SIDE))], False
        return [Input(body)], False
    detail = f"the Content-Type is {shorten(content_type)!r}; supported are {ACCEPT_POST}"
    raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Post": ACCEPT_POST})


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


def _options(name: str, value: bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """Return a header's value and its options.

    Raises:
        Problem: it is too long.
    """
    if value and len(value) > MAX_OPTIONS:
        raise Problem(BAD_REQUEST, f"the {name} has {len(value):,} bytes; the limit is {MAX_OPTIONS:,}")
    return parse_options_header(value)


def _several(inputs: list[Input]) -> tuple[list[Input], bool]:
    """Return a form's images and whether there are several: a single image gets a single answer."""
    if len(inputs) == 1 and isinstance(inputs[0].source, Problem):
        raise inputs[0].source
    return inputs, len(inputs) > 1


def _input(name: str, function: Callable[[Any, str], Source], value: Any) -> Input:
    """Return an image, or the problem of an invalid one, so that the others are still answered."""
    try:
        return Input(function(value, name), name)
    except Problem as problem:
        return Input(problem, name)


# JSON


def _json(body: bytes, max_files: int) -> tuple[list[Input], bool]:
    document = load(body, max_files)
    if not isinstance(document, dict) or "instances" not in document:
        return [Input(image_of(document))], False
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise Problem(INVALID_PIXELS, f"instances is {describe(instances)}; expected a list of one image or more")
    check_count(max_files, len(instances))
    return [_input(f"instances[{i}]", image_of, value) for i, value in enumerate(instances)], True


def load(body: bytes, max_images: int) -> Any:
    """Parse a JSON text.

    Args:
        max_images: maximum number of images in one request, which limits the number of values.

    Raises:
        Problem: it is not valid JSON, or has more values than this many images.
    """
    most = OTHER_VALUES + IMAGE_VALUES * max_images
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


def _pieces(data: bytes) -> Iterable[bytes]:
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def _count_values(body: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text: each follows one of these characters."""
    return sum(int(np.count_nonzero(_BEGINS[np.frombuffer(piece, np.uint8)])) for piece in _pieces(body))


def image_of(value: Any, at: str = "") -> Source:
    """Return one image from JSON: an object with ``image``, ``pixels`` or ``pixel0`` to ``pixel783``.

    An instance may also be a list of numbers.

    Args:
        at: place in the document, such as ``instances[2]``; "" for the document itself.

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
        several = "" if at else ", nor instances"
        raise Problem(INVALID_PIXELS, f"{name} has neither image, nor pixels, nor {_NAMES}{several} (keys: {seen})")
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


# Forms


def _is_form(body: bytes) -> bool:
    return _A_FORM.match(body, 0, PIECE) is not None and not any(p.translate(None, _TEXT) for p in _pieces(body))


def _urlencoded(body: bytes, max_files: int) -> list[Input]:
    """Return the images in a form's fields named :data:`FIELD`."""
    pairs = body.split(b"&", max_files + MAX_FIELDS)
    if len(pairs) > max_files + MAX_FIELDS:
        raise Problem(TOO_MANY_IMAGES, f"the form has more than {max_files + MAX_FIELDS} fields, the limit")
    names, found = [], []
    while pairs:  # one at a time, as decoding copies each several times
        name, _, value = pairs.pop().partition(b"=")
        names.append(percent_decoded(name).decode(errors="replace"))
        if names[-1] == FIELD:
            # An unescaped plus is kept, not decoded as a space: it is a digit of base64.
            value = percent_decoded(value)
            found.append(_input(FIELD, file_of, value))
    check_count(max_files, len(found))
    return found[::-1] or _no_image("form", names[::-1])


def _no_image(what: str, fields: list[str]) -> list[Input]:
    seen = ", ".join(map(shorten, fields[:5])) or "none"
    raise Problem(
        BAD_REQUEST,
        f"the {what} has no image (text fields: {seen}); send each image as a file, with a filename, "
        f"or as a field {FIELD} with a data URL or base64",
    )


def _multipart(body: bytes, boundary: bytes, max_files: int) -> list[Input]:
    """Return the images of a multipart/form-data body (RFC 7578): files of any field name, and text fields.

    The parser has no limits; they are enforced here.
    """
    form = _Multipart(max_files)
    # The names of its callbacks, which mypy knows as a TypedDict.
    calls: Any = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, calls)
        for piece in _pieces(body):
            parser.write(piece)
    except FormParserError as error:
        raise Problem(BAD_REQUEST, f"the multipart body is damaged: {error}") from None
    if not form.complete:
        raise Problem(BAD_REQUEST, "the multipart body ends before its closing boundary; send all of it")
    return form.files or _no_image("multipart body", form.fields)


class _Multipart:
    """Collects the parts of one multipart body."""

    def __init__(self, max_files: int) -> None:
        self.files: list[Input] = []
        self.fields: list[str] = []
        self.complete = False
        self._max_files = max_files
        self._others = 0
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []

    def on_part_begin(self) -> None:
        self._headers, self._data = {}, []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def on_part_end(self) -> None:
        _, options = _options("Content-Disposition of a part", self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode(errors="replace")
        name = options.get(b"filename", b"").decode(errors="replace")
        data = b"".join(self._data)
        if name or self._headers.get(b"content-type", b"").lower().startswith(b"image/"):
            self.files.append(Input(data, name or field))
        elif field == FIELD and data and not options.get(b"filename"):
            self.files.append(_input(field, file_of, data) if data.isascii() else Input(data, field))
        else:
            self._others += 1
            # Browsers send an empty file input as an empty file without a name.
            if b"filename" not in options or data:
                self.fields.append(field)
            if self._others > MAX_FIELDS:
                detail = f"the multipart body has more than {MAX_FIELDS} fields that are not images, the limit"
                raise Problem(TOO_MANY_IMAGES, detail)
        check_count(self._max_files, len(self.files))

    def on_end(self) -> None:
        self.complete = True

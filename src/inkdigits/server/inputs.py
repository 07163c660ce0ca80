"""What a client may send → images: the raw file, multipart, or JSON numbers.

Nothing here trusts a name or a declared type: what an image is, its content decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inkdigits.image import SIDE
from inkdigits.server.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    shown,
)

__all__ = ["ACCEPT_POST", "Input", "parse"]

PIXELS = SIDE * SIDE
PIXEL_NAMES = tuple(f"pixel{i}" for i in range(PIXELS))  # as Kaggle's digit files name them
MAX_FIELDS = 100  # text fields of one multipart body
ACCEPT_POST = "image/*, multipart/form-data, application/json, application/octet-stream"
# What curl declares by itself, and what says nothing: the content decides.
_UNDECLARED = (b"", b"application/octet-stream", b"application/x-www-form-urlencoded", b"binary/octet-stream")


@dataclass(frozen=True, slots=True)
class Input:
    """One image of a request, with its file name where it has one."""

    source: bytes | np.ndarray
    name: str = ""


def parse(content_type: str, body: bytes, max_files: int) -> list[Input]:
    """The images of a request body; at least one.

    Args:
        content_type: the request's Content-Type header, or "".
        max_files: most images in one request.

    Raises:
        Problem: the body holds no image, too many, or cannot be parsed as what it is said to be.
    """
    if not body:
        raise Problem(BAD_REQUEST, "the body is empty (0 bytes); send an image, multipart files or JSON pixels")
    kind, options = parse_options_header(content_type)
    if kind.startswith(b"image/"):
        return [Input(body)]
    if kind == b"multipart/form-data":
        return _multipart(body, options.get(b"boundary", b""), max_files)
    if kind == b"application/json" or kind.endswith(b"+json"):
        return [Input(_json_pixels(body))]
    if kind in _UNDECLARED:
        return [Input(_json_pixels(body) if body.lstrip()[:1] == b"{" else body)]
    raise Problem(
        UNSUPPORTED_MEDIA_TYPE,
        f"the Content-Type is {shown(content_type)!r}; taken are {ACCEPT_POST}",
        {"Accept-Post": ACCEPT_POST},
    )


def _multipart(body: bytes, boundary: bytes, max_files: int) -> list[Input]:
    """The files of a multipart/form-data body (RFC 7578), whatever their fields are called."""
    form = _Form(max_files)
    try:
        MultipartParser(boundary, form.callbacks()).write(body)
    except FormParserError as error:
        raise Problem(BAD_REQUEST, f"the multipart body is damaged: {error}") from None
    if not form.complete:
        raise Problem(BAD_REQUEST, "the multipart body ends before its closing boundary; send all of it")
    if not form.files:
        seen = ", ".join(map(shown, form.fields[:5])) or "none"
        raise Problem(
            BAD_REQUEST,
            f"the multipart body holds no file (text fields: {seen}); send each image as a file, with a filename",
        )
    return form.files


class _Form:
    """Collects the parts of one multipart body."""

    def __init__(self, max_files: int) -> None:
        self.max_files = max_files
        self.files: list[Input] = []
        self.fields: list[str] = []
        self.complete = False
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode(errors="replace")
        name = options.get(b"filename", b"").decode(errors="replace")
        data = b"".join(self._data)
        if not name and not self._headers.get(b"content-type", b"").lower().startswith(b"image/"):
            # A form sends a file input that nothing was chosen in as an empty file without a name.
            if b"filename" not in options or data:
                self.fields.append(field)
            if len(self.fields) > MAX_FIELDS:
                raise Problem(
                    TOO_MANY_IMAGES, f"the multipart body has more than {MAX_FIELDS} text fields, the most that is read"
                )
            return
        self.files.append(Input(data, name or field))
        if len(self.files) > self.max_files:
            raise Problem(
                TOO_MANY_IMAGES, f"the request holds more than {self.max_files} images, the most that is read at once"
            )

    def _finish(self) -> None:
        self.complete = True


def _json_pixels(body: bytes) -> np.ndarray:
    """``{"pixels": [784 numbers]}`` or ``{"pixel0": …, …, "pixel783": …}`` → (28, 28), uint8, or float32 in [0, 1]."""
    document = _load(body)
    if not isinstance(document, dict):
        raise Problem(INVALID_PIXELS, f"the JSON is {_json(document)}, not an object with pixels or pixel0 to pixel783")
    if "pixels" in document:
        values = document["pixels"]
        if not isinstance(values, list):
            raise Problem(INVALID_PIXELS, f"pixels is {_json(values)}, not a list of {PIXELS} numbers")
        if len(values) != PIXELS:
            raise Problem(
                INVALID_PIXELS,
                f"pixels holds {len(values):,} numbers; expected {PIXELS}: {SIDE} rows of {SIDE}, one after another",
            )
        return _image(values, "pixels[{}]".format)
    missing = [name for name in PIXEL_NAMES if name not in document]
    if len(missing) == PIXELS:
        seen = ", ".join(shown(key) for key in list(document)[:5]) or "none"
        raise Problem(INVALID_PIXELS, f"the JSON has neither pixels nor pixel0 to pixel{PIXELS - 1} (keys: {seen})")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Problem(INVALID_PIXELS, f"{missing[0]}{more} missing; expected pixel0 to pixel{PIXELS - 1}")
    return _image([document[name] for name in PIXEL_NAMES], "pixel{}".format)


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = error
    try:
        # NaN is no JSON, but Python's own encoder writes it: read so, the answer can say which pixel it is.
        if b"NaN" in body or b"Infinity" in body:
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise Problem(BAD_REQUEST, f"the body is not valid JSON: {fault}")


def _image(values: list[Any], label: Callable[[int], str]) -> np.ndarray:
    for i, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value <= 255:  # by type, as True is an int too
            raise Problem(INVALID_PIXELS, f"{label(i)} is {_json(value)}; expected a number from 0 to 255")
    array = np.array(values).reshape(SIDE, SIDE)
    return array.astype(np.uint8) if array.dtype.kind == "i" else (array / 255).astype(np.float32)


def _json(value: Any) -> str:
    """A value as a client wrote it, cut short."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    return shown(json.dumps(value))

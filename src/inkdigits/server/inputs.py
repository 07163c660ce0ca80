"""What a client may send → images: the raw file, multipart, a form, JSON, or 784 bytes.

Nothing here trusts a name or a declared type: what an image is, its content decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import pixels_of
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    shown,
)
from inkdigits.server.values import PIECE, PIXELS, file_of, image_of, load, percent_decoded, told

__all__ = ["ACCEPT_POST", "Input", "at_most", "parse"]

MAX_FIELDS = 100  # fields of one form that hold no image
MAX_OPTIONS = 2000  # bytes of a Content-Type or Content-Disposition; parsing one takes time by their square
FIELD = "image"  # of a form: the text in it is an image's file
ACCEPT_POST = (
    "image/*, multipart/form-data, application/json, application/x-www-form-urlencoded, application/octet-stream"
)
_FORM = b"application/x-www-form-urlencoded"
# What curl declares by itself, and what says nothing: the content decides.
_UNDECLARED = (b"", b"application/octet-stream", _FORM, b"binary/octet-stream")
# No image file looks like a form: all of them hold bytes beyond these.
_A_FORM = re.compile(rb"[\w.%+*-]+=")
_TEXT = bytes([*range(0x20, 0x7F)]) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Input:
    """One image of a request: the bytes of its file, its pixels, or what is wrong with it; and its name."""

    source: bytes | np.ndarray | Problem
    name: str = ""


def parse(content_type: str, body: bytes, max_files: int) -> tuple[list[Input], bool]:
    """The images of a request body, at least one; and whether they were sent as several.

    Args:
        content_type: the request's Content-Type header, or "".
        max_files: most images in one request.

    Raises:
        Problem: the body holds no image, too many, or cannot be parsed as what it is said to be; or it holds one, and
            there is something wrong with it.
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
        # 784 pixels may begin with a brace's number, but do not end with the other's as well.
        if body.lstrip()[:1] == b"{" and (len(body) != PIXELS or body.rstrip()[-1:] == b"}"):
            return _json(body, max_files)
        if kind == _FORM and _is_form(body):
            return _several(_urlencoded(body, max_files))
        if len(body) == PIXELS and not pixels_of(body):
            return [Input(np.frombuffer(body, np.uint8).reshape(SIDE, SIDE))], False
        return [Input(body)], False
    raise Problem(
        UNSUPPORTED_MEDIA_TYPE,
        f"the Content-Type is {shown(content_type)!r}; taken are {ACCEPT_POST}",
        {"Accept-Post": ACCEPT_POST},
    )


def _options(name: str, value: bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """A header's value and its options.

    Raises:
        Problem: it is too long.
    """
    if value and len(value) > MAX_OPTIONS:
        raise Problem(BAD_REQUEST, f"the {name} has {len(value):,} bytes; at most {MAX_OPTIONS:,} are read")
    return parse_options_header(value)


def _is_form(body: bytes) -> bool:
    pieces = (body[at : at + PIECE] for at in range(0, len(body), PIECE))
    return _A_FORM.match(body, 0, PIECE) is not None and not any(piece.translate(None, _TEXT) for piece in pieces)


def at_most(max_files: int, count: int) -> None:
    """Refuse more images than are read at once."""
    if count > max_files:
        raise Problem(TOO_MANY_IMAGES, f"the request holds more than {max_files} images, the most that is read at once")


def _several(inputs: list[Input]) -> tuple[list[Input], bool]:
    """Of a form, a single image gets a single answer."""
    if len(inputs) == 1 and isinstance(inputs[0].source, Problem):
        raise inputs[0].source
    return inputs, len(inputs) > 1


def _json(body: bytes, max_files: int) -> tuple[list[Input], bool]:
    document = load(body, max_files)
    if not isinstance(document, dict) or "instances" not in document:
        return [Input(image_of(document))], False
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise Problem(INVALID_PIXELS, f"instances is {told(instances)}; expected a list of one image or more")
    at_most(max_files, len(instances))
    names = (f"instances[{i}]" for i in range(len(instances)))
    return [_read(name, image_of, value, name) for name, value in zip(names, instances, strict=True)], True


def _read(name: str, function: Callable[..., bytes | np.ndarray], *args: Any) -> Input:
    """An image that cannot be read holds its problem, so that the others are answered."""
    try:
        return Input(function(*args), name)
    except Problem as problem:
        return Input(problem, name)


def _urlencoded(body: bytes, max_files: int) -> list[Input]:
    """The texts of a form's fields that are called :data:`FIELD`."""
    pairs = body.split(b"&", max_files + MAX_FIELDS)
    if len(pairs) > max_files + MAX_FIELDS:
        raise Problem(TOO_MANY_IMAGES, f"the form has more than {max_files + MAX_FIELDS} fields, the most that is read")
    names, found = [], []
    while pairs:  # one text at a time, as each is copied some times
        name, _, value = pairs.pop().partition(b"=")
        names.append(_unquoted(name))
        if names[-1] == FIELD:
            # A plus that was not escaped stays one, which is a digit of base64; a blank is none.
            value = percent_decoded(value)
            found.append(_read(FIELD, file_of, value, FIELD))
    at_most(max_files, len(found))
    return found[::-1] or _no_image("form", names[::-1])


def _unquoted(data: bytes) -> str:
    return percent_decoded(data).decode(errors="replace")


def _no_image(what: str, fields: list[str]) -> list[Input]:
    seen = ", ".join(map(shown, fields[:5])) or "none"
    raise Problem(
        BAD_REQUEST,
        f"the {what} holds no image (text fields: {seen}); send each image as a file, with a filename, "
        f"or as a field {FIELD} that holds a data URL or base64",
    )


def _multipart(body: bytes, boundary: bytes, max_files: int) -> list[Input]:
    """The images of a multipart/form-data body (RFC 7578): files, whatever their fields are called, and texts."""
    form = _Form(max_files)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        for at in range(0, len(body), PIECE):
            parser.write(body[at : at + PIECE])
    except FormParserError as error:
        raise Problem(BAD_REQUEST, f"the multipart body is damaged: {error}") from None
    if not form.complete:
        raise Problem(BAD_REQUEST, "the multipart body ends before its closing boundary; send all of it")
    return form.files or _no_image("multipart body", form.fields)


class _Form:
    """Collects the parts of one multipart body."""

    def __init__(self, max_files: int) -> None:
        self.max_files = max_files
        self.files: list[Input] = []
        self.fields: list[str] = []
        self.others = 0
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
        _, options = _options("Content-Disposition of a part", self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode(errors="replace")
        name = options.get(b"filename", b"").decode(errors="replace")
        data = b"".join(self._data)
        if name or self._headers.get(b"content-type", b"").lower().startswith(b"image/"):
            self._add(Input(data, name or field))
        elif field == FIELD and data and not options.get(b"filename"):
            self._add(_read(field, file_of, data, field) if data.isascii() else Input(data, field))
        else:
            self.others += 1
            # A form sends a file input that nothing was chosen in as an empty file without a name.
            if b"filename" not in options or data:
                self.fields.append(field)
            if self.others > MAX_FIELDS:
                raise Problem(
                    TOO_MANY_IMAGES,
                    f"the multipart body has more than {MAX_FIELDS} fields that hold no image, the most that is read",
                )

    def _add(self, image: Input) -> None:
        self.files.append(image)
        at_most(self.max_files, len(self.files))

    def _finish(self) -> None:
        self.complete = True

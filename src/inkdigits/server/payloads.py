"""Parses request bodies into images: a raw file, multipart, a form, JSON, or 784 bytes.

File names and declared types are not trusted: the content decides what an image is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inkdigits.errors import InvalidStrokes
from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import pixels_of
from inkdigits.preprocess.strokes import Drawing, check_strokes, draw_strokes
from inkdigits.server.cost import Source
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_PIXELS,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    problem_of,
    shorten,
)
from inkdigits.server.json_images import (
    PIECE,
    PIXELS,
    check_count,
    describe,
    file_of,
    image_of,
    load,
    percent_decoded,
    pieces,
)

__all__ = ["ACCEPT_POST", "UNDECLARED", "Input", "parse"]

FIELD = "image"  # the form field whose text is an image file
ACCEPT_POST = (
    "image/*, multipart/form-data, application/json, application/x-www-form-urlencoded, application/octet-stream"
)

MAX_FIELDS = 100  # fields of one form that are not images
MAX_OPTIONS = 2000  # bytes of a Content-Type or Content-Disposition; parsing takes quadratic time

_FORM = b"application/x-www-form-urlencoded"
# The default of curl, and types that say nothing: the content decides.
UNDECLARED = (b"", b"application/octet-stream", _FORM, b"binary/octet-stream")
# No image file looks like a form: all have bytes that are not text.
_A_FORM = re.compile(rb"[\w.%+*-]+=")
_TEXT = bytes([*range(0x20, 0x7F)]) + b"\r\n"


@dataclass(slots=True)
class Input:
    """One image of a request: its file, its pixels or its problem, its name, and its drawing if it came as strokes."""

    source: Source | Problem
    name: str = ""
    drawing: Drawing | None = None  # whose picture it is


def parse(content_type: str, body: bytes, max_files: int, *, strokes: bool = False) -> tuple[list[Input], bool]:
    """Return the images of a request body, at least one, and whether the answer is a list.

    Args:
        content_type: the request's Content-Type header, or "".
        max_files: maximum number of images in one request.
        strokes: whether an image in JSON may be a drawing as strokes.

    Raises:
        InvalidStrokes, Problem: the body has no image or too many, cannot be parsed as its Content-Type, or has a
            single image that is invalid.
    """
    if not body:
        raise Problem(BAD_REQUEST, "the body is empty (0 bytes); send an image, multipart files or JSON pixels")
    if content_type[:6].lower() == "image/":
        return [Input(body)], False
    kind, options = _options("Content-Type", content_type.encode("latin-1"))
    if kind == b"multipart/form-data":
        return _several(_multipart(body, options.get(b"boundary", b""), max_files))
    if kind == b"application/json" or kind.endswith(b"+json"):
        return _json(body, max_files, strokes)
    if kind in UNDECLARED:
        # 784 raw pixels may begin with the code of a brace, but hardly end with the other one, too.
        if body.lstrip()[:1] == b"{" and (len(body) != PIXELS or body.rstrip()[-1:] == b"}"):
            return _json(body, max_files, strokes)
        if kind == _FORM and _is_form(body):
            return _several(_urlencoded(body, max_files))
        if len(body) == PIXELS and not pixels_of(body):
            return [Input(np.frombuffer(body, np.uint8).reshape(SIDE, SIDE))], False
        return [Input(body)], False
    detail = f"the Content-Type is {shorten(content_type)!r}; supported are {ACCEPT_POST}"
    raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Post": ACCEPT_POST})


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


def _input(name: str, value: Any) -> Input:
    """Return an image in a text, or the problem of an invalid one, so that the others are still answered."""
    try:
        return Input(file_of(value, name), name)
    except Problem as problem:
        return Input(problem, name)


# JSON


def _json(body: bytes, max_files: int, strokes: bool) -> tuple[list[Input], bool]:
    document = load(body, max_files, strokes=strokes)
    if not isinstance(document, dict) or "instances" not in document:
        return [_instance(document, "", strokes)], False
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise Problem(INVALID_PIXELS, f"instances is {describe(instances)}; expected a list of one image or more")
    check_count(max_files, len(instances))
    inputs = []
    for i, value in enumerate(instances):
        name = f"instances[{i}]"
        try:
            inputs.append(_instance(value, name, strokes))
        except (InvalidStrokes, Problem) as error:
            inputs.append(Input(problem_of(error), name))
    return inputs, True


def _instance(value: Any, name: str, strokes: bool) -> Input:
    """Return an image from JSON, or a drawing where that may be one."""
    if strokes and isinstance(value, dict) and "strokes" in value:
        drawing = draw_strokes(check_strokes(value["strokes"], f"{name}.strokes" if name else "strokes"))
        return Input(np.asarray(drawing.picture), name, drawing)
    return Input(image_of(value, name, strokes=strokes), name)


# Forms


def _is_form(body: bytes) -> bool:
    return _A_FORM.match(body, 0, PIECE) is not None and not any(p.translate(None, _TEXT) for p in pieces(body))


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
            found.append(_input(FIELD, value))
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
        for piece in pieces(body):
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
            self.files.append(_input(field, data) if data.isascii() else Input(data, field))
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

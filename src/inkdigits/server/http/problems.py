"""Every error a client can get: one table of kinds, each answered as an RFC 9457 problem document.

The table feeds the answers, the OpenAPI description and the reference page, so that the three agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from inkdigits.errors import (
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InvalidPixels,
    NotAnImage,
    UnreadableImage,
)

__all__ = [
    "HANDLERS",
    "KINDS",
    "PROTOCOL",
    "ROOT",
    "Answer",
    "Kind",
    "Problem",
    "answer_of",
    "fault",
    "problem_of",
    "response_of",
    "shown",
    "wire",
]

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"  # where the Open Inference Protocol's routes lie
ROOT = ContextVar("root", default="")  # of the request in hand: the path that the service is mounted at, "" for none
SHOWN = 80  # characters of a client's own text that an answer repeats


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of error: all but the detail is the same for every occurrence."""

    slug: str  # names the kind in ``type``
    status: int
    title: str
    meaning: str
    example: str  # of a detail

    def document(self, detail: str) -> dict[str, Any]:
        """The problem document of one occurrence (RFC 9457, section 3)."""
        return {"type": f"{ROOT.get()}/docs#{self.slug}", "title": self.title, "status": self.status, "detail": detail}


BAD_REQUEST = Kind(
    "bad-request",
    400,
    "The request cannot be read",
    "An empty body, damaged multipart or JSON, a form without an image, a bad query option, or a tensor that the "
    "request describes wrongly.",
    "the multipart body ends before its closing boundary; send all of it",
)
UNREADABLE_IMAGE = Kind(
    "unreadable-image",
    400,
    "The image is damaged",
    "A supported format that is truncated or does not decode, or a text that is neither a data URL nor base64.",
    "the PNG is truncated or damaged: image file is truncated; send the whole file",
)
UNAUTHORIZED = Kind(
    "unauthorized",
    401,
    "A key is needed",
    "The server asks for an API key, as Authorization: Bearer or as X-API-Key, and the request has none that it knows.",
    "the request has no API key; send one as Authorization: Bearer KEY or X-API-Key: KEY",
)
NOT_FOUND = Kind(
    "not-found",
    404,
    "There is nothing here",
    "No such route, no such file, or no such model.",
    "there is nothing at /predictions; /docs lists what there is",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed",
    405,
    "This method is not allowed here",
    "The Allow header names the methods that are.",
    "GET /predict is not possible; allowed: POST",
)
TOO_SLOW = Kind(
    "too-slow",
    408,
    "The request took too long",
    "It was not all there within INKDIGITS_RECEIVE_SECONDS; the connection is closed.",
    "the request was not complete after 60 s; its connection is closed",
)
BODY_TOO_LARGE = Kind(
    "body-too-large",
    413,
    "The request is too large",
    "More bytes than INKDIGITS_MAX_BYTES, declared or found while reading.",
    "the body has 31,457,280 bytes; at most 20,971,520 are read",
)
IMAGE_TOO_LARGE = Kind(
    "image-too-large",
    413,
    "The image is too large",
    "More pixels than INKDIGITS_MAX_PIXELS, as its header says, or more chunks, strips or scans than any encoder "
    "makes; it is not decoded.",
    "the image is 9000×6000 = 54,000,000 pixels; at most 16,777,216 are read: scale it down",
)
TOO_MANY_IMAGES = Kind(
    "too-many-images",
    413,
    "Too many images",
    "More images in one request than INKDIGITS_MAX_FILES, or than the rate limit ever lets through at once; more "
    "pixels together than four images of INKDIGITS_MAX_PIXELS have; more numbers than so many images, or more than 100 "
    "other fields in a form.",
    "the request holds more than 100 images, the most that is read at once",
)
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported-media-type",
    415,
    "This content type is not taken",
    "The Accept-Post header names the content types that are.",
    "the Content-Type is 'text/html'; taken are image/*, multipart/form-data, application/json, "
    "application/x-www-form-urlencoded, application/octet-stream",
)
NOT_AN_IMAGE = Kind(
    "not-an-image",
    415,
    "Not a supported image",
    "The content, whatever it is called, is not PNG, JPEG, GIF, WebP, BMP or TIFF.",
    "not an image of a known format: it is a PDF document; supported are PNG, JPEG, GIF, WebP, BMP and TIFF",
)
IMAGE_TOO_SMALL = Kind(
    "image-too-small",
    422,
    "The image is too small",
    "Too few pixels to hold a digit.",
    "the image is 4×4 pixels; at least one side must have 10",
)
INVALID_PIXELS = Kind(
    "invalid-pixels",
    422,
    "These numbers are not pixels",
    "A wrong count, name, type or range; the detail says which and where.",
    "pixels[17] is 256; expected a number from 0 to 255",
)
RATE_LIMITED = Kind(
    "rate-limited",
    429,
    "Too many requests",
    "More than INKDIGITS_RATE_LIMIT predictions a second, or many requests without a key that is known; the "
    "Retry-After header says when to ask again.",
    "more than 10 predictions a second; ask again in 1 s",
)
HEADERS_TOO_LARGE = Kind(
    "headers-too-large",
    431,
    "The headers are too large",
    "The request's first line and headers have more than 64 KiB; the connection is closed.",
    "the request has more than 65,536 bytes before its body",
)
INTERNAL_ERROR = Kind(
    "internal-error",
    500,
    "The server failed",
    "A fault of the server's own; its log tells more.",
    "the request could not be answered because of a fault in the server",
)
NOT_IMPLEMENTED = Kind(
    "not-implemented",
    501,
    "This is not offered",
    "The method CONNECT or one that nobody knows, or a Transfer-Encoding other than chunked; the connection is closed.",
    "the Transfer-Encoding is 'gzip, chunked'; this server reads chunked alone",
)
NOT_READY = Kind(
    "not-ready",
    503,
    "Not ready",
    "The model does not read known digits right, so this server should get no work.",
    "the model custom reads known digits wrong: 0 as 8, 1 as 8, 2 as 8, 3 as 8, 4 as 8, 5 as 8, 6 as 8, 7 as 8, 9 as 8",
)
OVERLOADED = Kind(
    "overloaded",
    503,
    "Too much to do",
    "More requests than the server can hold; the Retry-After header says when to ask again.",
    "4096 connections are open already; ask again later",
)
STOPPING = Kind(
    "stopping",
    503,
    "The server is stopping",
    "The request was not answered in the 10 seconds that those under way get; the Retry-After header says when to ask "
    "again.",
    "the server is stopping, and the request could not be answered in time; ask again",
)

KINDS = (
    BAD_REQUEST,
    UNREADABLE_IMAGE,
    UNAUTHORIZED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    TOO_SLOW,
    BODY_TOO_LARGE,
    IMAGE_TOO_LARGE,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    NOT_AN_IMAGE,
    IMAGE_TOO_SMALL,
    INVALID_PIXELS,
    RATE_LIMITED,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    NOT_IMPLEMENTED,
    NOT_READY,
    OVERLOADED,
    STOPPING,
)

_OF_ERROR: dict[type[ImageError], Kind] = {
    NotAnImage: NOT_AN_IMAGE,
    UnreadableImage: UNREADABLE_IMAGE,
    ImageTooSmall: IMAGE_TOO_SMALL,
    ImageTooLarge: IMAGE_TOO_LARGE,
    InvalidPixels: INVALID_PIXELS,
    ImageError: UNREADABLE_IMAGE,
}


Header = tuple[bytes, bytes]


class Answer(NamedTuple):
    """A whole answer, for those that no framework sends.

    Attributes:
        kind: its Content-Type.
        headers: beside those that every answer has.
    """

    status: int
    kind: bytes
    body: bytes
    headers: list[Header]


_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n%s\r\n"
# Nothing in a problem document is to be run or framed, whatever it repeats of a request.
_POLICY = "content-security-policy", "default-src 'none'; frame-ancestors 'none'"


class Problem(Exception):
    """Raised where a request cannot be answered; becomes its kind's problem document."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers

    def document(self) -> dict[str, Any]:
        """Its problem document."""
        return self.kind.document(self.detail)


def problem_of(error: ImageError, at: str = "") -> Problem:
    """The problem that an image's error is to a client.

    Args:
        at: the image's place in the request, where it holds several.
    """
    kind = next(_OF_ERROR[c] for c in type(error).__mro__ if c in _OF_ERROR)
    return Problem(kind, f"{at}: {error}" if at else str(error))


def fault() -> Problem:
    """The problem of a request that the server failed at."""
    return Problem(INTERNAL_ERROR, INTERNAL_ERROR.example)


def shown(text: str) -> str:
    """A client's own text, short enough to be repeated in an answer, and valid Unicode."""
    text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return text.encode(errors="replace").decode()


def body_of(path: str, problem: Problem) -> bytes:
    """The document that tells a problem, to a request of that path."""
    document = problem.document()
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        document["error"] = problem.detail  # what the Open Inference Protocol asks of an error
    return orjson.dumps(document)


def response_of(path: str, problem: Problem) -> Response:
    """The answer that tells a problem, to a request of that path."""
    headers = dict([("x-content-type-options", "nosniff"), _POLICY], **(problem.headers or {}))
    return Response(body_of(path, problem), problem.kind.status, headers, MEDIA_TYPE)


def answer_of(path: str, problem: Problem, *headers: Header) -> Answer:
    """The same for those that no application is asked for."""
    named = [_POLICY, *(problem.headers or {}).items()]
    own = [(name.lower().encode(), value.encode("latin-1")) for name, value in named]
    return Answer(problem.kind.status, MEDIA_TYPE.encode("ascii"), body_of(path, problem), [*own, *headers])


def wire(answer: Answer, headers: Iterable[Header]) -> bytes:
    """An answer, with these headers beside its own, as HTTP/1.1 has it on the wire."""
    more = b"".join([b"%s: %s\r\n" % header for header in chain(answer.headers, headers)])
    return _HEAD % (answer.status, _PHRASES[answer.status], answer.kind, len(answer.body), more) + answer.body


async def _on_problem(request: Request, error: Problem) -> Response:
    return response_of(request.scope["path"], error)


async def _on_image_error(request: Request, error: ImageError) -> Response:
    return response_of(request.scope["path"], problem_of(error))


async def _on_http(request: Request, error: HTTPException) -> Response:
    path = shown(request.scope["path"])
    if error.status_code == METHOD_NOT_ALLOWED.status:
        # Starlette lists a set, whose order another process may have otherwise.
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        detail = f"{request.method} {path} is not possible; allowed: {allowed}"
        return response_of(request.scope["path"], Problem(METHOD_NOT_ALLOWED, detail, {"Allow": allowed}))
    nothing = Problem(NOT_FOUND, f"there is nothing at {path}; {ROOT.get()}/docs lists what there is")
    return response_of(request.scope["path"], nothing)


async def _on_fault(request: Request, error: Exception) -> Response:
    return response_of(request.scope["path"], fault())


HANDLERS: dict[Any, Any] = {
    Problem: _on_problem,
    ImageError: _on_image_error,
    HTTPException: _on_http,
    Exception: _on_fault,
}

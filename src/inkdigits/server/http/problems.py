"""Every error a client can get: one table of problem types, each answered as an RFC 9457 problem document.

The table feeds the answers, the OpenAPI description and the reference page, so that the three agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from inkdigits.errors import (
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InvalidPixels,
    NotAnImage,
    UnreadableImage,
)
from inkdigits.server.http.responses import Answer, Header

__all__ = [
    "HANDLERS",
    "PROBLEM_TYPES",
    "PROTOCOL",
    "ROOT",
    "Problem",
    "ProblemType",
    "answer_of",
    "not_ready",
    "problem_of",
    "shown",
]

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"  # where the Open Inference Protocol's routes lie
ROOT = ContextVar("root", default="")  # of the request in hand: the path that the service is mounted at, "" for none
RETRY_SECONDS = 10  # after which to ask a server again that is not ready
SHOWN = 80  # characters of a client's own text that an answer repeats


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One type of error: all but the detail is the same for every occurrence."""

    slug: str  # names it in ``type``
    status: int
    title: str
    meaning: str
    example: str  # of a detail

    def document(self, detail: str) -> dict[str, Any]:
        """Return the problem document of one occurrence (RFC 9457, section 3)."""
        return {"type": f"{ROOT.get()}/docs#{self.slug}", "title": self.title, "status": self.status, "detail": detail}


BAD_REQUEST = ProblemType(
    "bad-request",
    400,
    "The request cannot be read",
    "An empty body, damaged multipart or JSON, a form without an image, a bad query option, or a tensor that the "
    "request describes wrongly.",
    "the multipart body ends before its closing boundary; send all of it",
)
UNREADABLE_IMAGE = ProblemType(
    "unreadable-image",
    400,
    "The image is damaged",
    "A supported format that is truncated or does not decode, or a text that is neither a data URL nor base64.",
    "the PNG is truncated or damaged: image file is truncated; send the whole file",
)
UNAUTHORIZED = ProblemType(
    "unauthorized",
    401,
    "A key is needed",
    "The server asks for an API key, as Authorization: Bearer or as X-API-Key, and the request has none that it knows.",
    "the request has no API key; send one as Authorization: Bearer KEY or X-API-Key: KEY",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "There is nothing here",
    "No such route, no such file, or no such model.",
    "there is nothing at /predictions; /docs lists what there is",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "This method is not allowed here",
    "The Allow header names the methods that are.",
    "GET /predict is not possible; allowed: POST",
)
TOO_SLOW = ProblemType(
    "too-slow",
    408,
    "The request took too long",
    "It was not all there within INKDIGITS_RECEIVE_SECONDS; the connection is closed.",
    "the request was not complete after 60 s; its connection is closed",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "The request is too large",
    "More bytes than INKDIGITS_MAX_BYTES, declared or found while reading.",
    "the body has 31,457,280 bytes; at most 20,971,520 are read",
)
IMAGE_TOO_LARGE = ProblemType(
    "image-too-large",
    413,
    "The image is too large",
    "More pixels than INKDIGITS_MAX_PIXELS, as its header says, or more chunks, strips or scans than any encoder "
    "makes; it is not decoded.",
    "the image is 9000×6000 = 54,000,000 pixels; at most 16,777,216 are read: scale it down",
)
TOO_MANY_IMAGES = ProblemType(
    "too-many-images",
    413,
    "Too many images",
    "More images in one request than INKDIGITS_MAX_FILES, or than the rate limit ever lets through at once; more "
    "pixels together than four images of INKDIGITS_MAX_PIXELS have; more numbers than so many images, or more than 100 "
    "other fields in a form.",
    "the request holds more than 100 images, the most that is read at once",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "This content type is not taken",
    "The Accept-Post header names the content types that are.",
    "the Content-Type is 'text/html'; taken are image/*, multipart/form-data, application/json, "
    "application/x-www-form-urlencoded, application/octet-stream",
)
NOT_AN_IMAGE = ProblemType(
    "not-an-image",
    415,
    "Not a supported image",
    "The content, whatever it is called, is not PNG, JPEG, GIF, WebP, BMP or TIFF.",
    "not an image of a known format: it is a PDF document; supported are PNG, JPEG, GIF, WebP, BMP and TIFF",
)
IMAGE_TOO_SMALL = ProblemType(
    "image-too-small",
    422,
    "The image is too small",
    "Too few pixels to hold a digit.",
    "the image is 4×4 pixels; at least one side must have 10",
)
INVALID_PIXELS = ProblemType(
    "invalid-pixels",
    422,
    "These numbers are not pixels",
    "A wrong count, name, type or range; the detail says which and where.",
    "pixels[17] is 256; expected a number from 0 to 255",
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "Too many requests",
    "More than INKDIGITS_RATE_LIMIT predictions a second, or many requests without a key that is known; the "
    "Retry-After header says when to ask again.",
    "more than 10 predictions a second; ask again in 1 s",
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large",
    431,
    "The headers are too large",
    "The request's first line and headers have more than 64 KiB; the connection is closed.",
    "the request has more than 65,536 bytes before its body",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    500,
    "The server failed",
    "A fault of the server's own; its log tells more.",
    "the request could not be answered because of a fault in the server",
)
NOT_IMPLEMENTED = ProblemType(
    "not-implemented",
    501,
    "This is not offered",
    "The method CONNECT or one that nobody knows, or a Transfer-Encoding other than chunked; the connection is closed.",
    "the Transfer-Encoding is 'gzip, chunked'; this server reads chunked alone",
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "Not ready",
    "The model does not read known digits right, so this server should get no work.",
    "the model custom reads known digits wrong: 0 as 8, 1 as 8, 2 as 8, 3 as 8, 4 as 8, 5 as 8, 6 as 8, 7 as 8, 9 as 8",
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Too much to do",
    "More requests than the server can hold; the Retry-After header says when to ask again.",
    "4096 connections are open already; ask again later",
)
STOPPING = ProblemType(
    "stopping",
    503,
    "The server is stopping",
    "The request was not answered in the 10 seconds that those under way get; the Retry-After header says when to ask "
    "again.",
    "the server is stopping, and the request could not be answered in time; ask again",
)

PROBLEM_TYPES = tuple(found for found in list(globals().values()) if isinstance(found, ProblemType))

_OF_ERROR: dict[type[ImageError], ProblemType] = {
    NotAnImage: NOT_AN_IMAGE,
    UnreadableImage: UNREADABLE_IMAGE,
    ImageTooSmall: IMAGE_TOO_SMALL,
    ImageTooLarge: IMAGE_TOO_LARGE,
    InvalidPixels: INVALID_PIXELS,
    ImageError: UNREADABLE_IMAGE,
}


# Nothing in a problem document is to be run or framed, whatever it repeats of a request.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Problem(Exception):
    """Raised where a request cannot be answered; becomes its type's problem document."""

    def __init__(self, kind: ProblemType, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers

    def document(self) -> dict[str, Any]:
        """Return its problem document."""
        return self.kind.document(self.detail)

    def own_headers(self) -> list[Header]:
        """Return the headers of its answer, as ASGI has them."""
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in (self.headers or {}).items()]


def problem_of(error: BaseException, at: str = "") -> Problem:
    """Return the problem that an error is to a client: the server's fault, unless it is known to be the client's.

    Args:
        at: the place in the request of an image that cannot be read, where it holds several.
    """
    if isinstance(error, Problem):
        return error
    if not isinstance(error, ImageError):
        return Problem(INTERNAL_ERROR, INTERNAL_ERROR.example)
    kind = next(_OF_ERROR[c] for c in type(error).__mro__ if c in _OF_ERROR)
    return Problem(kind, f"{at}: {error}" if at else str(error))


def not_ready(fault: str) -> Problem:
    """Return the problem of a server that is not ready, for this fault."""
    return Problem(NOT_READY, fault, {"Cache-Control": "no-store", "Retry-After": str(RETRY_SECONDS)})


def shown(text: str) -> str:
    """Return a client's own text, short enough to be repeated in an answer, and valid Unicode."""
    text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return text.encode(errors="replace").decode()


def answer_of(path: str, problem: Problem) -> Answer:
    """Return the answer to a request of that path that has this problem."""
    document = problem.document()
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        document["error"] = problem.detail  # what the Open Inference Protocol asks of an error
    body = orjson.dumps(document)
    return Answer(problem.kind.status, MEDIA_TYPE.encode("ascii"), body, [_POLICY, *problem.own_headers()])


async def _on_error(request: Request, error: Exception) -> Answer:
    return answer_of(request.scope["path"], problem_of(error))


async def _on_http(request: Request, error: HTTPException) -> Answer:
    path = shown(request.scope["path"])
    if error.status_code == METHOD_NOT_ALLOWED.status:
        # Starlette lists a set, whose order another process may have otherwise.
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        detail = f"{request.method} {path} is not possible; allowed: {allowed}"
        return answer_of(request.scope["path"], Problem(METHOD_NOT_ALLOWED, detail, {"Allow": allowed}))
    nothing = Problem(NOT_FOUND, f"there is nothing at {path}; {ROOT.get()}/docs lists what there is")
    return answer_of(request.scope["path"], nothing)


# Of a framework's routes: their answers are ASGI applications, as those of its own are.
HANDLERS: dict[Any, Any] = {**dict.fromkeys((Problem, ImageError, Exception), _on_error), HTTPException: _on_http}

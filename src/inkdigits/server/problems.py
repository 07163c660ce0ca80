"""Every error a client can get: one table of kinds, each answered as an RFC 9457 problem document.

The table feeds the answers, the OpenAPI description and the reference page, so that the three agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

__all__ = ["HANDLERS", "KINDS", "Kind", "Problem", "problem_of"]

MEDIA_TYPE = "application/problem+json"
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
        return {"type": f"/docs#{self.slug}", "title": self.title, "status": self.status, "detail": detail}


BAD_REQUEST = Kind(
    "bad-request",
    400,
    "The request cannot be read",
    "An empty body, damaged multipart or JSON, or a bad query option.",
    "the multipart body ends before its closing boundary; send all of it",
)
UNREADABLE_IMAGE = Kind(
    "unreadable-image",
    400,
    "The image is damaged",
    "A supported format that is truncated or does not decode.",
    "the PNG is truncated or damaged: image file is truncated (17 bytes not processed); send the whole file",
)
NOT_FOUND = Kind(
    "not-found",
    404,
    "There is nothing here",
    "No such route and no such file.",
    "there is nothing at /predictions; /docs lists what there is",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed",
    405,
    "This method is not allowed here",
    "The Allow header names the methods that are.",
    "GET /predict is not possible; allowed: POST",
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
    "More pixels than INKDIGITS_MAX_PIXELS, as its header says; it is not decoded.",
    "the image is 9000×6000 = 54,000,000 pixels; at most 16,777,216 are read: scale it down",
)
TOO_MANY_IMAGES = Kind(
    "too-many-images",
    413,
    "Too many images",
    "More files in one request than INKDIGITS_MAX_FILES.",
    "the request holds more than 100 images, the most that is read at once",
)
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported-media-type",
    415,
    "This content type is not taken",
    "The Accept-Post header names the content types that are.",
    "the Content-Type is 'text/html'; taken are image/*, multipart/form-data, application/json, "
    "application/octet-stream",
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
INTERNAL_ERROR = Kind(
    "internal-error",
    500,
    "The server failed",
    "A fault of the server's own; its log tells more.",
    "the request could not be answered because of a fault in the server",
)
NOT_READY = Kind(
    "not-ready",
    503,
    "Not ready",
    "The model does not read a known digit right, so this server should get no work.",
    "the model custom reads a known 3 as 8",
)

KINDS = (
    BAD_REQUEST,
    UNREADABLE_IMAGE,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    BODY_TOO_LARGE,
    IMAGE_TOO_LARGE,
    TOO_MANY_IMAGES,
    UNSUPPORTED_MEDIA_TYPE,
    NOT_AN_IMAGE,
    IMAGE_TOO_SMALL,
    INVALID_PIXELS,
    INTERNAL_ERROR,
    NOT_READY,
)

_OF_ERROR: dict[type[ImageError], Kind] = {
    NotAnImage: NOT_AN_IMAGE,
    UnreadableImage: UNREADABLE_IMAGE,
    ImageTooSmall: IMAGE_TOO_SMALL,
    ImageTooLarge: IMAGE_TOO_LARGE,
    InvalidPixels: INVALID_PIXELS,
    ImageError: UNREADABLE_IMAGE,
}


class Problem(Exception):
    """Raised where a request cannot be answered; becomes its kind's problem document."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers


def problem_of(error: ImageError) -> Problem:
    """The problem that an image's error is to a client."""
    kind = next(_OF_ERROR[c] for c in type(error).__mro__ if c in _OF_ERROR)
    return Problem(kind, str(error))


def shown(text: str) -> str:
    """A client's own text, short enough to be repeated in an answer."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _response(problem: Problem) -> Response:
    headers = {"x-content-type-options": "nosniff", **(problem.headers or {})}
    body = orjson.dumps(problem.kind.document(problem.detail))
    return Response(body, problem.kind.status, headers, MEDIA_TYPE)


async def _on_problem(request: Request, error: Problem) -> Response:
    return _response(error)


async def _on_image_error(request: Request, error: ImageError) -> Response:
    return _response(problem_of(error))


async def _on_http(request: Request, error: HTTPException) -> Response:
    path = shown(request.scope["path"])
    if error.status_code == METHOD_NOT_ALLOWED.status:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} {path} is not possible; allowed: {allowed}"
        return _response(Problem(METHOD_NOT_ALLOWED, detail, error.headers))
    return _response(Problem(NOT_FOUND, f"there is nothing at {path}; /docs lists what there is"))


async def _on_fault(request: Request, error: Exception) -> Response:
    return _response(Problem(INTERNAL_ERROR, "the request could not be answered because of a fault in the server"))


HANDLERS: dict[Any, Any] = {
    Problem: _on_problem,
    ImageError: _on_image_error,
    HTTPException: _on_http,
    Exception: _on_fault,
}

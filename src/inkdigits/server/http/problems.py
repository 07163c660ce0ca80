"""Every error that a client can get: one table of problem types, sent as RFC 9457 problem documents.

The answers, the OpenAPI description and the reference page are all generated from the table.
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
    InvalidStrokes,
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
    "shorten",
]

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"  # path of the Open Inference Protocol's routes
ROOT = ContextVar("root", default="")  # where the service is mounted, for the current request; "" for none
RETRY_SECONDS = 10  # after which clients should try again if the server is not ready
MAX_QUOTED = 80  # characters of a client's text that an answer repeats


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One type of error: everything except the detail is the same for all its problems."""

    slug: str  # the fragment of ``type``
    status: int
    title: str
    meaning: str
    example: str  # a detail

    def document(self, detail: str) -> dict[str, Any]:
        """Return the problem document with this detail (RFC 9457, section 3)."""
        return {"type": f"{ROOT.get()}/docs#{self.slug}", "title": self.title, "status": self.status, "detail": detail}


BAD_REQUEST = ProblemType(
    "bad-request",
    400,
    "Invalid request",
    "An empty body, damaged multipart or JSON, a form without an image, an invalid query option, or a tensor that does "
    "not match its description.",
    "the multipart body ends before its closing boundary; send all of it",
)
UNREADABLE_IMAGE = ProblemType(
    "unreadable-image",
    400,
    "Unreadable image",
    "A supported format that is truncated or does not decode, or a text that is neither a data URL nor base64.",
    "the PNG is truncated or damaged: image file is truncated; send the whole file",
)
UNAUTHORIZED = ProblemType(
    "unauthorized",
    401,
    "API key required",
    "The request has no valid API key, neither as Authorization: Bearer nor as X-API-Key.",
    "the request has no API key; send one as Authorization: Bearer KEY or X-API-Key: KEY",
)
CONSENT_REQUIRED = ProblemType(
    "consent-required",
    403,
    "Consent required",
    "A correction is kept only if the writer agrees, which consent: true says.",
    "consent is missing: nothing was kept; ask the writer whether this may be kept, and send true",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "Not found",
    "No such route, no such file, no such model, or no such correction.",
    "/predictions does not exist; /docs lists all routes",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "Method not allowed",
    "The Allow header lists the allowed methods.",
    "/predict does not allow GET; allowed: POST",
)
TOO_SLOW = ProblemType(
    "too-slow",
    408,
    "Request timeout",
    "The request was not complete within INKDIGITS_RECEIVE_SECONDS; the connection is closed.",
    "the request was not complete after 60 s; its connection is closed",
)
FEEDBACK_CONFLICT = ProblemType(
    "feedback-conflict",
    409,
    "Key already used",
    "The key belongs to another correction. The same body with the same key is answered as before.",
    "the key '0b9a6f4e-one-key' belongs to a correction with another body; choose a new one",
)
PREDICTION_EXPIRED = ProblemType(
    "prediction-expired",
    410,
    "Prediction id expired",
    "A prediction id is accepted for 24 hours.",
    "prediction_id is older than 24 hours; send the picture instead",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "Request body too large",
    "More bytes than INKDIGITS_MAX_BYTES, or 2 MiB for a correction, declared or found while reading.",
    "the body has 31,457,280 bytes; the limit is 20,971,520",
)
IMAGE_TOO_LARGE = ProblemType(
    "image-too-large",
    413,
    "Image too large",
    "More pixels than INKDIGITS_MAX_PIXELS, by its header, or more chunks, strips or scans than any encoder writes; it "
    "is not decoded.",
    "the image is 9000×6000 = 54,000,000 pixels; at most 16,777,216 are read: scale it down",
)
TOO_MANY_IMAGES = ProblemType(
    "too-many-images",
    413,
    "Too many images",
    "More images in one request than INKDIGITS_MAX_FILES or the burst of the rate limit; more pixels in total than "
    "four images of INKDIGITS_MAX_PIXELS have; more numbers than INKDIGITS_MAX_FILES images have; or more than 100 "
    "other fields in a form.",
    "the request has more than 100 images, the limit for one request",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "Unsupported content type",
    "The Accept-Post header lists the supported content types.",
    "the Content-Type is 'text/html'; supported are image/*, multipart/form-data, application/json, "
    "application/x-www-form-urlencoded, application/octet-stream",
)
NOT_AN_IMAGE = ProblemType(
    "not-an-image",
    415,
    "Not a supported image",
    "By its content, whatever its name or declared type, the file is not PNG, JPEG, GIF, WebP, BMP or TIFF.",
    "not an image of a known format: it is a PDF document; supported are PNG, JPEG, GIF, WebP, BMP and TIFF",
)
IMAGE_TOO_SMALL = ProblemType(
    "image-too-small",
    422,
    "Image too small",
    "Too few pixels to hold a digit.",
    "the image is 4×4 pixels; at least one side must have 10",
)
INVALID_PIXELS = ProblemType(
    "invalid-pixels",
    422,
    "Invalid pixels",
    "A wrong count, name, type or range of numbers; the detail says which and where.",
    "pixels[17] is 256; expected a number from 0 to 255",
)
INVALID_STROKES = ProblemType(
    "invalid-strokes",
    422,
    "Invalid strokes",
    "A drawing with too many strokes or points, a stroke without points, or other values than finite x and y; the "
    "detail says which and where.",
    'strokes[2][17] is ["7", 3]; expected [x, y], two numbers from -1,000,000,000 to 1,000,000,000',
)
INVALID_FEEDBACK = ProblemType(
    "invalid-feedback",
    422,
    "Invalid correction",
    "A field of a correction, or of a verdict on one, is missing, unknown or wrong, or does not fit the others; the "
    "detail says which.",
    'label is "77"; expected one digit, or "" for an image that is not a digit',
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "Too many requests",
    "More than INKDIGITS_RATE_LIMIT predictions per second, or many requests without a valid key; the Retry-After "
    "header says when to try again.",
    "more than 10 predictions per second; try again in 1 s",
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large",
    431,
    "Headers too large",
    "The request's first line and headers have more than 64 KiB; the connection is closed.",
    "the request has more than 65,536 bytes before its body",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    500,
    "Internal server error",
    "A fault in the server; its log has the details.",
    "the server could not answer the request because of an internal error",
)
NOT_IMPLEMENTED = ProblemType(
    "not-implemented",
    501,
    "Not implemented",
    "The method CONNECT, an unknown method, or a Transfer-Encoding other than chunked; the connection is closed.",
    "the Transfer-Encoding is 'gzip, chunked'; this server reads chunked alone",
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "Not ready",
    "The model reads known digits wrong, or a worker is missing; send requests to another server.",
    "the model custom reads known digits wrong: 0 as 8, 1 as 8, 2 as 8, 3 as 8, 4 as 8, 5 as 8, 6 as 8, 7 as 8, 9 as 8",
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Server overloaded",
    "More requests than the server can handle; the Retry-After header says when to try again.",
    "4096 connections are open already; try again later",
)
STORE_UNAVAILABLE = ProblemType(
    "store-unavailable",
    503,
    "Database unavailable",
    "The database of corrections cannot be used now; the Retry-After header says when to send the same again.",
    "the database of corrections cannot be used now; send the same again",
)
STOPPING = ProblemType(
    "stopping",
    503,
    "Server stopping",
    "The server is stopping and did not answer the request within 10 seconds; the Retry-After header says when to try "
    "again.",
    "the server is stopping and could not answer the request in time; try again",
)

PROBLEM_TYPES = tuple(found for found in list(globals().values()) if isinstance(found, ProblemType))

_OF_ERROR: dict[type[ImageError], ProblemType] = {
    NotAnImage: NOT_AN_IMAGE,
    UnreadableImage: UNREADABLE_IMAGE,
    ImageTooSmall: IMAGE_TOO_SMALL,
    ImageTooLarge: IMAGE_TOO_LARGE,
    InvalidPixels: INVALID_PIXELS,
    InvalidStrokes: INVALID_STROKES,
    ImageError: UNREADABLE_IMAGE,
}


# Browsers must not run or frame a problem document, whatever it quotes from a request.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Problem(Exception):
    """Raised if a request cannot be answered; sent as a problem document."""

    def __init__(self, type_: ProblemType, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.type = type_
        self.detail = detail
        self.headers = headers

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return self.type.document(self.detail)

    def own_headers(self) -> list[Header]:
        """Return the headers of the answer, in the form of ASGI."""
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in (self.headers or {}).items()]


def problem_of(error: BaseException, at: str = "") -> Problem:
    """Return the problem for an error: an internal error, unless the client caused it.

    Args:
        at: the place of the image in a request with several.
    """
    if isinstance(error, Problem):
        return error
    if not isinstance(error, ImageError):
        return Problem(INTERNAL_ERROR, INTERNAL_ERROR.example)
    type_ = next(_OF_ERROR[c] for c in type(error).__mro__ if c in _OF_ERROR)
    return Problem(type_, f"{at}: {error}" if at else str(error))


def not_ready(fault: str) -> Problem:
    """Return the problem of a server that is not ready because of this fault."""
    return Problem(NOT_READY, fault, {"Cache-Control": "no-store", "Retry-After": str(RETRY_SECONDS)})


def shorten(text: str) -> str:
    """Return a client's text as valid Unicode, cut to :data:`MAX_QUOTED` characters."""
    text = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"
    return text.encode(errors="replace").decode()


def answer_of(path: str, problem: Problem) -> Answer:
    """Return the answer to a request for this path that has this problem."""
    document = problem.document()
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        document["error"] = problem.detail  # required by the Open Inference Protocol
    body = orjson.dumps(document)
    return Answer(problem.type.status, MEDIA_TYPE.encode("ascii"), body, [_POLICY, *problem.own_headers()])


async def _on_error(request: Request, error: Exception) -> Answer:
    return answer_of(request.scope["path"], problem_of(error))


async def _on_http(request: Request, error: HTTPException) -> Answer:
    path = shorten(request.scope["path"])
    if error.status_code == METHOD_NOT_ALLOWED.status:
        # Sorted, as Starlette joins a set, whose order differs between processes.
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        detail = f"{path} does not allow {request.method}; allowed: {allowed}"
        return answer_of(request.scope["path"], Problem(METHOD_NOT_ALLOWED, detail, {"Allow": allowed}))
    missing = Problem(NOT_FOUND, f"{path} does not exist; {ROOT.get()}/docs lists all routes")
    return answer_of(request.scope["path"], missing)


# Exception handlers for FastAPI. They return ASGI applications, as its own handlers do.
HANDLERS: dict[Any, Any] = {**dict.fromkeys((Problem, ImageError, Exception), _on_error), HTTPException: _on_http}

"""The pages for browsers: the drawing page from ``inkdigits/web``, with the files to read offline, and ``/docs``.

The pages need no other origin and no inline script. The Content-Security-Policy enforces this.
"""

from __future__ import annotations

import gzip
import mimetypes
import os
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Scope

from inkdigits.recognizer import Recognizer
from inkdigits.server.api_docs import render
from inkdigits.server.http.problems import NOT_FOUND, Problem
from inkdigits.server.http.responses import fixed
from inkdigits.server.model_info import CARD, card_of
from inkdigits.server.offline import INDEX, LISTING, MODEL, WEB, device_files, index, listing, not_on_device

__all__ = ["HEADERS", "card", "device", "page", "policy", "reference", "takes_gzip"]

MIN_COMPRESSED = 500  # bytes of a text; shorter ones are sent uncompressed
_TEXTS = re.compile(r"text/|application/(json|manifest\+json|wasm)|image/svg\+xml")
_CODING = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?", re.IGNORECASE)

STYLE = Path(__file__).with_name("api_docs.css")
SCRIPT = Path(__file__).with_name("api_docs.js")


def policy(server: str = "") -> str:
    """Return the page's Content-Security-Policy.

    Args:
        server: origin of the server that the page sends pictures to, if it is not the page's own.
    """
    return (
        # On-device inference runs in WebAssembly; the page's own pictures are blob: and data: URLs.
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
        f"connect-src 'self'{server and ' ' + server}; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'{server and ' ' + server}; frame-ancestors 'none'"
    )


HEADERS = {
    "content-security-policy": policy(),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-cache",  # revalidated each time; the answer is 304 while the ETag matches
}

# The system's table may lack these types or have others, and browsers reject a module of the wrong type.
for suffix, kind in {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}.items():
    mimetypes.add_type(kind, suffix)


def takes_gzip(accepted: str) -> bool:
    """Return whether this Accept-Encoding accepts gzip and does not prefer identity (RFC 9110, section 12.5.3)."""
    found = [match for part in accepted.lower().split(",") if (match := _CODING.fullmatch(part))]
    weights = {match[1]: float(match[2] or 1) for match in found}
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return weight > 0 and weight >= weights.get("identity", 0.0)


@lru_cache(maxsize=128)
def _compressed_file(path: str, modified: int, size: int) -> bytes:
    """Return a file compressed; its time and size are part of the cache key, so that changes are seen."""
    return gzip.compress(Path(path).read_bytes(), mtime=0)


@lru_cache(maxsize=2)  # with the device switch and without
def _compressed_page(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


class _Files(StaticFiles):
    """Serves files with the page's headers, each at exactly one address.

    Texts, and files with a compressed copy (``.gz``) next to them, are sent compressed to clients that accept gzip.
    A file and its compressed form have different ETags. Ranges refer to the uncompressed file.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] in ("GET", "HEAD"):
            if scope["path"] not in ("/", f"/{path.replace(os.sep, '/')}"):
                raise HTTPException(404)
        elif path == ".":  # the form posts there
            raise HTTPException(405, headers={"Allow": "GET, HEAD, POST"})
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        asked = Headers(scope=scope)
        if Path(full_path) == WEB / INDEX:
            return self._index(asked, status_code)
        response: Response = FileResponse(full_path, status_code, stat_result=stat_result)
        packed = Path(f"{full_path}.gz")
        kind = response.media_type or ""
        if packed.is_file() or (stat_result.st_size >= MIN_COMPRESSED and _TEXTS.match(kind)):
            if takes_gzip(asked.get("accept-encoding", "")) and "range" not in asked:
                response = self._compressed(response, str(full_path), stat_result, packed)
            response.headers["vary"] = "Accept-Encoding"
        response.headers.update(HEADERS)
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, asked) else response

    @staticmethod
    def _compressed(plain: Response, path: str, stat: os.stat_result, packed: Path) -> Response:
        kind, last = plain.media_type, plain.headers["last-modified"]
        if packed.is_file():
            response: Response = FileResponse(packed, plain.status_code, stat_result=packed.stat(), media_type=kind)
            del response.headers["accept-ranges"]
        else:
            content = _compressed_file(path, stat.st_mtime_ns, stat.st_size)
            response = Response(content, plain.status_code, {"last-modified": last}, kind)
        response.headers["etag"] = plain.headers["etag"].removesuffix('"') + '-gzip"'
        response.headers["content-encoding"] = "gzip"
        return response

    def _index(self, asked: Headers, status_code: int) -> Response:
        """Return the page itself. It is read each time, as the runtime may be installed while the server runs."""
        content = index()
        tag = sha256(content).hexdigest()
        headers = {**HEADERS, "etag": f'"{tag}"', "vary": "Accept-Encoding"}
        if takes_gzip(asked.get("accept-encoding", "")):
            content = _compressed_page(content)
            headers |= {"etag": f'"{tag}-gzip"', "content-encoding": "gzip"}
        response = Response(content, status_code, headers, "text/html")
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, asked) else response


def page() -> ASGIApp:
    """Return the ASGI application that serves the page's files."""
    return _Files(directory=WEB, html=True)


def device(recognizer: Recognizer) -> list[BaseRoute]:
    """Return the routes that on-device inference needs: the model, its description, and the list of files."""
    files = device_files(recognizer)

    async def missing(request: Request) -> Response:
        raise Problem(NOT_FOUND, f"{MODEL} is not available: {not_on_device(recognizer)}")

    def names(request: Request) -> bytes:
        return listing(files)

    return [
        *(Route(f"/{name}", _tagged(_always(content), name)) for name, content in files.items() if name != CARD),
        *([] if MODEL in files else [Route(f"/{MODEL}", missing)]),
        Route(f"/{LISTING}", _tagged(names, LISTING)),
    ]


def card(recognizer: Recognizer) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of the model card."""
    content = card_of(recognizer)

    async def missing(request: Request) -> Response:
        raise HTTPException(NOT_FOUND.status)

    return missing if content is None else _tagged(_always(content), CARD)


def _always(content: bytes) -> Callable[[Request], bytes]:
    return lambda _: content


def _tagged(content_of: Callable[[Request], bytes], name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint whose ETag is the hash of its content, and which answers 304 while that is unchanged."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"

    async def endpoint(request: Request) -> Response:
        content = content_of(request)
        headers = {**HEADERS, "etag": f'"{sha256(content).hexdigest()}"'}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, kind)

    return endpoint


def reference(document: dict[str, Any]) -> list[BaseRoute]:
    """Return the routes ``/docs``, ``/redoc`` and ``/openapi.json`` for an OpenAPI document."""
    page = fixed(render(document).encode(), "text/html", HEADERS)
    return [
        # Other FastAPI applications have a reference at /redoc too; links are relative, so one page serves both.
        *(Route(path, page) for path in ("/docs", "/redoc")),
        Route("/docs.css", fixed(STYLE.read_bytes(), "text/css", HEADERS)),
        Route("/docs.js", fixed(SCRIPT.read_bytes(), "text/javascript", HEADERS)),
        Route("/openapi.json", fixed(orjson.dumps(document), "application/json", HEADERS)),
    ]

"""What browsers are shown: the drawing page from ``inkdigits/web`` with all it needs to read by itself, and the API's
reference at ``/docs``.

All of it works with no other origin and no inline script, which the Content-Security-Policy holds browsers to.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Scope

from inkdigits.recognizer import Recognizer
from inkdigits.server.offline import INDEX, LISTING, WEB, device_files, index, listing
from inkdigits.server.reference import render
from inkdigits.server.routes import fixed

__all__ = ["HEADERS", "device", "page", "policy", "reference"]

STYLE = Path(__file__).with_name("reference.css")
SCRIPT = Path(__file__).with_name("reference.js")


def policy(server: str = "") -> str:
    """The page's Content-Security-Policy.

    Args:
        server: origin of the server that it asks, where that is another than its own.
    """
    return (
        # WebAssembly is what reading on the device is compiled from; blob: and data: are the page's own pictures.
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
        f"connect-src 'self'{server and ' ' + server}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


HEADERS = {
    "content-security-policy": policy(),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-cache",  # always asked again, and answered by 304 while the ETag holds
}

# The system's own table may lack these or say otherwise, and browsers refuse a module of the wrong type.
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


class _Files(StaticFiles):
    """Files with the page's headers; one that lies beside its compressed form (``.gz``) is sent in that."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        if Path(full_path) == WEB / INDEX:
            return self._index(Headers(scope=scope), status_code)
        packed = Path(f"{full_path}.gz")
        if not packed.is_file() or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            response = super().file_response(full_path, stat_result, scope, status_code)
            response.headers.update(HEADERS)
            return response
        response = super().file_response(str(packed), packed.stat(), scope, status_code)
        response.headers.update(HEADERS)
        response.headers.update({"content-encoding": "gzip", "vary": "Accept-Encoding"})
        return response

    def _index(self, asked: Headers, status_code: int) -> Response:
        """The page itself, as it is now: the runtime may come while the server runs."""
        content = index()
        headers = {**HEADERS, "etag": f'"{sha256(content).hexdigest()}"'}
        response = Response(content, status_code, headers, "text/html")
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, asked) else response


def page() -> ASGIApp:
    """The page's files, with ETag, compressed where the client takes it."""
    return GZipMiddleware(_Files(directory=WEB, html=True), compresslevel=6)


def device(recognizer: Recognizer) -> list[BaseRoute]:
    """The routes of what the page reads with on the device: the model, what is known of it, and the list of files."""
    files = device_files(recognizer)

    def names(request: Request) -> bytes:
        return listing(files)

    return [
        *(Route(f"/{name}", _tagged(lambda _, content=content: content, name)) for name, content in files.items()),
        Route(f"/{LISTING}", _tagged(names, LISTING)),
    ]


def _tagged(content_of: Callable[[Request], bytes], name: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose answers carry the hash of their content as ETag, and are not sent again while it holds."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"

    async def endpoint(request: Request) -> Response:
        content = content_of(request)
        headers = {**HEADERS, "etag": f'"{sha256(content).hexdigest()}"'}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, kind)

    return endpoint


def reference(document: dict[str, Any]) -> list[BaseRoute]:
    """The routes ``/docs`` and ``/openapi.json`` for an OpenAPI document."""
    return [
        Route("/docs", fixed(render(document).encode(), "text/html", HEADERS)),
        Route("/docs.css", fixed(STYLE.read_bytes(), "text/css", HEADERS)),
        Route("/docs.js", fixed(SCRIPT.read_bytes(), "text/javascript", HEADERS)),
        Route("/openapi.json", fixed(orjson.dumps(document), "application/json", HEADERS)),
    ]

"""What browsers are shown: the drawing page from ``inkdigits/web``, and the API's reference at ``/docs``.

All of it works with no other origin and no inline script, which the Content-Security-Policy holds browsers to.
"""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Any

import orjson
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

import inkdigits
from inkdigits.server.reference import render
from inkdigits.server.routes import fixed

__all__ = ["page", "reference"]

WEB = Path(inkdigits.__file__).with_name("web")
STYLE = Path(__file__).with_name("reference.css")

HEADERS = {
    # blob: and data: are the page's own drawings and thumbnails.
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
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
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}.items():
    mimetypes.add_type(kind, suffix)


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def page() -> ASGIApp:
    """The page's files, with ETag, compressed where the client takes it."""
    return GZipMiddleware(_Files(directory=WEB, html=True), compresslevel=6)


def reference(document: dict[str, Any]) -> list[BaseRoute]:
    """The routes ``/docs`` and ``/openapi.json`` for an OpenAPI document."""
    return [
        Route("/docs", fixed(render(document).encode(), "text/html", HEADERS)),
        Route("/docs.css", fixed(STYLE.read_bytes(), "text/css", HEADERS)),
        Route("/openapi.json", fixed(orjson.dumps(document), "application/json", HEADERS)),
    ]

"""The service, wired: settings in, an ASGI application out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from inkdigits.errors import SettingError
from inkdigits.image import Limits
from inkdigits.recognizer import Recognizer
from inkdigits.server.known import self_test
from inkdigits.server.pages import device, page, reference
from inkdigits.server.problems import HANDLERS
from inkdigits.server.routes import Predict, api
from inkdigits.server.schemas import openapi
from inkdigits.settings import Settings

__all__ = ["create_app"]

log = logging.getLogger("inkdigits")

PREFLIGHT_SECONDS = 24 * 60 * 60  # that a browser keeps the answer to its CORS question
_ORIGIN = re.compile(r"https?://[^/\s,@*]+", re.ASCII)


def create_app(settings: Settings | None = None) -> Starlette:
    """The service as an ASGI application, its model loaded and tried on a known digit.

    Args:
        settings: None reads them from the environment.

    Raises:
        SettingError: a setting cannot be used.
        ModelError: the model cannot be loaded.
    """
    settings = settings or Settings.from_env()
    origins = _origins(settings.cors_origins)
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    recognizer = Recognizer(settings.model or None, threads=settings.threads, limits=limits)
    fault = self_test(recognizer)
    # Two at a time: a 16-megapixel photo takes some 100 MB while it is read.
    threads = ThreadPoolExecutor(min(2, os.cpu_count() or 1), thread_name_prefix="inkdigits")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if fault:
            log.warning("not ready: %s", fault)
        yield
        threads.shutdown(cancel_futures=True)

    app = Starlette(
        routes=[
            *api(recognizer, Predict(recognizer, settings, threads), fault),
            *reference(openapi(settings, recognizer)),
            *device(recognizer),
        ],
        middleware=[_cors(origins)] if origins else [],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # The page as default, not as a mount at "/": a mount would take requests that have the right path and the wrong
    # method away from the routes, and 405 would become 404.
    app.router.default = page()
    app.router.redirect_slashes = False  # a redirect would name the scheme that a proxy in front has hidden
    return app


def _cors(origins: list[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type"],
        max_age=PREFLIGHT_SECONDS,
    )


def _origins(text: str) -> list[str]:
    origins = [origin.strip() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingError(
                f"cors_origins (INKDIGITS_CORS_ORIGINS) names {origin!r}, which is not an origin; "
                "expected scheme and host such as https://example.com, without a path"
            )
    return origins

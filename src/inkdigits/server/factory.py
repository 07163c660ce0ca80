"""Builds the service from its settings, as an ASGI application."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from inkdigits.errors import SettingError
from inkdigits.recognizer import Recognizer
from inkdigits.self_test import self_test
from inkdigits.server.api import api
from inkdigits.server.comparison import Bounds
from inkdigits.server.feedback import Feedback, bodies_of
from inkdigits.server.form import Form
from inkdigits.server.http.asgi import Service
from inkdigits.server.http.auth import Authenticator
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.responses import FRESH
from inkdigits.server.inference import Executor
from inkdigits.server.keeper import keeper_of
from inkdigits.server.model_info import version_of
from inkdigits.server.observability.logs import wants_requests
from inkdigits.server.observability.metrics import CONTENT_TYPE, Metrics
from inkdigits.server.observability.tracing import tracer_of
from inkdigits.server.open_inference import Infer
from inkdigits.server.pages import device, page
from inkdigits.server.pipeline import Deployment
from inkdigits.server.predict import Predict
from inkdigits.server.processes.shared_state import READY, UP, SharedState
from inkdigits.server.read import Read
from inkdigits.server.trial import Trial
from inkdigits.server.trial_plan import check_trial, plan_of
from inkdigits.settings import Settings

__all__ = ["create_app"]

log = logging.getLogger("inkdigits")

PREFLIGHT_SECONDS = 24 * 60 * 60  # for which browsers cache the answer to a CORS preflight request
_ORIGIN = re.compile(r"https?://[^/\s,@*]+", re.ASCII)


def create_app(settings: Settings | None = None, shared: SharedState | None = None, worker: int = 0) -> Service:
    """Return the service as an ASGI application, with its model loaded and tested on known digits.

    It is a :class:`Service` around a FastAPI application, ``deployment.app``. The steps that every request takes are
    outside FastAPI, and a model swap replaces the FastAPI application. ``app.mount("/digits", create_app())`` mounts
    the service in your application.

    Args:
        settings: None reads them from the environment.
        shared: the state that the workers share; None for a single process.
        worker: number of this worker.

    Raises:
        SettingError: a setting cannot be used.
        ModelError: the model cannot be loaded.
    """
    settings = settings or Settings.from_env()
    check_trial(settings)
    shared = shared or SharedState()
    origins = _origins(settings.cors_origins)
    metrics = Metrics(shared, worker)
    auth = Authenticator(settings, shared, metrics)
    executor = Executor(settings, metrics)
    bodies = Bodies(settings, executor, metrics)
    tracer = tracer_of(settings)
    keeper = keeper_of(settings, metrics, worker)
    if auth.reviews and keeper is None:
        raise SettingError(
            "review_keys (INKDIGITS_REVIEW_KEYS) is set, but there is nothing to review; set feedback "
            "(INKDIGITS_FEEDBACK), too"
        )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if service.deployment.fault:
            log.warning("not ready: %s", service.deployment.fault)
        if keeper:
            keeper.start()
        if trial := service.deployment.trial:
            trial.start()
        yield
        if trial := service.deployment.trial:
            trial.close()
        executor.close()
        if keeper:
            keeper.close()
        if tracer:
            tracer.close()

    def build() -> Deployment:
        recognizer = Recognizer(
            settings.model or None,
            threads=settings.threads,
            limits=executor.limits,
            profile=settings.profile or None,
        )
        fault = self_test(recognizer)

        def readiness_fault() -> str:
            missing = shared.workers - shared.count(READY)
            return fault or (f"{missing} of {shared.workers} workers not ready" if missing else "")

        async def metrics_text(request: Request) -> Response:
            return Response(metrics.text(recognizer.model, version_of(recognizer)), 200, FRESH, CONTENT_TYPE)

        plan = plan_of(settings, recognizer, executor.limits)
        bounds, reload = Bounds.of(settings), shared.ask_to_reload
        options: dict[str, Any] = {"proxies": settings.proxies, "is_first": worker == 0}
        trial = Trial(plan, bounds, metrics.tally, reload, **options) if plan else None
        predict = Predict(recognizer, executor, bodies, keeper, trial)
        infer = Infer(recognizer, executor, bodies)
        read = Read(recognizer, executor, bodies, metrics, keeper, trial)
        small = bodies_of(settings, executor, metrics)
        feedback = Feedback(recognizer, executor, small, keeper, metrics) if keeper else None
        app = api(settings, recognizer, predict, read, infer, readiness_fault, feedback, trial, lifespan=lifespan)
        app.routes.extend([*device(recognizer), Route("/metrics", metrics_text)])
        if keeper and auth.reviews:
            from inkdigits.server.review import review_routes  # SQLAlchemy is loaded only if corrections are kept

            app.routes.extend(review_routes(recognizer, executor, small, keeper.store))
        # The page is the default, not a mount at "/": a mount would also match requests with a known path and the
        # wrong method, and answer 404 instead of 405.
        app.router.default = page()
        form = Form(recognizer, executor, bodies, predict)
        return Deployment(recognizer, fault, predict, form, app, feedback, trial)

    around = partial(_cors, origins=origins) if origins else None
    service = Service(
        build, auth, executor, metrics, around=around, log_requests=wants_requests(settings), tracer=tracer
    )
    shared.set_state(worker, UP if service.deployment.fault else READY)
    return service


def _cors(app: ASGIApp, origins: list[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Content-Type", "Authorization", "X-API-Key", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
        max_age=PREFLIGHT_SECONDS,
    )


def _origins(text: str) -> list[str]:
    origins = [origin.strip() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingError(
                f"cors_origins (INKDIGITS_CORS_ORIGINS) contains {origin!r}, which is not an origin; "
                "expected a scheme and host such as https://example.com, without a path"
            )
    return origins

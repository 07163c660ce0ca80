"""The routes of the API. ``POST /predict`` is an ASGI application of its own: on the hot path there is nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from inkdigits.errors import ImageError
from inkdigits.recognizer import Prediction, Recognizer
from inkdigits.server.inputs import Input, parse
from inkdigits.server.limits import INLINE_BYTES, is_heavy, read_body
from inkdigits.server.problems import BAD_REQUEST, NOT_READY, UNSUPPORTED_MEDIA_TYPE, Problem, problem_of, shown
from inkdigits.server.schemas import about
from inkdigits.settings import Settings

__all__ = ["Predict", "api", "fixed"]

RETRY_SECONDS = 10  # after which to ask a server again that is not ready
_FRESH = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_SWITCH = {"": True, "true": True, "1": True, "false": False, "0": False}


class Predict:
    """``POST /predict``: images in, one answer or several out.

    Small requests are answered in line, heavy ones in ``threads``, so that they do not hold up the small ones.
    """

    def __init__(self, recognizer: Recognizer, settings: Settings, threads: ThreadPoolExecutor) -> None:
        self._recognizer = recognizer
        self._max_bytes = settings.max_bytes
        self._max_files = settings.max_files
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type, declared, encoding = b"", None, b"identity"
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == b"content-length":
                declared = value
            elif name == b"content-encoding":
                encoding = value
        if encoding.lower() != b"identity":
            detail = f"the Content-Encoding is {shown(encoding.decode('latin-1'))!r}; send the body as it is"
            raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Encoding": "identity"})
        with_image = explain = False
        if scope["query_string"]:
            with_image, explain = _option(scope["query_string"], "image"), _option(scope["query_string"], "explain")
        try:
            body = await read_body(receive, declared, self._max_bytes)
        except ClientDisconnect:
            return
        inputs = await self._run(len(body) > INLINE_BYTES, parse, content_type.decode("latin-1"), body, self._max_files)
        heavy = explain or len(body) > INLINE_BYTES or is_heavy([i.source for i in inputs])
        answer = await self._run(heavy, self._answer, inputs, with_image, explain)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(answer)),
                    (b"x-content-type-options", b"nosniff"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})

    async def _run(self, heavy: bool, function: Callable[..., Any], *args: Any) -> Any:
        if not heavy:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _answer(self, inputs: list[Input], with_image: bool, explain: bool) -> bytes:
        if len(inputs) == 1:
            result = self._recognizer.predict(inputs[0].source, explain=explain)
            return orjson.dumps(self._plain(result, with_image))
        results = self._recognizer.predict_batch((i.source for i in inputs), errors="return", explain=explain)
        return orjson.dumps(
            {
                "predictions": [
                    {"name": i.name, **self._plain(r, with_image)} for i, r in zip(inputs, results, strict=True)
                ]
            }
        )

    def _plain(self, result: Prediction | ImageError, with_image: bool) -> dict[str, Any]:
        if isinstance(result, ImageError):
            problem = problem_of(result)
            return {"error": problem.kind.document(problem.detail)}
        return {**result.to_dict(image=with_image), "model": self._recognizer.model.name}


def _option(query: bytes, name: str) -> bool:
    """An on-or-off option of the query: ``?name``, ``?name=true`` or ``1`` is on, ``false`` or ``0`` is off."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, ["false"])
    if values[-1].lower() not in _SWITCH:
        raise Problem(BAD_REQUEST, f"the query option {name} is {shown(values[-1])!r}; expected true or false")
    return _SWITCH[values[-1].lower()]


def api(recognizer: Recognizer, predict: Predict, fault: str) -> list[BaseRoute]:
    """The API's routes.

    Args:
        fault: what the self-test found wrong, "" for nothing; ``GET /ready`` tells it.
    """
    state = {"status": "ready", "model": recognizer.model.name}

    async def ready(request: Request) -> Response:
        if fault:
            raise Problem(NOT_READY, fault, {"Cache-Control": "no-store", "Retry-After": str(RETRY_SECONDS)})
        return Response(orjson.dumps(state), 200, _FRESH, "application/json")

    return [
        Route("/predict", predict, methods=["POST"]),
        Route("/health", fixed(orjson.dumps({"status": "ok"}), "application/json", _FRESH)),
        Route("/ready", ready),
        Route("/model", fixed(orjson.dumps(about(recognizer)), "application/json", _FRESH)),
    ]


def fixed(body: bytes, media_type: str, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that always gives the same."""

    async def endpoint(request: Request) -> Response:
        return Response(body, 200, headers, media_type)

    return endpoint

"""The ASGI application: a thin front end of the pipeline, for requests that the connection does not answer itself."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from inkdigits.server.http.problems import ROOT, STOPPING, Problem
from inkdigits.server.inference import RETRY_SECONDS
from inkdigits.server.observability.metrics import LEFT, route_of
from inkdigits.server.pipeline import CLOSE, REFUSED, REQUEST, Pipeline, Request

__all__ = ["Service"]

# Routes that ignore a trailing slash. Pages with relative links do not: they have exactly one address.
SLASHED = ("/predict", "/read", "/v2/infer", "/v2", "/health", "/ready", "/metrics", "/feedback")


class Service(Pipeline):
    """The pipeline as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.deployment.app(scope, receive, send)
            return
        path, mounted = scope["path"], None
        if scope.get("root_path"):
            root = scope["root_path"].rstrip("/")
            mounted = ROOT.set(root)
            if path == root or path.startswith(f"{root}/"):  # ASGI servers before 2023 removed the root
                path = path[len(root) :] or "/"
            scope = {**scope, "path": path, "root_path": ""}
        if path.endswith("/") and route_of(path[:-1]) in SLASHED:
            scope["path"] = path[:-1]
        request = scope[REQUEST] = Request(scope, self._ids)

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = [*message.get("headers", ()), request.mark]
                message = {**message, "headers": [*headers, CLOSE] if self.draining else headers}
            await send(message)

        try:
            if self._tracer is None:
                await self._inner(scope, receive, sender)
            else:
                with self._tracer.request(scope, request.mark[1]) as end:
                    await self._inner(scope, receive, sender)
                    end(request.status or LEFT)
        except asyncio.CancelledError:  # the server stops, and the grace period is over
            if not request.status:
                problem = Problem(STOPPING, STOPPING.example, {"Retry-After": str(RETRY_SECONDS)})
                await self._failed(request, problem)(scope, receive, sender)
            if not self.draining:  # another ASGI server cancelled the request
                raise
        finally:
            self.observe(request, scope.get(REFUSED, request.status or LEFT))
            if mounted:
                ROOT.reset(mounted)

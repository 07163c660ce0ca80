"""The outermost part of the service: what happens to every request, whichever route answers it.

Each gets an id, is counted and, where wanted, logged and traced; one that asks for a prediction passes the guard. The
model and the routes that answer with it are one :class:`Site`, which is swapped as a whole for another model.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inkdigits.errors import ImageError, ModelError
from inkdigits.recognizer import Recognizer
from inkdigits.server.form import HOME, Form, page_of, wants_page
from inkdigits.server.http.auth import Guard
from inkdigits.server.http.problems import ROOT, STOPPING, Answer, Problem, answer_of, fault, problem_of, shown
from inkdigits.server.inference import RETRY_SECONDS
from inkdigits.server.observability.logs import REQUESTS
from inkdigits.server.observability.metrics import LEFT, Metrics, route_of
from inkdigits.server.reader import Reader
from inkdigits.server.routes import Predict, reply

__all__ = ["CLOSE", "REFUSED", "Service", "Site"]

PREDICT = "/predict"
SMALL = (PREDICT, "/v2/infer")  # routes whose requests wait in the queue of small ones
# Routes that a slash at the end makes no other; what holds relative addresses has one address.
SLASHED = (PREDICT, "/v2/infer", "/v2", "/health", "/ready", "/metrics")
REFUSED = "inkdigits.refused"  # in a scope: the status that the connection itself answered with
ID = "inkdigits.id"  # in a scope: the request's id
_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)  # a client's own request id; any other gets one of ours
CLOSE = (b"connection", b"close")
JSON = b"application/json"

log = logging.getLogger("inkdigits")
requests = logging.getLogger(REQUESTS)


@dataclass(frozen=True, slots=True)
class Site:
    """One model and what answers with it.

    Attributes:
        fault: what the self-test found wrong, "" for nothing.
    """

    recognizer: Recognizer
    fault: str
    reader: Reader
    predict: Predict
    form: Form
    app: Starlette


class Service:
    """The ASGI application.

    Args:
        build: makes a site of the model that the settings name now.
        around: wraps the routes, for CORS.

    Attributes:
        draining: whether clients are to leave: each answer then ends its connection.
        site: what answers now.
    """

    def __init__(
        self,
        build: Callable[[], Site],
        guard: Guard,
        metrics: Metrics,
        *,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        log_requests: bool = False,
        tracer: Any = None,
    ) -> None:
        self.draining = False
        self.metrics = metrics
        self.site = build()
        self._build = build
        self._next: Site | None = None
        self._guard = guard
        self._log = log_requests
        self._inner = around(self._answer) if around else self._answer
        self._around = around
        self._tracer = tracer
        mine = secrets.token_hex(6).encode()
        self._ids = map((mine + b"%08x").__mod__, count())

    @property
    def busy(self) -> bool:
        """Whether a thread is still at work."""
        return self.site.reader.busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.site.app(scope, receive, send)
            return
        mounted = None
        if scope.get("root_path"):
            scope, mounted = _below_root(scope)
        start = perf_counter()
        status = LEFT
        request_id = scope[ID] = self._id(scope)
        if scope["path"].endswith("/") and route_of(scope["path"][:-1]) in SLASHED:
            scope["path"] = scope["path"][:-1]

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id)]
                message = {**message, "headers": [*headers, CLOSE] if self.draining else headers}
            await send(message)

        try:
            if self._tracer is None:
                await self._inner(scope, receive, sender)
            else:
                with self._tracer.request(scope, request_id) as span:
                    await self._inner(scope, receive, sender)
                    span.end(status)
        except asyncio.CancelledError:  # the server stops, and the request has had its time
            if status == LEFT:  # its answer has not begun
                retry = {"Retry-After": str(RETRY_SECONDS)}
                await _refuse(sender, scope, Problem(STOPPING, STOPPING.example, retry))
            if not self.draining:  # the server is another, which cancels for reasons of its own
                raise
        finally:
            seconds = perf_counter() - start
            status = scope.get(REFUSED, status)
            self.metrics.request(route_of(scope["path"]), status, seconds)
            if self._log:
                _log_request(scope, status, seconds, request_id)
            if mounted:
                ROOT.reset(mounted)

    def turn_away(self, scope: Mapping[str, Any]) -> Answer | None:
        """The whole answer to a request that there is no room for; None where it is to be answered as any other.

        This comes before anything is begun for a request: in the time that a server takes for those it turns away, it
        reads none. Where answers need more than this, as in CORS and traces, they go the long way.
        """
        path = scope["path"]
        if scope["method"] != "POST" or route_of(path) not in SMALL or self._around or self._tracer:
            return None
        problem = self.site.reader.let_in()
        if problem is None:
            return None
        return self.refuse(scope, problem)

    def refuse(self, scope: Mapping[str, Any], problem: Problem, *, count: bool = True) -> Answer:
        """The whole answer to a request that no application is asked for.

        Args:
            count: whether it is counted and logged here.
        """
        path, status = scope["path"], problem.kind.status
        request_id = scope.get(ID) or self._id(scope)
        if count:
            self.metrics.request(route_of(path), status, 0.0)
            if self._log:
                _log_request(scope, status, 0.0, request_id)
        return answer_of(path, problem, (b"x-request-id", request_id))

    def at_once(self, scope: Mapping[str, Any], body: bytes, send: Callable[[Answer], bool]) -> bool:
        """Have a small prediction read whose request is all there, past ASGI, which costs as much as reading it does.

        Where more than the model has a say, as with keys, CORS and traces, a request goes the long way.

        Args:
            send: is given the answer in a turn of the event loop to come, and says whether the client was still there.

        Returns:
            False where the request is to be answered as any other: nothing has been begun then.
        """
        if scope["path"] != PREDICT or scope["method"] != "POST" or scope["query_string"]:
            return False
        if self._around or self._tracer or self._guard.active:
            return False
        start = perf_counter()
        request_id = self._id(scope)

        def deliver(told: bytes | Exception) -> None:
            mark = (b"x-request-id", request_id)
            if isinstance(told, bytes):
                answer = Answer(200, JSON, told, [mark])
            else:
                answer = answer_of(PREDICT, self._problem(scope, told), mark)
            status = answer.status if send(answer) else scope.get(REFUSED, LEFT)
            seconds = perf_counter() - start
            self.metrics.request(PREDICT, status, seconds)
            if self._log:
                _log_request(scope, status, seconds, request_id)

        try:
            return self.site.predict.at_once(dict(scope["headers"]), body, deliver)
        except Exception as error:
            deliver(error)
            return True

    def _problem(self, scope: Mapping[str, Any], error: Exception) -> Problem:
        """What a request is told that failed so; where the server is at fault, the log has all of it."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, ImageError):
            return problem_of(error)
        log.error("a fault while answering %s %s", scope["method"], shown(scope["path"]), exc_info=error)
        return fault()

    def _id(self, scope: Mapping[str, Any]) -> bytes:
        value: bytes
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _ID.fullmatch(value):
                return value
        return next(self._ids)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard and route; what a client is at fault for, and what the server is, becomes a problem document."""
        site = self.site
        path = scope["path"]
        try:
            if scope["method"] != "POST":
                await site.app(scope, receive, send)
                return
            if self._guard.active:
                self._guard.admit(scope, _joined(scope["headers"]))
            # Past the framework, which costs more than the network does.
            await (site.predict if path == PREDICT else site.form if path == HOME else site.app)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:
            problem = self._problem(scope, error)
            # The framework answers faults of its routes itself.
            if path in (PREDICT, HOME) or isinstance(error, Problem | ImageError):
                await _refuse(send, scope, problem)

    def prepare(self) -> str:
        """Load the model anew, as it is now, and try it; it does not answer before :meth:`commit`.

        Returns:
            Its SHA-256.

        Raises:
            ModelError: it cannot be loaded, or reads a known digit wrong.
        """
        site = self._build()
        if site.fault:
            raise ModelError(site.fault)
        self._next = site
        return site.recognizer.model.sha256

    def commit(self) -> None:
        """Answer with what was prepared from the next request on; those under way keep the model they began with."""
        if self._next:
            self.site = self._next
        self._next = None

    def drop(self) -> None:
        """Forget what was prepared."""
        self._next = None


def _below_root(scope: Scope) -> tuple[Scope, Token[str]]:
    """Return the scope as it is below the path that this application is mounted at, and what resets that path."""
    root, path = scope["root_path"].rstrip("/"), scope["path"]
    if path == root or path.startswith(f"{root}/"):  # servers before 2023 took the root off
        path = path[len(root) :] or "/"
    return {**scope, "path": path, "root_path": ""}, ROOT.set(root)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; X-Forwarded-For in several lines is one list (RFC 9110, section 5.3)."""
    headers = list(headers)
    forwarded = [value for name, value in headers if name == b"x-forwarded-for"]
    return {**dict(headers), b"x-forwarded-for": b",".join(forwarded)} if forwarded else dict(headers)


async def _refuse(send: Send, scope: Scope, problem: Problem) -> None:
    """Tell a problem; past the framework, too."""
    path = scope["path"]
    answer = page_of(problem) if path == HOME and wants_page(scope) else answer_of(path, problem)
    await reply(send, answer.body, answer.kind, *answer.headers, status=answer.status)


def _log_request(scope: Mapping[str, Any], status: int, seconds: float, request_id: bytes) -> None:
    client = scope["client"][0] if scope.get("client") else "-"
    fields = {
        "request_id": request_id.decode("ascii"),
        "client": client,
        "method": scope["method"],
        "path": shown(scope["path"]),
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
    }
    line = '%s "%s %s HTTP/%s" %d %.1fms %s'
    values = (client, scope["method"], fields["path"].encode("unicode_escape").decode(), scope["http_version"], status)
    requests.info(line, *values, seconds * 1000, fields["request_id"], extra={"fields": fields})

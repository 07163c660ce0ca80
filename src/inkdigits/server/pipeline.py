"""The one way of every request: id → admit → route → observe.

Two thin front ends call :meth:`Pipeline.handle`: the connection (:mod:`inkdigits.server.http.protocol`), for small
predictions that came whole, and ASGI (:mod:`inkdigits.server.http.asgi`), for all else. A header, a metric or a rule
that concerns every request is written here, once.

The model and the routes that answer with it are one :class:`Deployment`, which is swapped as a whole for another model.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from inkdigits.errors import ModelError
from inkdigits.recognizer import Recognizer
from inkdigits.server.form import HOME, Form, page_of, wants_page
from inkdigits.server.http.auth import Authenticator, joined
from inkdigits.server.http.problems import INTERNAL_ERROR, Problem, answer_of, problem_of, shown
from inkdigits.server.http.responses import JSON, Answer, Header
from inkdigits.server.inference import INLINE_BYTES, Executor
from inkdigits.server.observability.logs import log_request
from inkdigits.server.observability.metrics import LEFT, Metrics, route_of
from inkdigits.server.observability.tracing import Tracer
from inkdigits.server.predict import Predict

__all__ = ["CLOSE", "REFUSED", "REQUEST", "Deployment", "Pipeline", "Request"]

PREDICT = "/predict"
QUEUED = (PREDICT, "/v2/infer")  # routes whose requests wait in the queue of small ones
REFUSED = "inkdigits.refused"  # in a scope: the status that the connection itself answered with
REQUEST = "inkdigits.request"  # in a scope: its :class:`Request`
_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)  # a client's own request id; any other gets one of ours
CLOSE = (b"connection", b"close")

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model and what answers with it.

    Attributes:
        fault: what the self-test found wrong, "" for nothing.
    """

    recognizer: Recognizer
    fault: str
    predict: Predict
    form: Form
    app: Starlette


Respond = Callable[[Answer], bool]  # sends an answer, and returns whether the client was still there


class Request:
    """A request on its way.

    Args:
        ids: gives an id to a request that brings none.

    Attributes:
        mark: the header with its id, which every answer has.
        status: of its answer; 0 until that begins.
    """

    __slots__ = ("headers", "mark", "scope", "start", "status")

    def __init__(self, scope: Mapping[str, Any], ids: Iterator[bytes]) -> None:
        self.start = perf_counter()
        self.scope: Any = scope  # of ASGI, whose endpoints add to it
        self.status = 0
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        own = self.headers.get(b"x-request-id")
        self.mark: Header = (b"x-request-id", own if own and _ID.fullmatch(own) else next(ids))


class Pipeline:
    """What every request goes through.

    Args:
        build: makes a deployment of the model that the settings name now.
        around: wraps the routes, for CORS.

    Attributes:
        draining: whether clients are to leave: each answer then ends its connection.
        deployment: what answers now.
    """

    def __init__(
        self,
        build: Callable[[], Deployment],
        auth: Authenticator,
        executor: Executor,
        metrics: Metrics,
        *,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        log_requests: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        self.draining = False
        self.metrics = metrics
        self.deployment = build()
        self._build = build
        self._next: Deployment | None = None
        self._auth = auth
        self._executor = executor
        self._log = log_requests
        self._tracer = tracer
        self._inner = around(self.handle_asgi) if around else self.handle_asgi
        self._is_plain = not (around or tracer)  # answers need no more than is done here
        self._inline = min(INLINE_BYTES, executor.limits.max_bytes)  # bytes of a body that may be read at once
        mine = secrets.token_hex(6).encode()
        self._ids = map((mine + b"%08x").__mod__, count())

    @property
    def busy(self) -> bool:
        """Whether a thread is still at work."""
        return self._executor.busy

    # A request that came whole, of the connection

    def turn_away(self, scope: Mapping[str, Any]) -> Answer | None:
        """Return the whole answer to a request that there is no room for; None where it is to be answered as any other.

        This comes before anything is begun for a request: in the time that a server takes for those it turns away, it
        reads none. Where answers need more than this, as in CORS and traces, they go the long way.
        """
        if scope["method"] != "POST" or route_of(scope["path"]) not in QUEUED or not self._is_plain:
            return None
        problem = self._executor.try_reserve()
        return None if problem is None else self.refuse(scope, problem)

    def refuse(self, scope: Mapping[str, Any], problem: Problem, *, count: bool = True) -> Answer:
        """Return the whole answer to a request that nothing else is done for.

        Args:
            count: whether it is counted and logged here.
        """
        request = scope.get(REQUEST) or Request(scope, self._ids)
        if count:
            self.observe(request, problem.kind.status, begun=False)
        return answer_of(scope["path"], problem).plus(request.mark)

    def at_once(self, scope: Mapping[str, Any], body: bytes, respond: Respond) -> bool:
        """Have a small prediction read past ASGI, which costs as much as reading it does.

        Where more than the model has a say, as with keys, CORS and traces, a request goes the long way.

        Args:
            respond: is given the answer in a turn of the event loop to come.

        Returns:
            False where the request is to be answered as any other: nothing has been begun then.
        """
        if scope["path"] != PREDICT or scope["method"] != "POST" or scope["query_string"]:
            return False
        if len(body) > self._inline or not self._is_plain or self._auth.active:
            return False
        request = Request(scope, self._ids)
        return b"content-encoding" not in request.headers and self.handle(request, respond, body)

    # The way of a request

    def handle(self, request: Request, respond: Respond, body: bytes) -> bool:
        """Admit a request that came whole, have its route answer it, and observe what came of it.

        Returns:
            False where it takes longer than a turn of the event loop: nothing has been begun then.
        """
        done = partial(self._finish, request, respond)
        try:
            self._admit(request)
            content_type = request.headers.get(b"content-type", b"").decode("latin-1")
            return self.deployment.predict.begin(content_type, body, done)
        except Exception as error:
            done(error)
            return True

    def _finish(self, request: Request, respond: Respond, found: bytes | Exception) -> None:
        """Respond with the JSON that was found, or with what went wrong."""
        if isinstance(found, bytes):
            answer = Answer(200, JSON, found, (request.mark,))
        else:
            answer = self._failed(request, found).plus(request.mark)
        self.observe(request, answer.status if respond(answer) else request.scope.get(REFUSED, LEFT), whole=True)

    async def handle_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the same with a request whose body is still to come, or whose answer is a stream; ASGI observes it."""
        deployment, path, posted = self.deployment, scope["path"], scope["method"] == "POST"
        try:
            self._admit(scope[REQUEST])
            # Past the framework, which costs more than the network does.
            past: dict[str, ASGIApp] = {PREDICT: deployment.predict, HOME: deployment.form} if posted else {}
            await past.get(path, deployment.app)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:
            answer = self._failed(scope[REQUEST], error)
            if not scope[REQUEST].status:  # the framework answers faults of its routes itself
                await answer(scope, receive, send)

    def _admit(self, request: Request) -> None:
        if self._auth.active and request.scope["method"] == "POST":
            self._auth.admit(request.scope, joined(request.scope["headers"]))

    def _failed(self, request: Request, error: Exception) -> Answer:
        """Return the answer to a request that failed so; where the server is at fault, the log has all of it."""
        problem, scope = problem_of(error), request.scope
        if problem.kind is INTERNAL_ERROR:
            log.error("a fault while answering %s %s", scope["method"], shown(scope["path"]), exc_info=error)
        return page_of(problem) if scope["path"] == HOME and wants_page(scope) else answer_of(scope["path"], problem)

    def observe(self, request: Request, status: int, *, begun: bool = True, whole: bool = False) -> None:
        """Count a request that has its answer, and log it where that is wanted.

        Args:
            begun: whether anything was done for it.
            whole: whether it came in one piece.
        """
        seconds = perf_counter() - request.start if begun else 0.0
        self.metrics.request(route_of(request.scope["path"]), status, seconds, whole=whole)
        if self._log:
            log_request(request.scope, status, seconds, request.mark[1])

    # Another model

    def prepare(self) -> str:
        """Load the model again, as it is now, and try it; it does not answer before :meth:`commit`.

        Returns:
            Its SHA-256.

        Raises:
            ModelError: it cannot be loaded, or reads a known digit wrong.
        """
        deployment = self._build()
        if deployment.fault:
            raise ModelError(deployment.fault)
        self._next = deployment
        return deployment.recognizer.model.sha256

    def commit(self) -> None:
        """Answer with what was prepared from the next request on; those under way keep the model they began with."""
        if self._next:
            self.deployment = self._next
        self._next = None

    def drop(self) -> None:
        """Forget what was prepared."""
        self._next = None

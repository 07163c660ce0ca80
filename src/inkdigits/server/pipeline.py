"""The steps of every request: id → admit → route → observe.

Two thin front ends call :meth:`Pipeline.handle`: the connection (:mod:`inkdigits.server.http.protocol`), for small
predictions that arrive complete, and ASGI (:mod:`inkdigits.server.http.asgi`), for all others. A header, a metric or a
rule for every request is written once, here.

The model and its routes are one :class:`Deployment`, which a model swap replaces as a whole.
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
from inkdigits.server.http.auth import Authenticator, headers_by_name
from inkdigits.server.http.problems import INTERNAL_ERROR, Problem, answer_of, problem_of, shorten
from inkdigits.server.http.responses import JSON, Answer, Header
from inkdigits.server.inference import INLINE_BYTES, Executor
from inkdigits.server.observability.logs import log_request
from inkdigits.server.observability.metrics import (
    LEFT,
    PATH_OF_FEEDBACK,
    PATH_OF_REVIEW,
    Metrics,
    route_of,
    shown_path,
)
from inkdigits.server.observability.tracing import Tracer
from inkdigits.server.predict import Predict
from inkdigits.server.trial import Trial

__all__ = ["CLOSE", "REFUSED", "REQUEST", "Deployment", "Pipeline", "Request"]

PREDICT = "/predict"
GUARDED = ("POST", "DELETE")  # methods that need an API key, and count for the rate limit
QUEUED = (PREDICT, "/v2/infer")  # routes whose requests can wait in the queue of small ones
REFUSED = "inkdigits.refused"  # in a scope: the status that the connection itself answered with
REQUEST = "inkdigits.request"  # in a scope: its :class:`Request`
_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)  # a valid request id of a client; any other is replaced
CLOSE = (b"connection", b"close")

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model and its routes.

    Attributes:
        fault: what the self-test found wrong; "" if nothing.
        feedback: answers ``POST /feedback``; None if no corrections are kept.
        trial: of another model; None if there is none.
    """

    recognizer: Recognizer
    fault: str
    predict: Predict
    form: Form
    app: Starlette
    feedback: ASGIApp | None = None
    trial: Trial | None = None


Respond = Callable[[Answer], bool]  # sends an answer, and returns whether the client was still there


class Request:
    """A request in progress.

    Args:
        ids: yields ids for requests without one.

    Attributes:
        mark: the header with the request id, which every answer has.
        status: of the answer; 0 until it begins.
    """

    __slots__ = ("headers", "mark", "scope", "start", "status")

    def __init__(self, scope: Mapping[str, Any], ids: Iterator[bytes]) -> None:
        self.start = perf_counter()
        self.scope: Any = scope  # an ASGI scope; endpoints add to it
        self.status = 0
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        own = self.headers.get(b"x-request-id")
        self.mark: Header = (b"x-request-id", own if own and _ID.fullmatch(own) else next(ids))


class Pipeline:
    """The steps of every request.

    Args:
        build: builds a deployment of the model in the settings.
        around: wraps the routes, for CORS.

    Attributes:
        draining: whether the server is stopping: each answer then closes its connection.
        deployment: the model and routes in use.
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
        executor.trial = self.deployment.trial
        self._build = build
        self._next: Deployment | None = None
        self._auth = auth
        self._executor = executor
        self._log = log_requests
        self._tracer = tracer
        self._inner = around(self.handle_asgi) if around else self.handle_asgi
        self._is_plain = not (around or tracer)  # answers need no CORS headers and no trace
        self._inline = min(INLINE_BYTES, executor.limits.max_bytes)  # bytes of a body that is parsed in the event loop
        mine = secrets.token_hex(6).encode()
        self._ids = map((mine + b"%08x").__mod__, count())

    @property
    def busy(self) -> bool:
        """Whether a thread is still busy."""
        return self._executor.busy or bool(self.deployment.trial and self.deployment.trial.busy)

    # Complete requests, from the connection

    def turn_away(self, scope: Mapping[str, Any]) -> Answer | None:
        """Return an overload answer if the queue is full; None if the request can be handled.

        This is checked before any other work: time spent on rejected requests is lost for predictions. Requests that
        need CORS headers or a trace are checked later, in ASGI.
        """
        if scope["method"] != "POST" or route_of(scope["path"]) not in QUEUED or not self._is_plain:
            return None
        problem = self._executor.try_reserve()
        return None if problem is None else self.refuse(scope, problem)

    def refuse(self, scope: Mapping[str, Any], problem: Problem, *, count: bool = True) -> Answer:
        """Return the answer to a request that is rejected with this problem.

        Args:
            count: whether to count and log the request here.
        """
        request = scope.get(REQUEST) or Request(scope, self._ids)
        if count:
            self.observe(request, problem.type.status, begun=False)
        return answer_of(scope["path"], problem).plus(request.mark)

    def at_once(self, scope: Mapping[str, Any], body: bytes, respond: Respond) -> bool:
        """Handle a small prediction without ASGI, which costs as much as the prediction.

        Requests that need more, such as keys, CORS or traces, go through ASGI.

        Args:
            respond: called with the answer in a later turn of the event loop.

        Returns:
            False if the request must go through ASGI; nothing was started for it.
        """
        if scope["path"] != PREDICT or scope["method"] != "POST" or scope["query_string"]:
            return False
        if len(body) > self._inline or not self._is_plain or self._auth.active:
            return False
        request = Request(scope, self._ids)
        return b"content-encoding" not in request.headers and self.handle(request, respond, body)

    # The steps of a request

    def handle(self, request: Request, respond: Respond, body: bytes) -> bool:
        """Admit a complete request, route it, and observe its answer.

        Returns:
            False if it may take longer than a turn of the event loop; nothing was started for it.
        """
        done = partial(self._finish, request, respond)
        try:
            self._admit(request)
            return self.deployment.predict.begin(request.scope, request.headers, body, done)
        except Exception as error:
            done(error)
            return True

    def _finish(self, request: Request, respond: Respond, found: bytes | Exception) -> None:
        """Respond with the JSON or with the problem."""
        if isinstance(found, bytes):
            answer = Answer(200, JSON, found, (request.mark,))
        else:
            answer = self._failed(request, found).plus(request.mark)
        self.observe(request, answer.status if respond(answer) else request.scope.get(REFUSED, LEFT), whole=True)

    async def handle_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the same for a request whose body is still arriving, or whose answer is streamed; ASGI observes it."""
        deployment, path, posted = self.deployment, scope["path"], scope["method"] == "POST"
        try:
            self._admit(scope[REQUEST])
            # Bypass FastAPI, which costs more than the network.
            past: dict[str, ASGIApp] = {PREDICT: deployment.predict, HOME: deployment.form} if posted else {}
            if posted and deployment.feedback:
                past[PATH_OF_FEEDBACK] = deployment.feedback
            await past.get(path, deployment.app)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:
            answer = self._failed(scope[REQUEST], error)
            if not scope[REQUEST].status:  # FastAPI has answered errors of its routes
                await answer(scope, receive, send)

    def _admit(self, request: Request) -> None:
        if self._auth.reviews and request.scope["path"].startswith(f"{PATH_OF_REVIEW}/"):
            self._auth.admit_reviewer(request.scope, headers_by_name(request.scope["headers"]))
        elif self._auth.active and request.scope["method"] in GUARDED:
            self._auth.admit(request.scope, headers_by_name(request.scope["headers"]))

    def _failed(self, request: Request, error: Exception) -> Answer:
        """Return the answer to a request that failed; log internal errors with their traceback."""
        problem, scope = problem_of(error), request.scope
        if problem.type is INTERNAL_ERROR:
            log.error(
                "a fault while answering %s %s", scope["method"], shorten(shown_path(scope["path"])), exc_info=error
            )
        return page_of(problem) if scope["path"] == HOME and wants_page(scope) else answer_of(scope["path"], problem)

    def observe(self, request: Request, status: int, *, begun: bool = True, whole: bool = False) -> None:
        """Count an answered request, and log it if the settings say so.

        Args:
            begun: whether any work was done for it.
            whole: whether it arrived in one piece.
        """
        seconds = perf_counter() - request.start if begun else 0.0
        self.metrics.request(route_of(request.scope["path"]), status, seconds, whole=whole)
        if self._log:
            log_request(request.scope, status, seconds, request.mark[1])

    # Model swap

    def prepare(self) -> str:
        """Load the model again and test it; it is not used before :meth:`commit`.

        Returns:
            Its SHA-256.

        Raises:
            ModelError: the model cannot be loaded, or reads a known digit wrong.
        """
        deployment = self._build()
        if deployment.fault:
            raise ModelError(deployment.fault)
        self._next = deployment
        return deployment.recognizer.model.sha256

    def commit(self) -> None:
        """Use the prepared deployment from the next request on; requests in progress keep their model."""
        if self._next:
            if self.deployment.trial:
                self.deployment.trial.close(wait=False)
            self.deployment = self._next
            self.metrics.tally.renew()
            self._executor.trial = self.deployment.trial
            if self.deployment.trial:
                self.deployment.trial.start()
        self._next = None

    def drop(self) -> None:
        """Discard the prepared deployment."""
        self._next = None

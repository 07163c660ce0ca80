"""A connection: its requests and answers, with limits of time and size that uvicorn lacks.

Without the limits, clients that send one byte per second or endless headers could hold a connection or memory forever.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inkdigits.server.http import syntax
from inkdigits.server.http.framing import Framing
from inkdigits.server.http.problems import (
    NOT_IMPLEMENTED,
    OVERLOADED,
    STOPPING,
    TOO_SLOW,
    Problem,
    problem_of,
)
from inkdigits.server.http.responses import Answer, serialize
from inkdigits.server.http.transport import Joined
from inkdigits.server.inference import RETRY_SECONDS
from inkdigits.server.pipeline import CLOSE, REFUSED, Pipeline

__all__ = ["BEYOND_SHARE", "Connection", "Rules"]

LINGER_BYTES = 64 << 20  # that a client may send after its answer; they are discarded
LINGER_SECONDS = 30.0  # in which it may send them
LINGER_QUIET_SECONDS = 2.0  # without a byte, after which the client is assumed to be done
BEYOND, BEYOND_SHARE = 4, 8  # connections accepted above the limit, to answer 503: 4, or one in 8
SPARE = 16  # of these, at most half, whose input is read to its end after the answer

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings that all connections of a process share."""

    service: Pipeline
    seconds: int  # in which a client must send a request, and accept each part of an answer
    most: int  # simultaneous connections

    @property
    def beyond(self) -> int:
        """Connections accepted above the limit, to answer 503."""
        return max(BEYOND, self.most // BEYOND_SHARE)


class Connection(Framing):
    """One client's connection."""

    def __init__(self, rules: Rules, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rules = rules
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # by the loop's clock; None during a request
        self._stuck: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._hurried = False  # whether to close without waiting

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(Joined(transport, self._linger))  # type: ignore[arg-type]  # as above
        self._rules.service.metrics.connections(len(self.connections))
        if (beyond := len(self.connections) - self._rules.most) > 0:
            self._hurried = beyond > min(SPARE, self._rules.beyond // 2)
            self._rules.service.metrics.shed("connections")
            detail = f"{self._rules.most} connections are open already; try again later"
            self._refuse(Problem(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)}))
            return
        # A client that connects and sends nothing times out, too.
        self._deadline = self.loop.call_later(self._rules.seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._stuck, self._lingering, self.timeout_keep_alive_task):
            if timer:
                timer.cancel()
        self._came = b""
        self._hurried = True
        super().connection_lost(exc)
        self._rules.service.metrics.connections(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self._waste(data)
            return
        self._idle_since = None
        if self._came:
            self._looked -= self._at
            data = self._came[self._at :] + data
        self._advance(data, 0)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self._rules.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()
            self._stuck = None

    def shutdown(self) -> None:
        self._hurried = True
        if self._lingering:
            self.transport.finish()
        else:
            super().shutdown()

    # Taking the input apart, as far as it goes

    def _advance(self, data: bytes, at: int) -> None:
        """Parse as much as possible: the current request, and what follows it once it is answered."""
        size = len(data)
        self._came, self._at = data, at
        try:
            while at < size and not self.transport.is_closing():
                if self._receiving:
                    at = self._feed_body(data, at)
                elif self.cycle is not None and not self.cycle.response_complete:
                    self.flow.pause_reading()
                    break
                elif self._known and (after := self._repeat(self._known, data, at)):
                    at = after
                else:
                    after = self._feed_head(data, at)
                    if after == at:
                        break
                    at = after
        except httptools.HttpParserError as error:
            self._refuse(_problem_of(error))
        except Problem as problem:
            self._refuse(problem)
        if self.transport.is_closing():
            self._came, self._held = b"", None
            return
        self._came, self._at = (data, at) if at < size else (b"", 0)
        if self._held:  # not answered at once: its body is still arriving, or it is large or needs ASGI
            (cycle, app), self._held = self._held, None
            super()._start_asgi_task(cycle, app)
        # A request that arrives in one piece, as nearly all do, needs no timer.
        if self._receiving or (self._came and not self._in_hand()):
            if self._deadline is None:
                self._deadline = self.loop.call_later(self._rules.seconds, self._late)
        elif self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _in_hand(self) -> bool:
        """Return whether a request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    # Answers

    def _settle(self) -> None:
        """Continue after a complete request, if it was answered before its body ended."""
        if self.cycle.response_complete and not self.transport.is_closing():
            if self.cycle.keep_alive:
                self._wait_for_another()
            else:
                self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # If the request is rejected, a client that waits for 100 Continue may or may not send its body.
        if cycle.waiting_for_100_continue:
            self._kept, cycle.keep_alive = cycle.keep_alive, False
        answer = self._rules.service.turn_away(cycle.scope)
        if answer is None:
            self._held = cycle, app
        else:
            self._answer(cycle, answer)

    def _at_once(self, body: bytes) -> bool:
        """Answer the current request without the application; return False if that is not possible."""
        if self.flow.write_paused:  # the application waits until the client reads
            return False
        cycle = self.cycle
        if not self._rules.service.at_once(cycle.scope, body, partial(self._answer, cycle)):
            return False
        self._held = None
        return True

    def _answer(self, cycle: RequestResponseCycle, answer: Answer) -> bool:
        """Send a complete answer without the application; return False if the client has left."""
        if cycle.disconnected or self.transport.is_closing():
            return False
        last = not cycle.keep_alive or self._rules.service.draining
        cycle.response_started = cycle.response_complete = True
        self.transport.write(serialize(answer, [*cycle.default_headers, CLOSE] if last else cycle.default_headers))
        if last:
            self.transport.close()
        cycle.on_response()
        return True

    def on_response_complete(self) -> None:
        self.transport.end()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._came:
            self.loop.call_soon(self._go_on)
        elif not self._receiving:
            self._wait_for_another()

    def _go_on(self) -> None:
        """Parse what arrived during the last request."""
        if self._came and not self.transport.is_closing():
            self._advance(self._came, self._at)

    def _wait_for_another(self) -> None:
        """Close the connection if it stays idle.

        uvicorn sets a timer for each request, which costs as much as parsing it. Here a connection has one, which
        checks the clock.
        """
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_later(self.timeout_keep_alive)

    def _look_later(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:  # the answer to the current request restarts the wait
            return
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._look_later(rest)
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    # Errors, and the end

    def leave(self) -> None:
        """Answer the current request with 503: the server stops, and the grace period is over."""
        if not self.transport.is_closing():
            self._refuse(Problem(STOPPING, STOPPING.example, {"Retry-After": str(RETRY_SECONDS)}))

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.cycle and not self._receiving and not self._came[self._at :].strip(b"\r\n"):
            self.transport.close()  # an empty line after a request needs no answer
        else:
            detail = f"the request was not complete after {self._rules.seconds} s; its connection is closed"
            self._refuse(Problem(TOO_SLOW, detail))

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, if the application has not answered, and close the connection."""
        service, cycle, answer = self._rules.service, self.cycle, None
        if not self._receiving:
            path = self.url.decode("latin-1").partition("?")[0] if self.scope else ""
            scope: dict[str, Any] = {
                "client": self.client,
                "method": "-",
                "path": path,
                "http_version": "1.1",
                "headers": [],
            }
            answer = service.refuse(scope, problem)
        elif not cycle.response_complete:
            if not cycle.response_started:
                answer = service.refuse(cycle.scope, problem, count=bool(self._held))
            cycle.scope[REFUSED] = problem.type.status  # type: ignore[literal-required]  # a key of our own
            cycle.disconnected = True  # drop what the application still sends
            cycle.message_event.set()
        if answer:
            self.transport.write(serialize(answer, [*self.server_state.default_headers, CLOSE]))
        self._receiving = True  # ignore what the client still sends
        self.transport.close()

    def _linger(self) -> bool:
        """Return whether to read on: closing a socket with unread input resets it, and the answer is lost."""
        if self._hurried or self._idle_since is not None:
            return False
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError, NotImplementedError):  # the client has left
            return False
        self.flow.resume_reading()
        end = self.loop.time() + LINGER_SECONDS
        self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._look_after, self._wasted, end)
        return True

    def _look_after(self, before: int, end: float) -> None:
        if self._wasted == before or self.loop.time() > end:
            self.transport.finish()
        else:
            self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._look_after, self._wasted, end)

    def _waste(self, data: bytes) -> None:
        """Discard what arrives after the answer, up to a limit."""
        self._wasted += len(data)
        if self._wasted > LINGER_BYTES:
            self.transport.finish()


def _problem_of(error: httptools.HttpParserError) -> Problem:
    """Return the problem of a request that the parser rejected."""
    cause = error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return Problem(NOT_IMPLEMENTED, "the method is not known to this server")
    if not isinstance(error, httptools.HttpParserCallbackError) or cause is None:
        return syntax.not_http(str(error))
    if not isinstance(cause, Problem):
        log.error("a fault while parsing a request", exc_info=cause)
    return problem_of(cause)

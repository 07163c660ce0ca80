"""A connection, with the limits that uvicorn leaves out: how long a request may take to come, and how large its headers
may be.

Clients that send a byte a second, or headers without end, would else hold a connection or memory as long as they like.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inkdigits.server.metrics import route_of
from inkdigits.server.problems import (
    BAD_REQUEST,
    HEADERS_TOO_LARGE,
    OVERLOADED,
    STOPPING,
    TOO_SLOW,
    Answer,
    Kind,
    Problem,
    answer_of,
    wire,
)
from inkdigits.server.service import CLOSE, REFUSED, Service
from inkdigits.server.work import RETRY_SECONDS

__all__ = ["MAX_HEADER", "Connection", "Rules"]

MAX_HEADER = 64 << 10  # bytes of a request that are not its body
_CONTINUE = b"HTTP/1.1 100"


@dataclass(frozen=True, slots=True)
class Rules:
    """What all connections of a process have in common."""

    service: Service
    seconds: int  # in which a request must have come, and each part of an answer must be taken
    most: int  # connections at once


class _Joined:
    """A transport that sends the head of an answer together with the first of its body.

    uvicorn writes them one by one: two system calls, of which each costs as much as parsing a request does, and two
    packets.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._head: bytes | None = b""  # what is held back; None while a body is sent
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            self._write(self._head + data)
            self._head = None
        elif self._head is None or data.startswith(_CONTINUE):
            self._write(data)
        else:
            self._head = data

    def end(self) -> None:
        """Of an answer; one without a body is a head alone."""
        if self._head:
            self._write(self._head)
        self._head = b""

    def close(self) -> None:
        self.end()
        self._transport.close()


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, rules: Rules, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rules = rules
        self._receiving = True  # a client that connects and says nothing is late, too
        self._begun = False  # whether the request in hand has reached the application
        self._parsing = False  # headers
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None  # until what came with it is parsed
        self._unread = 0  # bytes since the parser last came to a body or a request's end
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # by the loop's clock; None while the client has a request in hand
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Joined(transport))  # type: ignore[arg-type]
        self._rules.service.metrics.connections(len(self.connections))
        if len(self.connections) > self._rules.most:
            self._rules.service.metrics.shed("connections")
            self._refuse(OVERLOADED, f"{self._rules.most} connections are open already; ask again later")
            return
        self._deadline = self.loop.call_later(self._rules.seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._stuck, self.timeout_keep_alive_task):
            if timer:
                timer.cancel()
        super().connection_lost(exc)
        self._rules.service.metrics.connections(len(self.connections))

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        self._begin_held()
        if self._unread > MAX_HEADER and not self.transport.is_closing():
            self._refuse(HEADERS_TOO_LARGE, f"the request has more than {MAX_HEADER:,} bytes before its body")
        # A request that came in one piece, as nearly all do, costs no timer.
        elif self._receiving or self._unread:
            if self._deadline is None:
                self._deadline = self.loop.call_later(self._rules.seconds, self._late)
        elif self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def on_message_begin(self) -> None:
        self._receiving, self._begun = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unread, self._begun, self._parsing = 0, True, True
        super().on_headers_complete()
        self._parsing = False

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        self._unread = 0
        super().on_message_complete()
        if self._held and self._held[0] is self.cycle and self._at_once(self.cycle):
            self._held = None
        # It was answered before it was all there, and the rest has ended the wait for another.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait_for_another()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        service = self._rules.service
        # Pipelined requests are answered from within one another, and are not to be so without end.
        answer = None if self.pipeline else service.turn_away(cycle.scope)
        if answer is not None:
            self._answer(cycle, answer)
        elif self._parsing:
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _at_once(self, cycle: RequestResponseCycle) -> bool:
        if self.flow.write_paused:  # the application waits until the client takes what it was told
            return False
        return self._rules.service.at_once(cycle.scope, bytes(cycle.body), partial(self._answer, cycle))

    def _begin_held(self) -> None:
        """Of what is not answered at once, as its body is still to come, or it is large or of another kind."""
        if self._held:
            (cycle, app), self._held = self._held, None
            super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, answer: Answer) -> bool:
        """Send a whole answer, past the application; False where the client has left."""
        if cycle.disconnected or self.transport.is_closing():
            return False
        last = not cycle.keep_alive or self._rules.service.draining
        cycle.response_started = cycle.response_complete = True
        self.transport.write(wire(answer, [*cycle.default_headers, CLOSE] if last else cycle.default_headers))
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
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._wait_for_another()

    def _wait_for_another(self) -> None:
        """Close the connection if it stays idle.

        uvicorn has a timer for each request, which costs as much as parsing it does; here a connection has one, which
        looks at the clock.
        """
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_later(self.timeout_keep_alive)

    def _look_later(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:  # the answer to what is in hand begins the wait anew
            return
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._look_later(rest)
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self._rules.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(BAD_REQUEST, "the request is not valid HTTP/1.1")

    def leave(self) -> None:
        """Answer what is under way with a refusal: the server stops, and the time for requests is over."""
        if not self.transport.is_closing():
            self._refuse(STOPPING, STOPPING.example)

    def _late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(
                TOO_SLOW, f"the request was not complete after {self._rules.seconds} s; its connection is closed"
            )

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Answer here, where the application has not, and close the connection."""
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        answerable = under_way and not cycle.response_started if self._begun else not under_way
        if answerable and not self.pipeline:
            path = self.scope.get("path", "") if self.scope else ""
            if under_way:
                cycle.scope[REFUSED] = kind.status
            else:
                self._rules.service.metrics.request(route_of(path), kind.status, 0.0)
            retry = {"Retry-After": str(RETRY_SECONDS)} if kind.status == OVERLOADED.status else None
            headers = [*self.server_state.default_headers, CLOSE]
            self.transport.write(wire(answer_of(path, Problem(kind, detail, retry)), headers))
        if under_way:  # what the application still says is not to follow
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

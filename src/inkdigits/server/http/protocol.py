"""A connection: HTTP/1.1 as RFC 9112 has it, with the limits and the strictness that uvicorn leaves out.

httptools parses, and is given one head or one body at a time: a request is read once the one before it has its answer,
and what a client sends meanwhile waits as bytes. So no answer depends on how the network cuts a request, requests that
come together are answered in order, and none costs memory before its turn. Clients that keep a connection send the same
head again and again; one that differs from the last in its Content-Length alone is not parsed again.

Clients that send a byte a second, or headers without end, would else hold a connection or memory as long as they like.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inkdigits.server.http import syntax
from inkdigits.server.http.known_head import KnownHead
from inkdigits.server.http.problems import (
    NOT_IMPLEMENTED,
    OVERLOADED,
    STOPPING,
    TOO_SLOW,
    Problem,
    problem_of,
    shown,
)
from inkdigits.server.http.responses import Answer, serialize
from inkdigits.server.http.syntax import END, MAX_HEADER
from inkdigits.server.http.transport import Joined
from inkdigits.server.inference import RETRY_SECONDS
from inkdigits.server.pipeline import CLOSE, REFUSED, Pipeline

__all__ = ["BEYOND_SHARE", "MAX_HEADER", "Connection", "Rules"]

MAX_BLANK_LINES = 1000  # of a chunked body that are looked at, as each may be its end; see Connection._feed_body
CHUNKED_PIECE = 16 << 10  # bytes of a chunked body that are parsed at once
LINGER_BYTES = 64 << 20  # that a client may send after its answer, and which are thrown away
LINGER_SECONDS = 30.0  # in which it may send them
LINGER_QUIET_SECONDS = 2.0  # without a byte, after which it is taken to send no more
BEYOND, BEYOND_SHARE = 4, 8  # connections above the most that are taken to be told so: 4, or one for so many
SPARE = 16  # of these, at most half, which are heard out after that
MAX_PARSED = 8  # heads of a connection of which none was like the one before it; no further one is remembered
_SLASH, _CR = b"/\r"

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class Rules:
    """What all connections of a process have in common."""

    service: Pipeline
    seconds: int  # in which a request must have come, and each part of an answer must be taken
    most: int  # connections at once

    @property
    def beyond(self) -> int:
        """Connections above the most that are taken, to be told so."""
        return max(BEYOND, self.most // BEYOND_SHARE)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    transport: Joined  # type: ignore[assignment]  # it has all that uvicorn asks of one

    def __init__(self, rules: Rules, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rules = rules
        self._came = b""  # of which some is not yet parsed: part of a head, or what follows the request in hand
        self._at = 0  # where that begins
        self._looked = 0  # up to where there is no end of a head
        self._host: bytes | None = None  # of the last request, which was found right
        self._known: KnownHead | None = None  # the last head, where one like it needs no parsing
        self._parsed = 0  # heads that were unlike the last one, since one was like it
        self._receiving = False  # whether the body of the request in hand is still to come
        self._left = 0  # bytes of it; -1 while it is chunked
        self._unread = 0  # bytes of a chunked body since its last data
        self._blank_lines = 0  # in a chunked body
        self._tail = b""  # the last bytes of it that were parsed
        self._trailers = 0  # bytes
        self._kept = False  # whether the connection is to be kept once the body comes that 100 Continue asks for
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None  # until what came with it is parsed
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # by the loop's clock; None while the client has a request in hand
        self._stuck: asyncio.TimerHandle | None = None
        self._wasted = 0  # bytes that came after the answer
        self._lingering: asyncio.TimerHandle | None = None
        self._hurried = False  # whether nothing is to be waited for when it closes

    # What the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(Joined(transport, self._linger))  # type: ignore[arg-type]  # as above
        self._rules.service.metrics.connections(len(self.connections))
        if (beyond := len(self.connections) - self._rules.most) > 0:
            self._hurried = beyond > min(SPARE, self._rules.beyond // 2)
            self._rules.service.metrics.shed("connections")
            detail = f"{self._rules.most} connections are open already; ask again later"
            self._refuse(Problem(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)}))
            return
        # A client that connects and says nothing is late, too.
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

    # Cutting what came into heads and bodies

    def _advance(self, data: bytes, at: int) -> None:
        """Parse what can be from there on: the request in hand, and what follows it once that is answered."""
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
        if self._held:  # not answered at once: its body is still to come, or it is large or of another kind
            (cycle, app), self._held = self._held, None
            super()._start_asgi_task(cycle, app)
        # A request that came in one piece, as nearly all do, costs no timer.
        if self._receiving or (self._came and not self._in_hand()):
            if self._deadline is None:
                self._deadline = self.loop.call_later(self._rules.seconds, self._late)
        elif self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _in_hand(self) -> bool:
        """Whether a request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def _feed_head(self, data: bytes, at: int) -> int:
        """Parse the head of a request, and return where it ends; the same place where it is not all there."""
        self.url = b""
        start = syntax.begin(data, at) if data[at] == _CR else at
        end = data.find(END, max(start, self._looked - len(END)))
        after = len(data) if end < 0 else end + len(END)
        if after - at > MAX_HEADER:
            syntax.too_long("before its body")
        if end < 0:
            syntax.check_begun(data, start, self._looked)
            self._looked = after
            return at
        self._looked = 0
        syntax.check_line(data, start)
        head = data[start:after]
        self._known = None
        try:
            self.parser.feed_data(head)
            if self._left > 0 and self._parsed < MAX_PARSED and not self.expect_100_continue:
                self._parsed += 1
                self._known = KnownHead(head, dict(self.scope), self.cycle.keep_alive)
            return after
        except httptools.HttpParserUpgrade:
            # It is ignored (RFC 9110, section 7.8), and the body that the parser would leave out is read.
            plain = self._without_upgrade()
        except httptools.HttpParserError:
            syntax.check_lines(head)
            raise
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(plain)
        return after

    def _repeat(self, known: KnownHead, data: bytes, at: int) -> int:
        """Take a whole request whose head is known, and return where it ends; 0 where it is not known, or not whole."""
        found = known.body_of(data, at)
        if found is None:
            return 0
        begin, end = found
        self.scope = known.scope(end - begin)  # type: ignore[assignment]  # as uvicorn made it
        self._wasted = self._parsed = 0
        cycle = self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,  # type: ignore[arg-type]  # as above
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=known.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        self._start_asgi_task(cycle, self.app)
        if self._held and not self._at_once(body := data[begin:end]):
            cycle.body += body
            cycle.message_event.set()
        self._settle()
        return end

    def _without_upgrade(self) -> bytes:
        """The head in hand, which is parsed, without what asks for another protocol."""
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return line + b"".join([b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]) + b"\r\n"

    def _feed_body(self, data: bytes, at: int) -> int:
        """Parse a body as far as it is there, and return where that ends."""
        if self.cycle.response_complete:
            self._waste(data)
        if self._left < 0:
            return self._feed_chunks(data, at)
        after = min(at + self._left, len(data))
        self._left -= after - at
        self.parser.feed_data(data[at:after])
        return after

    def _feed_chunks(self, data: bytes, at: int) -> int:
        """The same of a chunked body.

        Only the parser knows where that ends, and it does not say; but the end is an empty line. So that nobody makes
        this dear with empty lines, there is a most of them, after which nothing can follow on the connection.
        """
        while at < len(data) and self._receiving:
            after = min(at + CHUNKED_PIECE, len(data))
            if self._blank_lines < MAX_BLANK_LINES:
                end = (self._tail + data[at:after]).find(END)
                if end >= 0:
                    after = at + end + len(END) - len(self._tail)
                    self._blank_lines += 1
            else:
                self.cycle.keep_alive = self._kept = False
            piece = data[at:after]
            self._unread += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserError:
                if self._receiving:
                    raise
                self.cycle.keep_alive, after = False, len(data)  # what follows it in the piece
            self._tail = (self._tail + piece)[1 - len(END) :]
            if self._receiving and self._unread > MAX_HEADER:
                syntax.too_long("of trailers or of one chunk's extensions")
            at = after
        if not self._receiving:
            self._left = 0
        return at

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._left < 0:  # in one piece with the chunks of the request before it: see _feed_chunks
            syntax.invalid("it follows a request whose connection is not kept")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._receiving:
            self.headers.append((name.lower(), value.strip(b" \t")))
            return
        # A trailer is no header (RFC 9110, section 6.5.1), and nobody here wants one.
        self._trailers += len(name) + len(value) + 4
        if self._trailers > MAX_HEADER:
            syntax.too_long("of trailers or of one chunk's extensions")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Problem(NOT_IMPLEMENTED, f"CONNECT {shown(self.url.decode('latin-1'))}: this server is no proxy")
            return
        fields = dict(self.headers)
        host = fields.get(b"host")
        if host is None or host != self._host or len(fields) < len(self.headers):
            syntax.check_host(self._values(b"host"), self.parser.get_http_version())
            self._host = host
        chunked = b"transfer-encoding" in fields
        if chunked:
            syntax.check_coding(self._values(b"transfer-encoding"), self.parser.get_http_version())
        if b"expect" in fields and self.parser.get_http_version() != "1.0":
            self.expect_100_continue = fields[b"expect"].lower() == b"100-continue"
        if self.url[0] != _SLASH:
            self.url = syntax.target_of(self.url, self.parser.get_method())
        self._left = -1 if chunked else int(fields.get(b"content-length", 0))
        self._unread = self._trailers = self._blank_lines = self._wasted = 0
        self._tail = b""
        self._receiving = True
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            self._receiving = False
            syntax.invalid(f"the target {shown(self.url.decode('latin-1'))!r} cannot be parsed")

    def _values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self.expect_100_continue:
            self._keep()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._receiving = False
        if self.expect_100_continue:
            self._keep()
        super().on_message_complete()
        if self._held:
            self._at_once(bytes(self.cycle.body))
        self._settle()

    def _settle(self) -> None:
        """Turn to what follows a request that is all there, where it was answered before that."""
        if self.cycle.response_complete and not self.transport.is_closing():
            if self.cycle.keep_alive:
                self._wait_for_another()
            else:
                self.transport.close()

    def _keep(self) -> None:
        """The body comes, so nobody waits for 100 Continue any more."""
        self.cycle.waiting_for_100_continue = False
        if self._kept:
            self.cycle.keep_alive, self._kept = True, False

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # A client that waits for 100 Continue and is refused sends its body or does not: nobody knows what follows.
        if cycle.waiting_for_100_continue:
            self._kept, cycle.keep_alive = cycle.keep_alive, False
        answer = self._rules.service.turn_away(cycle.scope)
        if answer is None:
            self._held = cycle, app
        else:
            self._answer(cycle, answer)

    def _at_once(self, body: bytes) -> bool:
        """Have the request in hand read past the application; False where that is not possible."""
        if self.flow.write_paused:  # the application waits until the client takes what it was told
            return False
        cycle = self.cycle
        if not self._rules.service.at_once(cycle.scope, body, partial(self._answer, cycle)):
            return False
        self._held = None
        return True

    def _answer(self, cycle: RequestResponseCycle, answer: Answer) -> bool:
        """Send a whole answer, past the application; False where the client has left."""
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
        """Turn to what came while a request was in hand."""
        if self._came and not self.transport.is_closing():
            self._advance(self._came, self._at)

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

    # Refusals, and the end

    def leave(self) -> None:
        """Answer what is under way with a refusal: the server stops, and the time for requests is over."""
        if not self.transport.is_closing():
            self._refuse(Problem(STOPPING, STOPPING.example, {"Retry-After": str(RETRY_SECONDS)}))

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.cycle and not self._receiving and not self._came[self._at :].strip(b"\r\n"):
            self.transport.close()  # an empty line after a request is nothing that wants an answer
        else:
            detail = f"the request was not complete after {self._rules.seconds} s; its connection is closed"
            self._refuse(Problem(TOO_SLOW, detail))

    def _refuse(self, problem: Problem) -> None:
        """Answer here, where the application has not, and close the connection."""
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
            cycle.scope[REFUSED] = problem.kind.status  # type: ignore[literal-required]  # a key of our own
            cycle.disconnected = True  # what the application still says is not to follow
            cycle.message_event.set()
        if answer:
            self.transport.write(serialize(answer, [*self.server_state.default_headers, CLOSE]))
        self._receiving = True  # whatever it is that the client still sends
        self.transport.close()

    def _linger(self) -> bool:
        """Whether to hear a client out: a socket that is closed on unread input is reset, and the answer is lost."""
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
        """Throw away what comes after the answer, up to a bound."""
        self._wasted += len(data)
        if self._wasted > LINGER_BYTES:
            self.transport.finish()


def _problem_of(error: httptools.HttpParserError) -> Problem:
    """What a client is told whose request the parser gave up on."""
    cause = error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return Problem(NOT_IMPLEMENTED, "the method is not known to this server")
    if not isinstance(error, httptools.HttpParserCallbackError) or cause is None:
        return syntax.not_http(str(error))
    if not isinstance(cause, Problem):
        log.error("a fault while parsing a request", exc_info=cause)
    return problem_of(cause)

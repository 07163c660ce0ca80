"""A connection: HTTP/1.1 by RFC 9112, with limits and strict checks that uvicorn lacks.

httptools parses one head or one body at a time: a request is read after the one before it was answered, and what a
client sends meanwhile waits as bytes. So answers do not depend on how the network splits a request, pipelined requests
are answered in order, and none costs memory before its turn. Clients that keep a connection send the same head again
and again; a head that differs from the last only in its Content-Length is not parsed again.

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
    shorten,
)
from inkdigits.server.http.responses import Answer, serialize
from inkdigits.server.http.syntax import END, MAX_HEADER
from inkdigits.server.http.transport import Joined
from inkdigits.server.inference import RETRY_SECONDS
from inkdigits.server.pipeline import CLOSE, REFUSED, Pipeline

__all__ = ["BEYOND_SHARE", "MAX_HEADER", "Connection", "Rules"]

MAX_BLANK_LINES = 1000  # of a chunked body that are examined, as each may be its end; see Connection._feed_chunks
CHUNKED_PIECE = 16 << 10  # bytes of a chunked body that are parsed at once
LINGER_BYTES = 64 << 20  # that a client may send after its answer; they are discarded
LINGER_SECONDS = 30.0  # in which it may send them
LINGER_QUIET_SECONDS = 2.0  # without a byte, after which the client is assumed to be done
BEYOND, BEYOND_SHARE = 4, 8  # connections accepted above the limit, to answer 503: 4, or one in 8
SPARE = 16  # of these, at most half, whose input is read to its end after the answer
MAX_PARSED = 8  # heads in a row that differ from the one before; after these no head is remembered
_SLASH, _CR = b"/\r"

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


class Connection(HttpToolsProtocol):
    """One client's connection."""

    transport: Joined  # type: ignore[assignment]  # it has all methods that uvicorn uses

    def __init__(self, rules: Rules, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rules = rules
        self._came = b""  # received, and not all parsed: part of a head, or what follows the current request
        self._at = 0  # where the unparsed part begins
        self._looked = 0  # end of the part that was searched for the end of a head
        self._host: bytes | None = None  # of the last request, checked
        self._known: KnownHead | None = None  # the last head, if one like it needs no parsing
        self._parsed = 0  # heads in a row that differed from the one before
        self._receiving = False  # whether the body of the current request is still arriving
        self._left = 0  # bytes of it; -1 if it is chunked
        self._unread = 0  # bytes of a chunked body since its last data
        self._blank_lines = 0  # in a chunked body
        self._tail = b""  # the last bytes of it that were parsed
        self._trailers = 0  # bytes
        self._kept = False  # whether to keep the connection once the body comes that waits for 100 Continue
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None  # until what arrived with it is parsed
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # by the loop's clock; None during a request
        self._stuck: asyncio.TimerHandle | None = None
        self._wasted = 0  # bytes received after the answer
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

    # Splitting the input into heads and bodies

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

    def _feed_head(self, data: bytes, at: int) -> int:
        """Parse the head of a request, and return where it ends; ``at`` if it is incomplete."""
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
            # Upgrade is ignored (RFC 9110, section 7.8); the parser must not skip the body.
            plain = self._without_upgrade()
        except httptools.HttpParserError:
            syntax.check_lines(head)
            raise
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(plain)
        return after

    def _repeat(self, known: KnownHead, data: bytes, at: int) -> int:
        """Take a complete request with a known head, and return where it ends; 0 if there is none."""
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
        """Return the head just parsed, without its Upgrade header."""
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return line + b"".join([b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]) + b"\r\n"

    def _feed_body(self, data: bytes, at: int) -> int:
        """Parse the part of a body that has arrived, and return where it ends."""
        if self.cycle.response_complete:
            self._waste(data)
        if self._left < 0:
            return self._feed_chunks(data, at)
        after = min(at + self._left, len(data))
        self._left -= after - at
        self.parser.feed_data(data[at:after])
        return after

    def _feed_chunks(self, data: bytes, at: int) -> int:
        """Do the same for a chunked body.

        Only the parser knows where it ends, and does not report it; but the end is an empty line. The number of empty
        lines that are tried is limited, so that they cannot make this expensive; after these the connection closes.
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
                self.cycle.keep_alive, after = False, len(data)  # what follows in the same piece
            self._tail = (self._tail + piece)[1 - len(END) :]
            if self._receiving and self._unread > MAX_HEADER:
                syntax.too_long("of trailers or of one chunk's extensions")
            at = after
        if not self._receiving:
            self._left = 0
        return at

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._left < 0:  # in one piece with the chunks before it: see _feed_chunks
            syntax.invalid("it follows a request whose connection is not kept")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._receiving:
            self.headers.append((name.lower(), value.strip(b" \t")))
            return
        # Trailers must not be merged into headers (RFC 9110, section 6.5.1), and nothing here uses them.
        self._trailers += len(name) + len(value) + 4
        if self._trailers > MAX_HEADER:
            syntax.too_long("of trailers or of one chunk's extensions")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Problem(
                    NOT_IMPLEMENTED, f"CONNECT {shorten(self.url.decode('latin-1'))}: this server is no proxy"
                )
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
            syntax.invalid(f"the target {shorten(self.url.decode('latin-1'))!r} cannot be parsed")

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
        """Continue after a complete request, if it was answered before its body ended."""
        if self.cycle.response_complete and not self.transport.is_closing():
            if self.cycle.keep_alive:
                self._wait_for_another()
            else:
                self.transport.close()

    def _keep(self) -> None:
        """Keep the connection, as the body comes and the client no longer waits for 100 Continue."""
        self.cycle.waiting_for_100_continue = False
        if self._kept:
            self.cycle.keep_alive, self._kept = True, False

    # Answers

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

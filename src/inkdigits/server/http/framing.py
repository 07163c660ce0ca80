"""HTTP/1.1 message framing by RFC 9112: what a client sends, split into heads and bodies.

httptools parses one head or one body at a time: a request is read after the one before it was answered, and what a
client sends meanwhile waits as bytes. So answers do not depend on how the network splits a request, pipelined requests
are answered in order, and none costs memory before its turn. Clients that keep a connection send the same head again
and again; a head that differs from the last only in its Content-Length is not parsed again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inkdigits.server.http import syntax
from inkdigits.server.http.known_head import KnownHead
from inkdigits.server.http.problems import NOT_IMPLEMENTED, Problem, shorten
from inkdigits.server.http.syntax import END, MAX_HEADER
from inkdigits.server.http.transport import Joined

__all__ = ["Framing"]

MAX_BLANK_LINES = 1000  # of a chunked body that are examined, as each may be its end; see Framing._feed_chunks
CHUNKED_PIECE = 16 << 10  # bytes of a chunked body that are parsed at once
MAX_PARSED = 8  # heads in a row that differ from the one before; after these no head is remembered
_SLASH, _CR = b"/\r"


class Framing(HttpToolsProtocol):
    """The input of a connection, and the requests in it. How they are answered is up to the connection."""

    transport: Joined  # type: ignore[assignment]  # it has all methods that uvicorn uses

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
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
        self._wasted = 0  # bytes received after the answer
        self._kept = False  # whether to keep the connection once the body comes that waits for 100 Continue
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None  # until what arrived with it is parsed

    # What the connection adds

    def _at_once(self, body: bytes) -> bool:
        """Answer the current request without the application; return False if that is not possible."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Continue after a complete request, if it was answered before its body ended."""
        raise NotImplementedError

    def _waste(self, data: bytes) -> None:
        """Discard what arrives after the answer, up to a limit."""
        raise NotImplementedError

    # Splitting the input into heads and bodies

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
                self._known = KnownHead.of(head, dict(self.scope), self.cycle.keep_alive)
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

    def _keep(self) -> None:
        """Keep the connection, as the body comes and the client no longer waits for 100 Continue."""
        self.cycle.waiting_for_100_continue = False
        if self._kept:
            self.cycle.keep_alive, self._kept = True, False

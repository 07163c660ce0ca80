"""Raw requests, and the statuses that RFC 9110 and RFC 9112 ask for, or allow.

What a request smuggles, if it does, is a request for :data:`HIDDEN`, which has an answer of its own. ``open`` says
whether the connection is good for another request afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\nX-Request-ID: smuggled\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
LIMIT = 64 << 10  # bytes of a head


@dataclass(frozen=True)
class Case:
    """One client's bytes.

    Attributes:
        statuses: of the answers, in order.
        open: whether what follows on the connection is answered, too.
    """

    name: str
    data: bytes
    statuses: tuple[int, ...]
    open: bool


def good(name: str, data: bytes, *statuses: int) -> Case:
    return Case(name, data, statuses or (200,), True)


def bad(name: str, data: bytes, *statuses: int) -> Case:
    return Case(name, data, statuses or (400,), False)


def head(*lines: bytes, host: bytes = b"Host: a") -> bytes:
    first, *rest = lines
    return b"\r\n".join([first, *([host] if host else []), *rest, b"", b""])


def get(*lines: bytes) -> bytes:
    return head(b"GET /health HTTP/1.1", *lines)


def post(*lines: bytes, body: bytes = b"", path: bytes = b"/predict") -> bytes:
    return head(b"POST %b HTTP/1.1" % path, *lines) + body


def sized(body: bytes, *lines: bytes) -> bytes:
    return post(*lines, b"Content-Length: %d" % len(body), body=body)


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(*lines, b"Transfer-Encoding: chunked", body=body)


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
NOT_AN_IMAGE = 415  # what "hello" is told, where it was read as the body it is


def request_lines() -> list[Case]:
    line = b" HTTP/1.1\r\nHost: a\r\n\r\n"
    return [
        good("GET", GET),
        good("HEAD", head(b"HEAD /health HTTP/1.1")),
        good("empty lines before", b"\r\n\r\n" + GET),
        good("an empty line between", GET + b"\r\n" + GET, 200, 200),
        *(good(f"method {m}", m.encode() + b" /health" + line, 405) for m in ("PUT", "DELETE", "PATCH", "OPTIONS")),
        *(good(f"method {m}", m.encode() + b" /health" + line, 405) for m in ("TRACE", "PURGE", "M-SEARCH")),
        good("TRACE with a key is not echoed", head(b"TRACE / HTTP/1.1", b"X-API-Key: secret"), 405),
        bad("an unknown method", b"FOO /health" + line, 501),
        bad("a method in small letters", b"get /health" + line, 501),
        bad("a long method", b"G" * 200 + b" /health" + line),
        bad("a method with a blank before it", b" GET /health" + line),
        bad("a method with a comma", b"GE,T /health" + line),
        bad("a method with NUL", b"GE\0T /health" + line),
        bad("two blanks before the target", b"GET  /health" + line),
        bad("two blanks after the target", b"GET /health  HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("a tab before the target", b"GET\t/health" + line),
        bad("a blank after the version", b"GET /health HTTP/1.1 \r\nHost: a\r\n\r\n"),
        bad("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("HTTP/0.9", b"GET /health\r\n\r\n"),
        bad("HTTP/0.9 by name", b"GET /health HTTP/0.9\r\nHost: a\r\n\r\n"),
        bad("HTTP/2.0", b"GET /health HTTP/2.0\r\nHost: a\r\n\r\n"),
        bad("HTTP/1.2", b"GET /health HTTP/1.2\r\nHost: a\r\n\r\n"),
        bad("HTTP/1", b"GET /health HTTP/1\r\nHost: a\r\n\r\n"),
        bad("HTTP/11.1", b"GET /health HTTP/11.1\r\nHost: a\r\n\r\n"),
        bad("http/1.1", b"GET /health http/1.1\r\nHost: a\r\n\r\n"),
        bad("another protocol's version", b"GET /health ICE/1.0\r\nHost: a\r\n\r\n"),
        bad("a bare LF after the request line", b"GET /health HTTP/1.1\nHost: a\r\n\r\n"),
        bad("a bare CR after the request line", b"GET /health HTTP/1.1\rHost: a\r\n\r\n"),
        bad("bare LFs", b"GET /health HTTP/1.1\nHost: a\n\n"),
        bad("LF before the request line", b"\n" + GET),
    ]


def targets() -> list[Case]:
    def of(target: bytes) -> bytes:
        return head(b"GET %b HTTP/1.1" % target)

    return [
        good("a query", of(b"/health?a=b&c")),
        good("a percent sign", of(b"/%68ealth")),
        good("a URL", of(b"http://a/health")),
        good("a URL of another host", of(b"http://other:80/health")),
        good("a URL without a path", of(b"http://a")),
        good("a URL without a path, with a query", of(b"http://a?b")),
        good("an unknown path", of(b"/nothing"), 404),
        good("dots", of(b"/../../etc/passwd"), 404),
        good("escaped dots", of(b"/%2e%2e/%2e%2e/etc/passwd"), 404),
        good("an escaped NUL", of(b"/%00"), 404),
        good("an escaped line break", of(b"/a%0d%0aX-Injected:%20b"), 404),
        good("a broken escape", of(b"/%zz"), 404),
        good("a slash too many", of(b"//health"), 404),
        good("OPTIONS *", head(b"OPTIONS * HTTP/1.1"), 405),
        bad("GET *", of(b"*")),
        bad("a URL without a host", of(b"http:///health")),
        bad("a URL with a broken port", of(b"http://a:b/health")),
        bad("neither path nor URL", of(b"health")),
        bad("no path but a query", of(b"?a")),
        bad("a scheme alone", of(b"http:")),
        bad("nonsense", of(b"s://]ufd/:")),
        bad("a fragment", of(b"/health#a")),
        bad("a letter beyond ASCII", of("/hé".encode())),
        bad("a DEL", of(b"/a\x7f")),
        bad("a control character", of(b"/a\x01")),
        bad("a NUL", of(b"/a\0b")),
        bad("a line break", of(b"/a\r\nX: b")),
        bad("CONNECT", head(b"CONNECT a:80 HTTP/1.1") + HIDDEN, 501),
        bad("CONNECT of a path", head(b"CONNECT /health HTTP/1.1") + HIDDEN, 501),
        bad("CONNECT with a body", head(b"CONNECT a:80 HTTP/1.1", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 501),
    ]


def hosts() -> list[Case]:
    def of(*values: bytes) -> bytes:
        return head(b"GET /health HTTP/1.1", *(b"Host:" + value for value in values), host=b"")

    return [
        *(
            good(f"Host {v!r}", of(v))
            for v in (b" a", b"a", b"\ta\t", b" a:8080", b" a:", b" [::1]", b" [::1]:80", b" ")
        ),
        good("Host of an underscore", of(b" my_service.local")),
        bad("no Host", of()),
        bad("two Hosts", of(b" a", b" b")),
        bad("twice the same Host", of(b" a", b" a")),
        *(bad(f"Host {v!r}", of(v)) for v in (b" a b", b" a,b c", b" a/b", b" a@b:80@", b" a:b", b" [::1", b" \xe4")),
        bad("a blank before the colon of Host", head(b"GET /health HTTP/1.1", b"Host : a", host=b"")),
        bad("two Hosts, one with a trick of case", head(b"GET /health HTTP/1.1", b"HOST: b")),
    ]


def versions() -> list[Case]:
    old = b"GET /health HTTP/1.0\r\n"
    return [
        Case("HTTP/1.0", old + b"\r\n", (200,), False),
        Case("HTTP/1.0 with Host", old + b"Host: a\r\n\r\n", (200,), False),
        Case("HTTP/1.0 that wants to be kept", old + b"Connection: keep-alive\r\n\r\n", (200,), False),
        Case("HTTP/1.0 with a body", b"POST /predict HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", (415,), False),
        Case(
            "HTTP/1.0 does not wait",
            b"POST /predict HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            (415,),
            False,
        ),
        bad("HTTP/1.0 with two Hosts", old + b"Host: a\r\nHost: a\r\n\r\n"),
        bad("HTTP/1.0 with chunks", b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO),
        Case("close", get(b"Connection: close"), (200,), False),
        Case("Close among others", get(b"Connection: foo, Close"), (200,), False),
        Case("close, and a request behind it", get(b"Connection: close") + HIDDEN, (200,), False),
        good("keep-alive", get(b"Connection: keep-alive")),
        good("an unknown connection option", get(b"Connection: foo", b"Foo: bar")),
    ]


def lengths() -> list[Case]:
    def of(value: bytes, body: bytes = b"hello") -> bytes:
        return post(b"Content-Length:" + value, body=body)

    wrong = (
        b" +5",
        b" -5",
        b" 5,5",
        b" 0x5",
        b" 5 5",
        b" 5.0",
        b" five",
        b" 99999999999999999999999",
        b"5\0",
        b" \xb2",
    )
    return [
        good("a body", of(b" 5"), NOT_AN_IMAGE),
        good("a length without a blank", of(b"5"), NOT_AN_IMAGE),
        good("a length with blanks around it", of(b" \t 5 \t "), NOT_AN_IMAGE),
        good("leading zeros", of(b" 005"), NOT_AN_IMAGE),
        good("no body", post(), 400),
        good("a length of 0", of(b" 0", b""), 400),
        good("a body of a GET", get(b"Content-Length: 5") + b"hello"),
        good("a body of a GET that looks like a request", get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN),
        good("a body that looks like a request", sized(HIDDEN), NOT_AN_IMAGE),
        good("a body of a HEAD", head(b"HEAD /health HTTP/1.1", b"Content-Length: 5") + b"hello"),
        good("a body of a page that is none", post(b"Content-Length: 5", path=b"/nothing", body=b"hello"), 405),
        good("a body behind a wrong option", post(b"Content-Length: 5", path=b"/predict?top=x", body=b"hello"), 400),
        *(bad(f"Content-Length {value!r}", of(value)) for value in wrong),
        bad("an empty length", of(b"", b"")),
        bad("two lengths", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello" + HIDDEN)),
        bad("twice the same length", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
        bad("a length with a blank before its colon", post(b"Content-Length : 5", body=b"hello" + HIDDEN)),
        bad("a length and chunks", chunked(HELLO + HIDDEN, b"Content-Length: 5")),
        bad("chunks and a length", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=HELLO + HIDDEN)),
        bad("a length that folds", post(b"Content-Length:\r\n 5", body=b"hello" + HIDDEN)),
    ]


def codings() -> list[Case]:
    def of(*values: bytes) -> bytes:
        return post(*(b"Transfer-Encoding:" + value for value in values), body=HELLO + HIDDEN)

    wrong = (
        b" identity",
        b" chunked, identity",
        b" xchunked",
        b" chunke",
        b' "chunked"',
        b" chunked;q=1",
        b" chunked chunked",
    )
    return [
        good("chunks", chunked(HELLO), NOT_AN_IMAGE),
        good("Chunked", post(b"Transfer-Encoding: Chunked", body=HELLO), NOT_AN_IMAGE),
        good("chunked with blanks around it", post(b"Transfer-Encoding: \t chunked  ", body=HELLO), NOT_AN_IMAGE),
        good("chunks of a GET", get(b"Transfer-Encoding: chunked") + HELLO),
        bad("gzip, chunked", of(b" gzip, chunked"), 501),
        bad("gzip and chunked in two lines", of(b" gzip", b" chunked"), 501),
        bad("chunked twice", of(b" chunked, chunked")),
        bad("chunked in two lines", of(b" chunked", b" chunked")),
        bad("chunked and identity in two lines", of(b" chunked", b" identity")),
        bad("gzip", of(b" gzip")),
        bad("an empty coding", of(b"")),
        *(bad(f"Transfer-Encoding{value.decode()}", of(value)) for value in wrong),
        bad("a tab behind chunked, which the parser does not know", of(b" chunked\t")),
        bad("a vertical tab before chunked", of(b"\x0bchunked")),
        bad("a blank before the colon", post(b"Transfer-Encoding : chunked", body=HELLO + HIDDEN)),
        bad("chunked that folds", post(b"Transfer-Encoding:\r\n chunked", body=HELLO + HIDDEN)),
    ]


def chunks() -> list[Case]:
    wrong = {
        "no size": b"\r\nhello\r\n0\r\n\r\n",
        "a size that is no number": b"g\r\nhello\r\n0\r\n\r\n",
        "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
        "a plus": b"+5\r\nhello\r\n0\r\n\r\n",
        "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
        "a blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
        "a blank after the size": b"5 \r\nhello\r\n0\r\n\r\n",
        "a size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        "too long a chunk": b"5\r\nhellohello\r\n0\r\n\r\n",
        "no CRLF behind the data": b"5\r\nhello0\r\n\r\n",
        "LF behind the size": b"5\nhello\r\n0\r\n\r\n",
        "LF behind the data": b"5\r\nhello\n0\r\n\r\n",
        "CR behind the size": b"5\rhello\r\n0\r\n\r\n",
        "LF at the end": b"5\r\nhello\r\n0\n\n",
        "NUL in the size": b"5\0\r\nhello\r\n0\r\n\r\n",
        "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        "the data of two more": b"3\r\nhello\r\n0\r\n\r\n",
    }
    good_ones = {
        "one letter a chunk": b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n",
        "a size in capitals": b"A\r\n0123456789\r\n0\r\n\r\n",
        "a size in small letters": b"a\r\n0123456789\r\n0\r\n\r\n",
        "zeros before the size": b"00005\r\nhello\r\n000\r\n\r\n",
        "an extension": b"5;name=value\r\nhello\r\n0\r\n\r\n",
        "an extension without a value": b"5;name\r\nhello\r\n0;last\r\n\r\n",
        "an extension in quotes": b'5;name="va;lue"\r\nhello\r\n0\r\n\r\n',
        "chunks in chunks": b"f\r\n5\r\nhello\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "empty lines in a chunk": b"c\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
        "a request in a chunk": b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    }
    return [
        *(good(f"chunks: {name}", chunked(body), NOT_AN_IMAGE) for name, body in good_ones.items()),
        good("chunks: none", chunked(b"0\r\n\r\n"), 400),
        good("chunks: two requests", chunked(HELLO) + chunked(HELLO), NOT_AN_IMAGE, NOT_AN_IMAGE),
        good("chunks: then a GET", chunked(HELLO) + GET, NOT_AN_IMAGE, 200),
        good("chunks: where nobody reads them", post(b"Transfer-Encoding: chunked", path=b"/nothing", body=HELLO), 405),
        *(bad(f"chunks: {name}", chunked(body + HIDDEN)) for name, body in wrong.items()),
        bad("chunks: a wrong line behind a good request", GET + chunked(b"g\r\n"), 200, 400),
    ]


def trailers() -> list[Case]:
    def of(*lines: bytes) -> bytes:
        return chunked(b"\r\n".join([b"5", b"hello", b"0", *lines, b"", b""]))

    large = b"X: " + b"x" * LIMIT
    return [
        good("a trailer", of(b"X-Checksum: 1"), NOT_AN_IMAGE),
        good("a trailer is no id", of(b"X-Request-ID: smuggled"), NOT_AN_IMAGE),
        good("a trailer is no id of the next", of(b"X-Request-ID: smuggled") + GET, NOT_AN_IMAGE, 200),
        good("a trailer is no type", of(b"Content-Type: text/html"), NOT_AN_IMAGE),
        good("a trailer is no coding", of(b"Content-Encoding: gzip"), NOT_AN_IMAGE),
        good("a trailer is no Host", of(b"Host: b"), NOT_AN_IMAGE),
        bad("a trailer that is a length", of(b"Content-Length: 1") + HIDDEN),
        good("a trailer is no upgrade", of(b"Connection: upgrade", b"Upgrade: h2c") + GET, NOT_AN_IMAGE, 200),
        bad("a trailer that folds", of(b"X: a\r\n b") + HIDDEN),
        bad("a trailer without a colon", of(b"nonsense") + HIDDEN),
        bad("a trailer of a bare LF", of(b"X: a\nY: b") + HIDDEN),
        bad("trailers beyond the limit", of(large) + HIDDEN, 431),
        bad("many trailers", of(*[b"X: y"] * (LIMIT // len(b"X: y\r\n") + 1)) + HIDDEN, 431),
    ]


def fields() -> list[Case]:
    wrong = {
        "no colon": b"nonsense",
        "no name": b": a",
        "a blank before the colon": b"X : a",
        "a tab before the colon": b"X\t: a",
        "a blank in the name": b"X Y: a",
        "a NUL in the name": b"X\0: a",
        "a NUL in the value": b"X: a\0b",
        "a control character in the value": b"X: a\x01b",
        "a DEL in the value": b"X: a\x7fb",
        "a bare CR in the value": b"X: a\rb",
        "a bare LF": b"X: a\nY: b",
        "a fold": b"X: a\r\n b",
        "a fold of a tab": b"X: a\r\n\tb",
        "a letter beyond ASCII in the name": b"X\xe4: a",
        "brackets in the name": b"X(y): a",
        "a quote in the name": b'"X": a',
    }
    return [
        good("an empty value", get(b"X:")),
        good("blanks around a value", get(b"X: \t a \t ")),
        good("a value beyond ASCII", get(b"X: \xe4")),
        good("a colon in a value", get(b"X: a:b: c")),
        good("a hundred fields", get(*[b"X-%d: y" % i for i in range(100)])),
        good("a head as large as it may be", get(b"X: " + b"x" * (LIMIT - len(get(b"X: "))))),
        *(bad(f"a field: {name}", get(line) + HIDDEN) for name, line in wrong.items()),
        bad("a first field that begins with a blank", head(b"GET /health HTTP/1.1", b" X: a") + HIDDEN),
        bad("a blank line before the first field", b"GET /health HTTP/1.1\r\n Host: a\r\n\r\n" + HIDDEN),
        bad("a byte too many", get(b"X: " + b"x" * (LIMIT + 1 - len(get(b"X: ")))), 431),
        bad("70 KB of headers", get(b"X: " + b"x" * 70_000) + HIDDEN, 431),
        bad("70 KB of many headers", get(*[b"X: y"] * 12_000) + HIDDEN, 431),
        bad("70 KB of blanks", get(b"X:" + b" " * 70_000 + b"y") + HIDDEN, 431),
        bad("70 KB of a target", head(b"GET /%b HTTP/1.1" % (b"x" * 70_000)) + HIDDEN, 431),
        bad("70 KB of headers, behind a request", GET + get(b"X: " + b"x" * 70_000), 200, 431),
        bad("70 KB of headers, behind chunks", chunked(HELLO) + get(b"X: " + b"x" * 70_000), NOT_AN_IMAGE, 431),
    ]


def upgrades() -> list[Case]:
    h2c = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    other = (b"Connection: upgrade", b"Upgrade: foo/2, bar")
    socket = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA")
    return [
        good("h2c", get(*h2c)),
        good("h2c with a body", sized(b"hello", *h2c), NOT_AN_IMAGE),
        good("h2c with a body that looks like a request", sized(HIDDEN, *h2c), NOT_AN_IMAGE),
        good("h2c with chunks", chunked(HELLO, *h2c), NOT_AN_IMAGE),
        good(
            "h2c with chunks that look like a request",
            chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN), *h2c),
            NOT_AN_IMAGE,
        ),
        good("h2c with a body, three times", sized(b"hello", *h2c) * 3, *[NOT_AN_IMAGE] * 3),
        good(
            "h2c in a pipeline", GET + get(*h2c) + GET + sized(b"hello", *h2c) + GET, 200, 200, 200, NOT_AN_IMAGE, 200
        ),
        good("another protocol with a body", sized(b"hello", *other), NOT_AN_IMAGE),
        good("an upgrade that nobody asks for", sized(b"hello", b"Upgrade: h2c"), NOT_AN_IMAGE),
        good("an upgrade in small letters", sized(b"hello", b"connection: upgrade", b"upgrade: h2c"), NOT_AN_IMAGE),
        good("two upgrades", sized(b"hello", *h2c, b"Upgrade: foo"), NOT_AN_IMAGE),
        good("a WebSocket", get(*socket)),
        good("a WebSocket where there is no GET", head(b"GET /predict HTTP/1.1", *socket), 405),
        good("an upgrade of a HEAD", head(b"HEAD /health HTTP/1.1", *h2c)),
        Case(
            "an upgrade, and close",
            sized(b"hello", b"Connection: upgrade, close", b"Upgrade: h2c"),
            (NOT_AN_IMAGE,),
            False,
        ),
        bad("an upgrade with a length and chunks", chunked(HELLO + HIDDEN, *h2c, b"Content-Length: 5")),
        bad("an upgrade with gzip, chunked", post(*h2c, b"Transfer-Encoding: gzip, chunked", body=HELLO + HIDDEN), 501),
        bad("an upgrade with two Hosts", get(*h2c, b"Host: b") + HIDDEN),
        bad("an upgrade with a wrong field", get(*h2c, b"X : y") + HIDDEN),
    ]


def expectations() -> list[Case]:
    wait = b"Expect: 100-continue"
    return [
        good("100-continue of who does not wait", sized(b"hello", wait), NOT_AN_IMAGE),
        good("100-Continue", sized(b"hello", b"Expect: 100-Continue"), NOT_AN_IMAGE),
        good("100-continue with chunks", chunked(HELLO, wait), NOT_AN_IMAGE),
        good("100-continue without a body", get(wait)),
        good("another expectation", sized(b"hello", b"Expect: foo"), NOT_AN_IMAGE),
    ]


def pipelines() -> list[Case]:
    hello = sized(b"hello")
    return [
        good("two GETs", GET * 2, 200, 200),
        good("ten GETs", GET * 10, *[200] * 10),
        good(
            "a mixture",
            GET + hello + get() + chunked(HELLO) + hello,
            200,
            NOT_AN_IMAGE,
            200,
            NOT_AN_IMAGE,
            NOT_AN_IMAGE,
        ),
        good("five POSTs", hello * 5, *[NOT_AN_IMAGE] * 5),
        good("a HEAD between", GET + head(b"HEAD /health HTTP/1.1") + GET, 200, 200, 200),
        good("nothing there between", GET + head(b"GET /nothing HTTP/1.1") + hello, 200, 404, NOT_AN_IMAGE),
        Case("close in the midst", GET + get(b"Connection: close") + HIDDEN, (200, 200), False),
        bad("nonsense behind a request", GET + b"nonsense\r\n\r\n" + HIDDEN, 200, 400),
        bad("nonsense behind a prediction", hello + b"nonsense\r\n\r\n" + HIDDEN, NOT_AN_IMAGE, 400),
        bad("no Host behind requests", GET + hello + b"GET / HTTP/1.1\r\n\r\n" + HIDDEN, 200, NOT_AN_IMAGE, 400),
        bad("more than the length says", sized(b"hello") + b"more\r\n\r\n" + HIDDEN, NOT_AN_IMAGE, 400),
    ]


def others() -> list[Case]:
    return [
        bad("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        bad("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
        bad("PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET),
        bad("PROXY, version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + GET),
        bad("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        bad("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("zeros", bytes(20)),
        bad("JSON", b'{"pixels": []}\r\n\r\n'),
    ]


CASES = [
    *request_lines(),
    *targets(),
    *hosts(),
    *versions(),
    *lengths(),
    *codings(),
    *chunks(),
    *trailers(),
    *fields(),
    *upgrades(),
    *expectations(),
    *pipelines(),
    *others(),
]

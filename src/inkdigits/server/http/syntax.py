"""Checks of a request's head that RFC 9112 requires and httptools omits; each raises a Problem."""

from __future__ import annotations

import re
from typing import NoReturn

from inkdigits.server.http.problems import BAD_REQUEST, HEADERS_TOO_LARGE, NOT_IMPLEMENTED, Problem, shorten

__all__ = [
    "END",
    "MAX_HEADER",
    "begin",
    "check_begun",
    "check_coding",
    "check_host",
    "check_line",
    "check_lines",
    "invalid",
    "not_http",
    "target_of",
    "too_long",
]

MAX_HEADER = 64 << 10  # bytes of a request's head; of its trailers; of a chunk's extensions
END = b"\r\n\r\n"  # of a head, and of a chunked body, whose last line is empty

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
# A target is visible ASCII without a fragment; httptools splits it and checks the rest.
_LINE = re.compile(_TOKEN + rb"{1,32} [!\"$-~]+ HTTP/1\.[01]\r\n")
_LINE_SO_FAR = re.compile(_TOKEN + rb"{1,32}(?: |\Z)|\Z")
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%-]+\])(?::[0-9]*)?", re.ASCII)


def not_http(reason: str) -> Problem:
    """Return the problem of a request that is not valid HTTP."""
    return Problem(BAD_REQUEST, f"the request is not valid HTTP/1.1: {reason}")


def invalid(reason: str) -> NoReturn:
    """Reject a request that is not valid HTTP.

    Raises:
        Problem: always.
    """
    raise not_http(reason)


def too_long(what: str) -> NoReturn:
    """Reject more bytes than :data:`MAX_HEADER`.

    Raises:
        Problem: always.
    """
    raise Problem(HEADERS_TOO_LARGE, f"the request has more than {MAX_HEADER:,} bytes {what}")


def begin(data: bytes, at: int) -> int:
    """Return where a head begins, after any empty lines before it (section 2.2)."""
    return _EMPTY_LINES.match(data, at).end()  # type: ignore[union-attr]  # always one


def check_begun(data: bytes, start: int, looked: int) -> None:
    """Reject an incomplete head that cannot become valid, rather than wait for the rest.

    Args:
        start: where the head begins.
        looked: end of the part that was checked before.
    """
    if data.startswith(b"\r", start) and len(data) == start + 1:  # half of an empty line
        return
    fresh = max(start, looked - 1)
    check_line(data, start, _LINE if data.find(b"\n", start) >= 0 else _LINE_SO_FAR)
    check_lines(data, fresh)


def check_lines(data: bytes, start: int = 0) -> None:
    """Check the ends of lines (section 2.2)."""
    if _BARE_LF.search(data, start):
        invalid("a line ends in LF without CR")


def check_line(data: bytes, start: int, line: re.Pattern[bytes] = _LINE) -> None:
    """Check the request line (section 3)."""
    if not line.match(data, start):
        invalid("it does not begin with a method, a target and HTTP/1.1, with one blank between them")


def check_host(hosts: list[bytes], version: str) -> None:
    """Check the Host headers (section 3.2)."""
    if len(hosts) != 1:
        if hosts or version != "1.0":
            invalid(f"it has {len(hosts) or 'no'} Host headers; expected one")
    elif not _HOST.fullmatch(hosts[0]):
        invalid(f"its Host is {shorten(hosts[0].decode('latin-1'))!r}; expected a host, or a host and a port")


def check_coding(values: list[bytes], version: str) -> None:
    """Check the Transfer-Encoding (section 6.1)."""
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    seen = shorten(b", ".join(codings).decode("latin-1"))
    if version == "1.0":
        invalid(f"it is HTTP/1.0 and has a Transfer-Encoding, {seen!r}")
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        invalid(f"its Transfer-Encoding is {seen!r}; expected chunked")
    if len(codings) > 1:
        raise Problem(NOT_IMPLEMENTED, f"the Transfer-Encoding is {seen!r}; this server reads chunked alone")


def target_of(target: bytes, method: bytes) -> bytes:
    """Return a target that is not a path (section 3.2) as httptools expects it: a URL always has a path."""
    scheme, mark, rest = target.partition(b"://")
    if mark and scheme.isalpha():
        authority, slash, _ = rest.partition(b"/")
        if slash:
            return target
        authority, question, query = authority.partition(b"?")
        return scheme + mark + authority + b"/" + question + query
    if target == b"*" and method == b"OPTIONS":
        return target
    invalid(f"the target {shorten(target.decode('latin-1'))!r} is neither a path nor a URL")

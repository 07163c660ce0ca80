"""HTTP/1.1 on the wire: raw requests, sent whole and cut at each byte, on both ways to an answer."""

import asyncio
import random
import re
from functools import partial
from itertools import pairwise

import pytest

from support.http_corpus import CASES, NOT_AN_IMAGE, Case, sized
from support.requests import THREE

SENTINEL = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-ID: sentinel\r\nConnection: close\r\n\r\n"
EACH_BYTE = 400  # bytes of a case that is cut at each
CUTS = 16  # of a longer one
GAP = 0.002  # seconds between two pieces, so that they come as two
TOGETHER = 64  # connections at once
SECONDS = 30  # in which all answers have come and the connection is closed

STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) ")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
APART = re.compile(rb"(?m)^(date|x-request-id|vary): (?!sentinel|smuggled).*\r\n")


class Client(asyncio.Protocol):
    """Sends pieces one after another, and keeps what comes until the server closes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = iter(pieces)
        self.came = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        piece = next(self.pieces, None)
        if piece is not None and not self.transport.is_closing():
            self.transport.write(piece)
            asyncio.get_running_loop().call_later(GAP, self.send)

    def data_received(self, data: bytes) -> None:
        self.came += data

    def eof_received(self) -> bool:
        self.end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.end(error)

    def end(self, error: Exception | None = None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


async def told(url: str, pieces: list[bytes], room: asyncio.Semaphore) -> bytes:
    """What the server says until it closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    async with room:
        transport, client = await asyncio.get_running_loop().create_connection(lambda: Client(pieces), host, int(port))
        try:
            error = await asyncio.wait_for(client.ended, SECONDS)
        except TimeoutError:
            pytest.fail(f"no end after {SECONDS} s of {pieces!r:.300}: {bytes(client.came)!r}")
        finally:
            transport.close()
    assert error is None, f"{error!r} after {bytes(client.came)!r}"
    return APART.sub(b"", bytes(client.came).replace(INTERIM, b""))


def cuts_of(case: Case) -> list[list[bytes]]:
    """The case and the sentinel in one piece; in two, in each way; and in many."""
    data, size = case.data + SENTINEL, len(case.data)
    if size <= EACH_BYTE:
        places = list(range(1, size + 1))
    else:
        places = [*random.Random(case.name).sample(range(1, size), CUTS), size - 1, size]
    many = [0, *sorted({*random.Random(case.name).sample(range(1, len(data)), 12), size}), len(data)]
    return [[data], *([data[:place], data[place:]] for place in places), [data[a:b] for a, b in pairwise(many)]]


@pytest.fixture(scope="module")
def long_way():
    """A server that answers nothing past ASGI: it has to look after origins."""
    from conftest import Server

    server = Server("--cors-origins", "https://draw.example")
    yield server.url
    printed = server.stop()
    server.close()
    assert printed == ""  # no client's nonsense is worth a line


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_do_not_depend_on_how_a_request_is_cut(live_server, long_way, case):
    async def ask():
        room = asyncio.Semaphore(TOGETHER)
        ways = [partial(told, live_server), partial(told, long_way)]
        return await asyncio.gather(*(way(cut, room) for way in ways for cut in cuts_of(case)))

    whole, *others = asyncio.run(ask())
    statuses = [int(status) for status in STATUS.findall(whole)]
    assert statuses == [*case.statuses, *([200] if case.open else [])], whole
    assert (b"x-request-id: sentinel" in whole) == case.open
    assert b"smuggled" not in whole
    assert b"/hidden" not in whole
    assert set(others) == {whole}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_read_as_it_stands_whatever_the_one_before_it_was_like(live_server, case):
    like = sized(b"hello")

    async def ask(*pieces):
        return await told(live_server, [*pieces], asyncio.Semaphore())

    alone, behind = asyncio.run(ask(case.data, SENTINEL)), asyncio.run(ask(like, SENTINEL))
    first = behind.removesuffix(asyncio.run(ask(SENTINEL)))
    assert [int(status) for status in STATUS.findall(first)] == [NOT_AN_IMAGE]
    rest = case.data + SENTINEL
    for before, pieces in ((1, [like, rest]), (1, [like + rest]), (3, [like + like, like + rest])):
        assert asyncio.run(ask(*pieces)) == first * before + alone


@pytest.mark.slow
def test_requests_that_differ_in_their_length_alone_get_their_own_answers(live_server):
    bodies = [THREE, b"hello", THREE + bytes(3000), THREE[:200], bytes([9]) * 784, THREE]

    async def ask(*pieces):
        return await told(live_server, [*pieces], asyncio.Semaphore())

    end = asyncio.run(ask(SENTINEL))
    alone = [asyncio.run(ask(sized(body), SENTINEL)).removesuffix(end) for body in bodies]
    assert len(set(alone)) >= 4
    for pieces in (map(sized, bodies), [b"".join(map(sized, bodies))]):
        assert asyncio.run(ask(*pieces, SENTINEL)) == b"".join(alone) + end
    headed = [sized(body, b"X-Request-ID: sentinel-%d" % i) for i, body in enumerate(bodies)]
    ids = re.findall(rb"x-request-id: (sentinel-\d)", asyncio.run(ask(*headed, SENTINEL)))
    assert ids == [b"sentinel-%d" % i for i in range(len(bodies))]

"""What the scripts that put load on a server share: a server of their own, clients, and mixed inputs."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

from inkdigits.preprocess import preprocess

from _common import ROOT, encoded, proc_number

sys.path.append(str(ROOT / "tests"))
from support.drawings import picture

TIMEOUT_SECONDS = 30
TICK_SECONDS = 0.001  # between two looks at what is to be asked
BAD_SHARE = 0.02
LARGE_SHARE = 0.03  # of the good: pictures of 280×280
FAILED = 0  # counted as the status of a request whose connection failed
_LENGTH = re.compile(rb"content-length: (\d+)")


@dataclass(frozen=True)
class Question:
    """A request, as bytes, and what is to come of it: a digit, or a status that is an error's."""

    request: bytes
    digit: int | None
    status: int = 200


def question(body: bytes, kind: str, digit: int | None, status: int = 200) -> Question:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Question(head.encode() + body, digit, status)


def questions() -> tuple[list[Question], list[Question], list[Question]]:
    """Good ones of every kind: small files, JSON and bytes; large files; and bad ones."""
    good, great = [], []
    for digit in range(10):
        large = Image.fromarray(picture(digit))
        pixels = np.rint(preprocess(large).image * 255).astype(np.uint8)
        small = Image.fromarray(pixels)
        for image, form in ((small, "PNG"), (small, "GIF"), (large, "PNG"), (large, "JPEG"), (large, "WEBP")):
            (great if image is large else good).append(question(encoded(image, form), "image/x", digit))
        good.append(question(pixels.tobytes(), "application/octet-stream", digit))
        good.append(question(json.dumps({"pixels": pixels.tolist()}).encode(), "application/json", digit))
    bad = [
        question(b"hello", "image/png", None, 415),
        question(b"\x89PNG\r\n\x1a\n", "image/png", None, 400),
        question(b'{"pixels": [NaN]}', "application/json", None, 422),
        question(b"{", "application/json", None, 400),
        question(b"<html>", "text/html", None, 415),
    ]
    return good, great, bad


def mixed() -> Callable[[], Question]:
    """Gives a question after another: every kind, 2% of them bad."""
    good, great, bad = questions()
    chance = random.Random(0)

    def one() -> Question:
        kind = chance.random()
        return chance.choice(bad if kind < BAD_SHARE else great if kind < BAD_SHARE + LARGE_SHARE else good)

    return one


@contextmanager
def server(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A server on a free port: its process, host and port. Its log goes to this script's standard error.

    It has one worker, unless the options say more.
    """
    options = ("--host", "127.0.0.1", "--port", "0", "--workers", "1", *options)
    command = [sys.executable, "-m", "inkdigits", "serve", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"http://[\d.]+:(\d+)", process.stdout.readline())[1])
        yield process, "127.0.0.1", port
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def children(pid: int) -> list[int]:
    """The worker processes of a server."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def resident(pid: int) -> int:
    """Bytes in memory of a server and its workers."""
    return sum(proc_number(process, "status", r"^VmRSS:\s+(\d+)") << 10 for process in (pid, *children(pid)))


@dataclass
class Tally:
    """What came of requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, asked: Question, status: int, body: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)
        if status == 200 and orjson.loads(body).get("digit") != asked.digit:
            self.wrong += 1
        if status not in (200, 429, 503, FAILED) and status != asked.status:
            self.wrong += 1

    def quantile(self, status: int, share: float) -> float:
        """Milliseconds; NaN where there was none."""
        times = self.seconds.get(status)
        return round(float(np.quantile(times, share)) * 1000, 2) if times else float("nan")


class Client:
    """One kept connection, opened anew after a failure."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, asked: Question, tally: Tally) -> int:
        """The status; :data:`FAILED` when the connection did."""
        start = time.perf_counter()
        status, body = FAILED, b""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(*self._address)
                reader, writer = self._streams
                writer.write(asked.request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            status = int(head[9:12])
            if b"connection: close" in head:
                self.close()
        except (OSError, EOFError, TimeoutError):
            self.close()
        tally.add(asked, status, body, time.perf_counter() - start)
        return status

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


class Line(asyncio.Protocol):
    """One kept connection of a :class:`Crowd`, as cheap as can be: the load must not be what is measured."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._asked: Question | None = None
        self._came = b""
        self._start = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._crowd.free(self)

    def ask(self, asked: Question) -> None:
        self._asked, self._start = asked, time.perf_counter()
        self._transport.write(asked.request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        head = head.lower()  # nginx writes names of headers otherwise than the server does
        if not found or len(body) < int(_LENGTH.search(head)[1]):
            return
        self._came = b""
        if self._asked:  # who has not asked for a while is told so, with 408
            self._answered(int(head[9:12]), body)
        if b"connection: close" in head:
            self._transport.close()
        else:
            self._crowd.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asked:
            self._answered(FAILED, b"")
        self._crowd.lost()

    def _answered(self, status: int, body: bytes) -> None:
        self._crowd.tally.add(self._asked, status, body, time.perf_counter() - self._start)
        self._asked = None

    def close(self) -> None:
        self._transport.close()


class Crowd:
    """Clients that ask at a rate whether or not those before have their answer, or each as soon as it has its own.

    Args:
        size: connections, all of them open from the start.
        next: gives the questions.
        in_turn: use each connection as often as the others, so that none is idle until what is in front closes it.
    """

    def __init__(self, host: str, port: int, size: int, next: Callable[[], Question], *, in_turn: bool = False) -> None:
        self._from = 0 if in_turn else -1
        self.tally = Tally()
        self.sent = 0
        self._address = host, port
        self._size = size
        self._next = next
        self._lines: list[Line] = []
        self._idle: list[Line] = []
        self._eager = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Crowd:
        await asyncio.gather(*(self._open() for _ in range(self._size)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._eager = False
        end = time.perf_counter() + TIMEOUT_SECONDS
        while len(self._idle) < self._size and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        self._size = 0
        for line in self._lines:
            line.close()

    async def _open(self) -> None:
        _, line = await asyncio.get_running_loop().create_connection(lambda: Line(self), *self._address)
        self._lines.append(line)

    def free(self, line: Line) -> None:
        """A line has its answer."""
        if self._eager:
            self.sent += 1
            line.ask(self._next())
        else:
            self._idle.append(line)

    def lost(self) -> None:
        """A line was closed: another takes its place."""
        self._idle = [line for line in self._idle if not line._transport.is_closing()]
        if self._size:
            task = asyncio.get_running_loop().create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def at(
        self,
        rate: float,
        requests: int,
        each: Callable[[int], None] = lambda number: None,
        seconds: float = float("inf"),
    ) -> None:
        """Send so many requests at a rate a second, for so long at most; ``each`` is told how many were sent."""
        start, first = time.perf_counter(), self.sent
        while (done := self.sent - first) < requests and time.perf_counter() - start < seconds:
            due = min(int((time.perf_counter() - start) * rate), requests) - done
            for line in [self._idle.pop(self._from) for _ in range(min(due, len(self._idle)))]:
                self.sent += 1
                line.ask(self._next())
                each(self.sent - first)
            await asyncio.sleep(TICK_SECONDS)

    async def eager(self, seconds: float) -> list[float]:
        """Each asks again at once for so long: the answers a second, in each tenth of the time."""
        self._eager = True
        rates, idle, self._idle = [], self._idle, []
        for line in idle:
            self.free(line)
        for _ in range(10):
            before, start = self.tally.statuses[200], time.perf_counter()
            await asyncio.sleep(seconds / 10)
            rates.append((self.tally.statuses[200] - before) / (time.perf_counter() - start))
        self._eager = False
        return rates

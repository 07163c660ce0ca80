"""What the scripts that put load on a server share: a server of their own, a client on sockets, and mixed inputs."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.image import normalise

from _common import ROOT

sys.path.append(str(ROOT / "tests"))
from drawings import picture

TIMEOUT_SECONDS = 30
FAILED = 0  # counted as the status of a request whose connection failed


@dataclass(frozen=True)
class Question:
    """A request, as bytes, and what is to come of it: a digit, or a status that is an error's."""

    request: bytes
    digit: int | None
    status: int = 200


def question(body: bytes, kind: str, digit: int | None, status: int = 200) -> Question:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Question(head.encode() + body, digit, status)


def questions() -> tuple[list[Question], list[Question]]:
    """Good ones of every kind: small and large files, JSON, bytes; and bad ones."""
    good = []
    for digit in range(10):
        large = Image.fromarray(picture(digit))
        pixels = np.rint(normalise(large).image * 255).astype(np.uint8)
        small = Image.fromarray(pixels)
        for image, form in ((small, "PNG"), (small, "GIF"), (large, "PNG"), (large, "JPEG"), (large, "WEBP")):
            file = io.BytesIO()
            image.save(file, form)
            good.append(question(file.getvalue(), "image/x", digit))
        good.append(question(pixels.tobytes(), "application/octet-stream", digit))
        good.append(question(json.dumps({"pixels": pixels.tolist()}).encode(), "application/json", digit))
    bad = [
        question(b"hello", "image/png", None, 415),
        question(b"\x89PNG\r\n\x1a\n", "image/png", None, 400),
        question(b'{"pixels": [NaN]}', "application/json", None, 422),
        question(b"{", "application/json", None, 400),
        question(b"<html>", "text/html", None, 415),
    ]
    return good, bad


@contextmanager
def server(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A server on a free port: its process, host and port. Its log goes to this script's standard error."""
    command = [sys.executable, "-m", "inkdigits", "serve", "--host", "127.0.0.1", "--port", "0", *options]
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
    total = 0
    for process in (pid, *children(pid)):
        status = Path(f"/proc/{process}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) << 10
    return total


@dataclass
class Tally:
    """What came of requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, asked: Question, status: int, body: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)
        if status == 200 and json.loads(body).get("digit") != asked.digit:
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

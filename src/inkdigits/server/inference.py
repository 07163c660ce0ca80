"""Where requests wait and are worked on: small ones together in the event loop, others in threads; all bounded.

Small requests that arrive in the same turn of the event loop share one normalisation and one network run, with a few of
the drawings that wait: these have a queue of their own, as one may be made to take as long as fifty digits. There is no
timer: nobody waits for a batch to fill, so a lone request takes as long as it would by itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from functools import partial
from itertools import accumulate
from time import perf_counter, thread_time
from typing import Any, TypeGuard

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import SIDE, Limits, Preprocessed, Spent, preprocess_batch
from inkdigits.preprocess.apart import preprocess_apart
from inkdigits.preprocess.files import pixels_of
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.problems import OVERLOADED, Problem
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.threads import Threads

__all__ = ["Batcher", "Deliver", "Heavy", "overloaded", "read"]

BATCH = 64  # most images of a network run; more leave the cache, and gain nothing
SMALL_PIXELS = 8192  # of a request's images; a turn of the event loop reads as many such requests as it has time for
DRAWING_PIXELS = 320 * 320  # of a request's images that are read in the event loop, a few such requests a turn
DRAWINGS = 4  # most of these; each takes half a millisecond, or ten where it was made to
THREAD_PIXELS = 2 * 280 * 280  # from which on what waits for the thread is not read with what came before
LOCKED_PIXELS = 1 << 20  # of a WebP that is decoded in this process: 20 ms, in which nothing else goes on
SLOW_SECONDS = 1.0  # in which drawings are read in the thread, after one that took longer than a turn
TURN_SECONDS = 0.01  # after which other work of the loop is to get its turn, such as turning away what is too much
SWITCH_SECONDS = 0.001  # that a thread keeps Python's lock when another waits for it
RETRY_SECONDS = 1  # after which to ask again a server that sheds load

Source = bytes | np.ndarray
Result = Prediction | ImageError
Deliver = Callable[[list[Result] | Exception], None]  # is given the results in order, or what went wrong


def overloaded(metrics: Metrics, reason: str, detail: str) -> Problem:
    """The problem of a request that is turned away; it is counted."""
    metrics.shed(reason)
    return Problem(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)})


class Batcher:
    """Reads images of requests that are not heavy: small ones and drawings in the event loop, larger ones in a thread.

    Args:
        most: requests that may wait.
        thread: for the larger ones, and for drawings after one that took long.
    """

    def __init__(
        self, recognizer: Recognizer, limits: Limits, metrics: Metrics, most: int, thread: Executor | None = None
    ) -> None:
        self._recognizer = recognizer
        self._limits = limits
        self._metrics = metrics
        self._most = most
        self._thread = thread
        self._small: deque[tuple[Sequence[Source], Deliver, int]] = deque()
        self._drawings: deque[tuple[Sequence[Source], Deliver]] = deque()
        self._larger: deque[tuple[Sequence[Source], Deliver, int]] = deque()  # for the thread
        self._busy = False  # the thread
        # Images, and drawings, of a run that takes a turn of the event loop at most, as the last ones went.
        self._size, self._few = BATCH, DRAWINGS
        self._slow_until = 0.0  # by perf_counter; until then drawings go to the thread
        self._begun = 0  # requests let in during this turn of the event loop, which do not wait yet

    def let_in(self) -> Problem | None:
        """What a request that comes now is to be told where too many wait already; None where it may begin."""
        if self._length() + self._begun >= self._most:
            return self._full()
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        self._begun += 1
        return None

    def _turn(self) -> None:
        self._begun = 0

    def check(self) -> None:
        """Turn a request away when too many wait.

        Raises:
            Problem: too many wait.
        """
        if self._length() >= self._most:
            raise self._full()

    def _length(self) -> int:
        return len(self._small) + len(self._drawings) + len(self._larger)

    def _full(self) -> Problem:
        detail = f"{self._most} requests or more wait already; ask again later"
        return overloaded(self._metrics, "queue", detail)

    async def read(self, sources: Sequence[Source], load: int = 0) -> list[Result]:
        """A Prediction or an ImageError for each image, in order.

        Raises:
            Problem: too many wait.
        """
        self.check()
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.put(sources, partial(_settle, future), load)
        return await future

    def put(self, sources: Sequence[Source], deliver: Deliver, load: int = 0) -> None:
        """Have images read; ``deliver`` is called in a turn of the event loop to come, and is not to raise.

        Args:
            load: their pixels.
        """
        if load > DRAWING_PIXELS or (load > SMALL_PIXELS and perf_counter() < self._slow_until):
            self._larger.append((sources, deliver, load))
            if not self._busy:
                self._next()
            return
        if not self._small and not self._drawings:
            asyncio.get_running_loop().call_soon(self._run)
        if load > SMALL_PIXELS:
            self._drawings.append((sources, deliver))
        else:
            self._small.append((sources, deliver, load))

    def _run(self) -> None:
        """Read what waits, or as much of it as a turn of the loop has time for."""
        self._metrics.queue("small", self._length())
        start, cpu = perf_counter(), thread_time() if self._drawings else 0.0
        batch: list[tuple[Sequence[Source], Deliver]] = []
        count = pixels = drawn = 0
        while self._small and count < self._size and pixels < self._size * SIDE * SIDE:
            sources, deliver, load = self._small.popleft()
            batch.append((sources, deliver))
            count += len(sources)
            pixels += load
        while self._drawings and drawn < self._few:
            batch.append(self._drawings.popleft())
            drawn += 1
        self._read(batch)
        if perf_counter() - start > TURN_SECONDS:
            if drawn:
                self._few = max(1, drawn // 2)
                if drawn == 1 and thread_time() - cpu > TURN_SECONDS:  # one that was made to take long; more follow
                    self._slow_until = perf_counter() + SLOW_SECONDS
                    self._larger.extend((*drawing, DRAWING_PIXELS) for drawing in self._drawings)
                    self._drawings.clear()
                    if not self._busy:
                        self._next()
            else:
                self._size = max(1, count // 2)
        else:
            if count >= self._size or self._small:
                self._size = min(BATCH, 2 * self._size)
            if drawn == self._few:
                self._few = min(DRAWINGS, self._few + 1)
        if self._small or self._drawings:
            asyncio.get_running_loop().call_soon(self._run)
        self._metrics.queue("small", self._length())

    def _next(self) -> None:
        """Have the thread read what waits for it longest."""
        self._metrics.queue("small", self._length())
        batch: list[tuple[Sequence[Source], Deliver]] = []
        pixels = 0
        while self._larger and pixels < THREAD_PIXELS:
            sources, deliver, load = self._larger.popleft()
            batch.append((sources, deliver))
            pixels += load
        self._busy = bool(batch)
        if batch:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._answers, batch)
            work.add_done_callback(partial(self._done, batch))

    def _done(
        self, batch: list[tuple[Sequence[Source], Deliver]], work: asyncio.Future[list[list[Result] | Exception]]
    ) -> None:
        self._next()
        if not work.cancelled():
            for (_, deliver), found in zip(batch, work.result(), strict=True):
                deliver(found)

    def _read(self, batch: list[tuple[Sequence[Source], Deliver]]) -> None:
        """Read these requests' images together."""
        for (_, deliver), found in zip(batch, self._answers(batch), strict=True):
            deliver(found)

    def _answers(self, batch: list[tuple[Sequence[Source], Deliver]]) -> list[list[Result] | Exception]:
        """The results of each request, or what went wrong with it."""
        try:
            results = read(
                self._recognizer, [s for sources, _ in batch for s in sources], self._limits, self._metrics, len(batch)
            )
        except Exception as error:
            if len(batch) == 1:
                return [error]
            # One of them is at fault; the others are not to share its fate.
            return [found for request in batch for found in self._answers([request])]
        ends = list(accumulate(len(sources) for sources, _ in batch))
        return [results[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _settle(future: asyncio.Future[list[Result]], result: list[Result] | Exception) -> None:
    if future.done():  # cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def read(
    recognizer: Recognizer,
    sources: Sequence[Source],
    limits: Limits,
    metrics: Metrics,
    requests: int = 1,
    *,
    explain: bool = False,
) -> list[Result]:
    """A Prediction or an ImageError for each image, as ``Recognizer.predict_batch`` has them, its stages timed.

    Args:
        requests: how many requests share these images, for the metrics.
    """
    spent = Spent()
    start = perf_counter()
    if len(sources) == 1 and keeps_the_lock(sources[0]):
        seen = [preprocess_apart(sources[0], limits)]
        spent.decode = perf_counter() - start
    else:
        seen = preprocess_batch(sources, limits, spent)
    start = perf_counter()
    answers = iter(recognizer.predict_preprocessed([s for s in seen if isinstance(s, Preprocessed)], explain=explain))
    results = [next(answers) if isinstance(s, Preprocessed) else s for s in seen]
    metrics.stage("decode", spent.decode, requests)
    metrics.stage("normalise", spent.normalize, requests)
    metrics.stage("network", perf_counter() - start, requests)
    metrics.predictions(results)
    return results


def keeps_the_lock(source: Source) -> TypeGuard[bytes]:
    """Whether decoding this keeps Python's lock for long: see :mod:`inkdigits.preprocess.apart`."""
    is_webp = isinstance(source, bytes) and source[:4] == b"RIFF" and source[8:12] == b"WEBP"
    return is_webp and pixels_of(source) > LOCKED_PIXELS


class Heavy:
    """Threads for what would hold up the event loop.

    Args:
        most: calls that may be under way or wait.
    """

    def __init__(self, metrics: Metrics, most: int) -> None:
        # Two at a time: a 16-megapixel photo takes some 100 MB while it is read.
        self._threads = Threads(min(2, os.cpu_count() or 1))
        # A thread that works in Python lets the event loop have its turn after this, not after five times as long.
        sys.setswitchinterval(SWITCH_SECONDS)
        self._metrics = metrics
        self._most = most
        self._length = 0

    def check(self) -> None:
        """Turn a request away when too many are under way.

        Raises:
            Problem: too many are.
        """
        if self._length >= self._most:
            detail = f"{self._length} requests with large images are under way already; ask again later"
            raise overloaded(self._metrics, "heavy", detail)

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function in a thread.

        Raises:
            Problem: too many are under way.
        """
        self.check()
        self._count(1)
        # It is under way until the thread is done with it, even if nobody waits for it any more.
        future = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, function, *args)
        future.add_done_callback(lambda _: self._count(-1))
        return await future

    def _count(self, step: int) -> None:
        self._length += step
        self._metrics.queue("heavy", self._length)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self._threads.busy

    def close(self) -> None:
        """Forget what waits for a thread, and wait for none: nobody knows how long one takes."""
        self._threads.shutdown(wait=False, cancel_futures=True)

"""Where the work of requests is done: in the event loop, in a thread, or nowhere, with 503; all of it bounded.

A small image or a drawing takes a fraction of a millisecond and is read in the event loop, which is the fastest for
all. A larger picture may be made to take twenty, and a photo takes tens of milliseconds: both would hold up every other
request there, and are read in threads.

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
from contextvars import copy_context
from functools import partial
from time import perf_counter, thread_time
from typing import Any, NamedTuple, TypeGuard, TypeVar

from inkdigits.errors import ImageError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import SIDE, Limits, Preprocessed, Spent, preprocess_batch
from inkdigits.preprocess.apart import preprocess_apart
from inkdigits.preprocess.files import pixels_of
from inkdigits.recognizer import Recognizer
from inkdigits.server.cost import BATCH, Source, check_pixels, is_heavy, load_of, parts_of
from inkdigits.server.http.problems import OVERLOADED, TOO_MANY_IMAGES, Problem
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.threads import DaemonThreads
from inkdigits.settings import Settings

__all__ = ["INLINE_BYTES", "RETRY_SECONDS", "Executor", "Result", "overloaded", "read"]

INLINE_BYTES = 64 << 10  # larger bodies are parsed and read in a thread; about 1 ms of JSON
SMALL_PIXELS = 8192  # of a request's images; a turn of the event loop reads as many such requests as it has time for
DRAWING_PIXELS = 320 * 320  # of a request's images that are read in the event loop, a few such requests a turn
DRAWINGS = 4  # most of these; each takes half a millisecond, or ten where it was made to
THREAD_PIXELS = 2 * 280 * 280  # from which on what waits for the thread is not read with what came before
LOCKED_PIXELS = 1 << 20  # of a WebP that is decoded in this process: 20 ms, in which nothing else goes on
SLOW_SECONDS = 1.0  # in which drawings are read in the thread, after one that took longer than a turn
TURN_SECONDS = 0.01  # after which other work of the loop is to get its turn, such as turning away what is too much
SWITCH_SECONDS = 0.001  # that a thread keeps Python's lock when another waits for it
MAX_SECONDS = 0.75  # of a processor, after which no further image of a request is begun
HEAVY_THREADS = 2  # a 16-megapixel photo takes some 100 MB while it is read
RETRY_SECONDS = 1  # after which to ask again a server that sheds load

T = TypeVar("T")
Result = Prediction | ImageError
Done = Callable[[list[Result] | Exception], None]  # is given the results in order, or what went wrong; must not raise


class _Job(NamedTuple):
    """The images of one request that wait."""

    recognizer: Recognizer
    sources: Sequence[Source]
    done: Done
    load: int  # their pixels


def overloaded(metrics: Metrics, reason: str, detail: str) -> Problem:
    """Count a request that is turned away, and return its problem."""
    metrics.shed(reason)
    return Problem(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)})


class Executor:
    """Decides where the work of each request of this process is done, whichever model reads its images.

    Attributes:
        limits: of one image.
        max_files: most images of one request.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
        self.max_files = settings.max_files
        self._metrics = metrics
        self._max_queue = settings.max_queue
        self._small: deque[_Job] = deque()
        self._drawings: deque[_Job] = deque()
        self._larger: deque[_Job] = deque()  # for the thread of their own
        self._thread = DaemonThreads(1)
        self._reading = False  # whether that thread is at work
        # Images, and drawings, of a run that takes a turn of the event loop at most, as the last ones went.
        self._size, self._few = BATCH, DRAWINGS
        self._slow_until = 0.0  # by perf_counter; until then drawings go to the thread
        self._reserved = 0  # requests let in during this turn of the event loop, which do not wait yet
        self._threads = DaemonThreads(min(HEAVY_THREADS, os.cpu_count() or 1))
        self._max_heavy = settings.max_heavy
        self._heavy = 0  # calls that the threads have under way or waiting
        # A thread that works in Python lets the event loop have its turn after this, not after five times as long.
        sys.setswitchinterval(SWITCH_SECONDS)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self._threads.busy or self._thread.busy

    def close(self) -> None:
        """Forget what waits for a thread, and wait for none: nobody knows how long one takes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Who may begin

    def try_reserve(self) -> Problem | None:
        """Reserve a place for a request that comes now; return an overload problem if the queue is full, else None."""
        if self._length() + self._reserved >= self._max_queue:
            return self._full()
        if not self._reserved:
            asyncio.get_running_loop().call_soon(self._forget_reserved)
        self._reserved += 1
        return None

    def _forget_reserved(self) -> None:
        self._reserved = 0

    def check(self, size: int = 0) -> None:
        """Turn a request away, before more is done for it, when too many wait.

        Args:
            size: bytes of its body.

        Raises:
            Problem: too many wait or, for a large one, too many of these are under way.
        """
        if self._length() >= self._max_queue:
            raise self._full()
        if size > INLINE_BYTES:
            self._check_heavy()

    def _length(self) -> int:
        return len(self._small) + len(self._drawings) + len(self._larger)

    def _full(self) -> Problem:
        detail = f"{self._max_queue} requests or more wait already; ask again later"
        return overloaded(self._metrics, "queue", detail)

    def _check_heavy(self) -> None:
        if self._heavy >= self._max_heavy:
            detail = f"{self._heavy} requests with large images are under way already; ask again later"
            raise overloaded(self._metrics, "heavy", detail)

    # Work in the event loop or in a thread

    async def call(self, size: int, function: Callable[..., T], *args: Any) -> T:
        """Call a function that goes through so many bytes: here, or in a thread.

        Raises:
            Problem: too much is under way for that.
        """
        return await self.run(function, *args) if size > INLINE_BYTES else function(*args)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread.

        Raises:
            Problem: too many are under way.
        """
        self._check_heavy()
        self._count_heavy(1)
        # It is under way until the thread is done with it, even if nobody waits for it any more.
        work = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, function, *args)
        work.add_done_callback(lambda _: self._count_heavy(-1))
        return await work

    def _count_heavy(self, step: int) -> None:
        self._heavy += step
        self._metrics.queue("heavy", self._heavy)

    async def predict(
        self,
        recognizer: Recognizer,
        sources: Sequence[Source],
        render: Callable[[list[Result]], T],
        *,
        size: int = 0,
        explain: bool = False,
    ) -> T:
        """Read a request's images where that is best, and return what ``render`` makes of the results there.

        Args:
            render: is given a Prediction or an ImageError for each image, in order.
            size: bytes of the request.

        Raises:
            Problem: too many requests wait, or the images take too long together.
        """
        if size > INLINE_BYTES or explain or is_heavy(load := load_of(sources)):
            return await self.run(lambda: render(self.read_all(recognizer, sources, explain=explain)))
        if not sources:
            return render([])
        self.check()
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.submit(recognizer, sources, partial(_settle, future), load)
        return render(await future)

    def read_all(self, recognizer: Recognizer, sources: Sequence[Source], *, explain: bool = False) -> list[Result]:
        """Read any images here and now, in a thread.

        Raises:
            Problem: they take too long together.
        """
        check_pixels(sources, self.limits.max_pixels)
        start = thread_time()
        results: list[Result] = []
        for part in parts_of(sources):
            if results and thread_time() - start > MAX_SECONDS:
                raise Problem(
                    TOO_MANY_IMAGES,
                    f"{len(results)} of the request's {len(sources)} images took {MAX_SECONDS} s of a processor, "
                    "the most that one request gets: send fewer images, or smaller ones",
                )
            results += read(recognizer, part, self.limits, self._metrics, int(not results), explain=explain)
        return results

    def submit(self, recognizer: Recognizer, sources: Sequence[Source], done: Done, load: int) -> None:
        """Have images that are not heavy read; ``done`` is called in a turn of the event loop to come.

        Args:
            load: their pixels.
        """
        job = _Job(recognizer, sources, done, load)
        if load > DRAWING_PIXELS or (load > SMALL_PIXELS and perf_counter() < self._slow_until):
            self._larger.append(job)
            if not self._reading:
                self._next()
            return
        if not self._small and not self._drawings:
            asyncio.get_running_loop().call_soon(self._run)
        (self._drawings if load > SMALL_PIXELS else self._small).append(job)

    def _run(self) -> None:
        """Read what waits, or as much of it as a turn of the loop has time for."""
        self._metrics.queue("small", self._length())
        start, cpu = perf_counter(), thread_time() if self._drawings else 0.0
        jobs: list[_Job] = []
        count = pixels = drawn = 0
        while self._small and count < self._size and pixels < self._size * SIDE * SIDE:
            job = self._small.popleft()
            jobs.append(job)
            count += len(job.sources)
            pixels += job.load
        while self._drawings and drawn < self._few:
            jobs.append(self._drawings.popleft())
            drawn += 1
        for job, found in zip(jobs, self._results(jobs), strict=True):
            job.done(found)
        self._adapt(count, drawn, perf_counter() - start, cpu)
        if self._small or self._drawings:
            asyncio.get_running_loop().call_soon(self._run)
        self._metrics.queue("small", self._length())

    def _adapt(self, count: int, drawn: int, seconds: float, cpu: float) -> None:
        """Read fewer images, or more of them, in the next turn.

        Args:
            count: small images that this turn read; ``drawn``: drawings.
            cpu: the thread's time when it began.
        """
        if seconds <= TURN_SECONDS:
            if count >= self._size or self._small:
                self._size = min(BATCH, 2 * self._size)
            if drawn == self._few:
                self._few = min(DRAWINGS, self._few + 1)
        elif not drawn:
            self._size = max(1, count // 2)
        else:
            self._few = max(1, drawn // 2)
            if drawn == 1 and thread_time() - cpu > TURN_SECONDS:  # one that was made to take long; more follow
                self._slow_until = perf_counter() + SLOW_SECONDS
                self._larger.extend(job._replace(load=DRAWING_PIXELS) for job in self._drawings)
                self._drawings.clear()
                if not self._reading:
                    self._next()

    def _next(self) -> None:
        """Have the thread read what waits for it longest."""
        self._metrics.queue("small", self._length())
        jobs: list[_Job] = []
        pixels = 0
        while self._larger and pixels < THREAD_PIXELS:
            jobs.append(self._larger.popleft())
            pixels += jobs[-1].load
        self._reading = bool(jobs)
        if jobs:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._results, jobs)
            work.add_done_callback(partial(self._done, jobs))

    def _done(self, jobs: list[_Job], work: asyncio.Future[list[list[Result] | Exception]]) -> None:
        self._next()
        if not work.cancelled():
            for job, found in zip(jobs, work.result(), strict=True):
                job.done(found)

    def _results(self, jobs: list[_Job]) -> list[list[Result] | Exception]:
        """Return the results of each request, or what went wrong with it."""
        try:
            recognizer, sources = jobs[0].recognizer, jobs[0].sources
            if len(jobs) == 1:
                return [read(recognizer, sources, self.limits, self._metrics, 1)]
            if all(job.recognizer is recognizer for job in jobs):
                results = iter(
                    read(recognizer, [s for job in jobs for s in job.sources], self.limits, self._metrics, len(jobs))
                )
                return [[next(results) for _ in job.sources] for job in jobs]
        except Exception as error:
            if len(jobs) == 1:
                return [error]
        # Each by itself, where they are of two models, or one is at fault, whose fate the others must not share.
        return [found for job in jobs for found in self._results([job])]


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
    """Return a Prediction or an ImageError for each image, as ``Recognizer.predict_batch`` does, and time its stages.

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
    """Return whether decoding this keeps Python's lock for long: see :mod:`inkdigits.preprocess.apart`."""
    is_webp = isinstance(source, bytes) and source[:4] == b"RIFF" and source[8:12] == b"WEBP"
    return is_webp and pixels_of(source) > LOCKED_PIXELS

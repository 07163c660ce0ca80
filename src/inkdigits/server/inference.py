"""Runs inference in the event loop or in a thread, and rejects requests with 503 when its queues are full.

A small image or a drawing takes a fraction of a millisecond and runs in the event loop, which is fastest for all
requests. A larger picture can be crafted to take 20 ms, and a photo takes tens of milliseconds: both would block other
requests there, and run in threads.

Small requests that arrive in the same turn of the event loop share one normalization and one network run, with a few of
the waiting drawings. Drawings have a separate queue, as one can be crafted to take as long as fifty digits. There is no
timer: nothing waits for a batch to fill, so a lone request is not delayed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

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

if TYPE_CHECKING:
    from inkdigits.server.trial import Trial

__all__ = [
    "INLINE_BYTES",
    "RETRY_SECONDS",
    "Executor",
    "Result",
    "keeps_the_lock",
    "overloaded",
    "predict_sources",
]

INLINE_BYTES = 64 << 10  # larger bodies are parsed in a thread; about 1 ms of JSON
SMALL_PIXELS = 8192  # of a request's images; a turn of the event loop runs as many such requests as it has time for
DRAWING_PIXELS = 320 * 320  # of a request's images that run in the event loop, a few such requests per turn
DRAWINGS = 6  # maximum number per turn; each takes 0.5 ms, or 10 ms if crafted
THREAD_PIXELS = 2 * 280 * 280  # of requests that share a run in the thread
LOCKED_PIXELS = 1 << 20  # of a WebP that is decoded in this process: 20 ms, during which all threads wait
SLOW_SECONDS = 1.0  # for which drawings go to the thread, after one that took longer than a turn
TURN_SECONDS = 0.01  # after which the loop does other work, such as rejecting requests
SWITCH_SECONDS = 0.001  # for which a thread keeps the GIL while another waits for it
MAX_SECONDS = 0.75  # of CPU time, after which no further image of a request is started
HEAVY_THREADS = 2  # a 16-megapixel photo takes about 100 MB while it is decoded
RETRY_SECONDS = 1  # after which clients should try again if the server sheds load

T = TypeVar("T")
Result = Prediction | ImageError
Done = Callable[[list[Result] | Exception], None]  # called with the results in order, or an error; must not raise


class _Job(NamedTuple):
    """The images of one request in a queue."""

    recognizer: Recognizer
    sources: Sequence[Source]
    done: Done
    load: int  # their pixels


def overloaded(metrics: Metrics, reason: str, detail: str) -> Problem:
    """Count a rejected request, and return its problem."""
    metrics.shed(reason)
    return Problem(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)})


class Executor:
    """Decides where each request of this process runs, for any model.

    Attributes:
        limits: of one image.
        max_files: maximum number of images in one request.
        trial: another model reads along; None for none.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
        self.max_files = settings.max_files
        self._metrics = metrics
        self._max_queue = settings.max_queue
        self._small: deque[_Job] = deque()
        self._drawings: deque[_Job] = deque()
        self._larger: deque[_Job] = deque()  # for a separate thread
        self._thread = DaemonThreads(1)
        self._reading = False  # whether that thread is busy
        # Images, and drawings, that one turn of the event loop has time for, by the last ones.
        self._size, self._few = BATCH, DRAWINGS
        self._slow_until = 0.0  # by perf_counter; until then drawings go to the thread
        self._reserved = 0  # requests admitted in this turn of the event loop, which are not in a queue yet
        self._threads = DaemonThreads(min(HEAVY_THREADS, os.cpu_count() or 1))
        self._max_heavy = settings.max_heavy
        self._heavy = 0  # calls that run or wait in the threads
        self.trial: Trial | None = None
        # Let the event loop run after this time, not five times as long, while a thread runs Python code.
        sys.setswitchinterval(SWITCH_SECONDS)

    @property
    def busy(self) -> bool:
        """Whether a thread is busy."""
        return self._threads.busy or self._thread.busy

    def close(self) -> None:
        """Cancel the calls that wait for a thread. Do not wait for running ones, which may take long."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Admission

    def try_reserve(self) -> Problem | None:
        """Reserve a place for a new request; return an overload problem if the queue is full, else None."""
        if self._length() + self._reserved >= self._max_queue:
            return self._full()
        if not self._reserved:
            asyncio.get_running_loop().call_soon(self._forget_reserved)
        self._reserved += 1
        return None

    def _forget_reserved(self) -> None:
        self._reserved = 0

    def check(self, size: int = 0, *, is_heavy: bool = False) -> None:
        """Reject a request early if the server is overloaded.

        Args:
            size: bytes of its body.
            is_heavy: whether it is a large one, whatever its body.

        Raises:
            Problem: too many requests wait or, for a large one, too many large ones run or wait.
        """
        if self._length() >= self._max_queue:
            raise self._full()
        if size > INLINE_BYTES or is_heavy:
            self._check_heavy()

    def _length(self) -> int:
        return len(self._small) + len(self._drawings) + len(self._larger)

    def _full(self) -> Problem:
        detail = f"{self._max_queue} requests or more are waiting; try again later"
        return overloaded(self._metrics, "queue", detail)

    def _check_heavy(self) -> None:
        if self._heavy >= self._max_heavy:
            detail = f"{self._heavy} large requests are in progress already; try again later"
            raise overloaded(self._metrics, "heavy", detail)

    # Calls in the event loop or in a thread

    async def call(self, size: int, function: Callable[..., T], *args: Any) -> T:
        """Call a function that processes this many bytes, here or in a thread.

        Raises:
            Problem: too many large requests are in progress.
        """
        return await self.run(function, *args) if size > INLINE_BYTES else function(*args)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread.

        Raises:
            Problem: too many large requests are in progress.
        """
        self._check_heavy()
        self._count_heavy(1)
        # It counts until the thread is done, even if the request was cancelled.
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
        """Predict a request's images here or in a thread, and return what ``render`` makes of the results.

        Args:
            render: called with a Prediction or an ImageError for each image, in order.
            size: bytes of the request.

        Raises:
            Problem: too many requests wait, or the images take too long in total.
        """
        if size > INLINE_BYTES or explain or is_heavy(load := load_of(sources)):
            return await self.run(lambda: render(self.predict_all(recognizer, sources, explain=explain)))
        if not sources:
            return render([])
        self.check()
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.submit(recognizer, sources, partial(_settle, future), load)
        return render(await future)

    def predict_all(self, recognizer: Recognizer, sources: Sequence[Source], *, explain: bool = False) -> list[Result]:
        """Predict images of any size, in the calling thread.

        Raises:
            Problem: they take too long in total.
        """
        check_pixels(sources, self.limits.max_pixels)
        results: list[Result] = []
        for part in self.in_time(parts_of(sources), len(sources)):
            requests = int(not results)
            results += self._predict(recognizer, part, requests, explain=explain)
        return results

    def in_time(self, parts: Iterable[Sequence[T]], count: int) -> Iterator[Sequence[T]]:
        """Yield the parts of a request's images, as long as those before took no more CPU time than one may take.

        Args:
            count: number of images in all parts.

        Raises:
            Problem: they took longer.
        """
        start, done = thread_time(), 0
        for part in parts:
            if done and thread_time() - start > MAX_SECONDS:
                raise Problem(
                    TOO_MANY_IMAGES,
                    f"{done} of the request's {count} images took {MAX_SECONDS} s of CPU time, "
                    "the limit for one request: send fewer images, or smaller ones",
                )
            yield part
            done += len(part)

    def submit(self, recognizer: Recognizer, sources: Sequence[Source], done: Done, load: int) -> None:
        """Queue images that are not heavy; ``done`` is called in a later turn of the event loop.

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
        """Run queued requests, as many as a turn of the event loop has time for."""
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
        """Adapt the number of images of the next turn.

        Args:
            count: small images in this turn; ``drawn``: drawings.
            cpu: the thread's CPU time at its start.
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
            if drawn == 1 and thread_time() - cpu > TURN_SECONDS:  # a crafted one; more may follow
                self._slow_until = perf_counter() + SLOW_SECONDS
                self._larger.extend(job._replace(load=DRAWING_PIXELS) for job in self._drawings)
                self._drawings.clear()
                if not self._reading:
                    self._next()

    def _next(self) -> None:
        """Start the thread on the requests that have waited for it longest."""
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
        """Return the results of each request, or its error."""
        recognizer = jobs[0].recognizer
        if any(job.recognizer is not recognizer for job in jobs):  # a canary, or a model that was replaced
            by_model: dict[int, list[int]] = {}
            for i, job in enumerate(jobs):
                by_model.setdefault(id(job.recognizer), []).append(i)
            found: dict[int, list[Result] | Exception] = {}
            for places in by_model.values():
                found.update(zip(places, self._results([jobs[i] for i in places]), strict=True))
            return [found[i] for i in range(len(jobs))]
        try:
            every = [source for job in jobs for source in job.sources]
            results = iter(self._predict(recognizer, every, len(jobs)))
            return [[next(results) for _ in job.sources] for job in jobs]
        except Exception as error:
            if len(jobs) == 1:
                return [error]
        # Run each separately if one failed, which must not fail the others.
        return [found for job in jobs for found in self._results([job])]

    def _predict(
        self, recognizer: Recognizer, sources: Sequence[Source], requests: int, *, explain: bool = False
    ) -> list[Result]:
        return predict_sources(
            recognizer, sources, self.limits, self._metrics, requests, explain=explain, trial=self.trial
        )


def _settle(future: asyncio.Future[list[Result]], result: list[Result] | Exception) -> None:
    if future.done():  # cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def predict_sources(
    recognizer: Recognizer,
    sources: Sequence[Source],
    limits: Limits,
    metrics: Metrics,
    requests: int = 1,
    *,
    explain: bool = False,
    trial: Trial | None = None,
) -> list[Result]:
    """Return a Prediction or an ImageError for each image, like ``Recognizer.predict_batch``, and time the stages.

    Args:
        requests: number of requests that share these images, for the metrics.
        trial: another model reads along; None for none.
    """
    spent = Spent()
    start = perf_counter()
    if len(sources) == 1 and keeps_the_lock(sources[0]):
        seen = [preprocess_apart(sources[0], limits)]
        spent.decode = perf_counter() - start
    else:
        seen = preprocess_batch(sources, limits, spent)
    start = perf_counter()
    valid = [s for s in seen if isinstance(s, Preprocessed)]
    predictions = recognizer.predict_preprocessed(valid, explain=explain)
    if trial is not None:
        trial.offer(recognizer, valid, predictions)
    answers = iter(predictions)
    results = [next(answers) if isinstance(s, Preprocessed) else s for s in seen]
    metrics.stage("decode", spent.decode, requests)
    metrics.stage("normalise", spent.normalize, requests)
    metrics.stage("network", perf_counter() - start, requests)
    metrics.predictions(results)
    return results


def keeps_the_lock(source: Source) -> TypeGuard[bytes]:
    """Return whether decoding this holds the GIL for long; see :mod:`inkdigits.preprocess.apart`."""
    is_webp = isinstance(source, bytes) and source[:4] == b"RIFF" and source[8:12] == b"WEBP"
    return is_webp and pixels_of(source) > LOCKED_PIXELS

"""What the endpoints that read images have in common: one model, and the bounds of what they take on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter, thread_time

import numpy as np
from starlette.types import Receive

from inkdigits.preprocess import Limits
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.body import INLINE_BYTES, Bodies, Body, check_pixels, parts_of
from inkdigits.server.http.problems import TOO_MANY_IMAGES, Problem
from inkdigits.server.inference import Batcher, Deliver, Heavy, Result, read
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.threads import Threads
from inkdigits.settings import Settings

__all__ = ["Bounds", "Reader"]

MAX_SECONDS = 0.75  # of a processor, after which no further image of a request is begun


class Bounds:
    """What a process takes on at most, whichever model reads it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.metrics = metrics
        self.limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
        self.heavy = Heavy(metrics, settings.max_heavy)
        self.bodies = Bodies(self.heavy, metrics, settings.max_bytes, settings.max_buffered)
        self.max_files = settings.max_files
        self.inline = min(INLINE_BYTES, settings.max_bytes)
        self.larger = Threads(1)
        self.max_queue = settings.max_queue

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self.heavy.busy or self.larger.busy

    def close(self) -> None:
        """Forget what waits for a thread, and wait for none: nobody knows how long one takes."""
        self.heavy.close()
        self.larger.shutdown(wait=False, cancel_futures=True)


class Reader:
    """Reads bodies and images with one model.

    Attributes:
        recognizer: the model.
        heavy: the threads for large work.
        max_files: most images of one request.
        inline: bytes of a body that may be read at once, whatever is in it.
    """

    def __init__(self, recognizer: Recognizer, bounds: Bounds) -> None:
        self.recognizer = recognizer
        self.heavy = bounds.heavy
        self.max_files = bounds.max_files
        self.inline = bounds.inline
        self._bounds = bounds
        self._batcher = Batcher(recognizer, bounds.limits, bounds.metrics, bounds.max_queue, bounds.larger)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self._bounds.busy

    def let_in(self) -> Problem | None:
        """What a request that comes now is to be told where too many wait already; None where it may begin."""
        return self._batcher.let_in()

    async def body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> Body:
        """A request's body; see :meth:`Bodies.read`.

        Raises:
            Problem: it cannot be taken, or the server has too much to do.
            ClientDisconnect: the client left before its body was complete.
        """
        self._batcher.check()
        start = perf_counter()
        body = await self._bounds.bodies.read(receive, headers)
        self._bounds.metrics.stage("receive", perf_counter() - start)
        return body

    async def read_small(self, sources: Sequence[bytes | np.ndarray], load: int) -> list[Result]:
        """A Prediction or an ImageError for each of a few images that are not heavy.

        Args:
            load: their pixels.

        Raises:
            Problem: too many requests wait.
        """
        return await self._batcher.read(sources, load) if sources else []

    def put_small(self, sources: Sequence[bytes | np.ndarray], deliver: Deliver, load: int) -> None:
        """The same without waiting: ``deliver`` is given them, in a turn of the event loop to come."""
        self._bounds.metrics.stage("receive", 0.0)
        self._batcher.put(sources, deliver, load)

    def read(self, sources: Sequence[bytes | np.ndarray], *, explain: bool = False) -> list[Result]:
        """The same of any images, here and now; to be called in a thread.

        Raises:
            Problem: they take too long together.
        """
        bounds = self._bounds
        check_pixels(sources, bounds.limits.max_pixels)
        start = thread_time()
        results: list[Result] = []
        for part in parts_of(sources):
            if results and thread_time() - start > MAX_SECONDS:
                raise Problem(
                    TOO_MANY_IMAGES,
                    f"{len(results)} of the request's {len(sources)} images took {MAX_SECONDS} s of a processor, "
                    "the most that one request gets: send fewer images, or smaller ones",
                )
            results += read(self.recognizer, part, bounds.limits, bounds.metrics, int(not results), explain=explain)
        return results

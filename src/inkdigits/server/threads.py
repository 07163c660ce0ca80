"""Threads for work that may take long, which do not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["DaemonThreads"]

T = TypeVar("T")


class DaemonThreads(Executor):
    """An executor whose threads are daemons.

    The interpreter joins the threads of ``ThreadPoolExecutor`` when it exits, so one costly picture would decide how
    long a server takes to stop.

    Args:
        count: most threads; each is started when there is work for it.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._started = 0
        self._pending: set[Future[Any]] = set()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a call is under way or waits."""
        return bool(self._pending)

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Call the function in a thread; one thread alone may ask for that.

        Raises:
            RuntimeError: the executor is shut down.
        """
        if self._closed:
            raise RuntimeError("the server is stopping and starts nothing new")
        future: Future[T] = Future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        self._calls.put((future, partial(function, *args, **options)))
        if self._started < min(self._count, len(self._pending)):
            threading.Thread(target=self._work, name=f"inkdigits-{self._started}", daemon=True).start()
            self._started += 1
        return future

    def _work(self) -> None:
        while task := self._calls.get():
            future, call = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del task, future, call  # else they would stay in memory until the next call comes

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no further calls.

        Args:
            wait: return only when those that were taken are done.
            cancel_futures: forget the calls that wait.
        """
        self._closed = True
        pending = list(self._pending)
        for future in pending if cancel_futures else ():
            future.cancel()  # has no effect on one that runs
        for _ in range(self._started):
            self._calls.put(None)
        if wait:
            wait_for(pending)

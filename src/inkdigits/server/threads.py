"""Threads for long tasks that do not keep the process from exiting."""

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

    The interpreter joins the threads of ``ThreadPoolExecutor`` when it exits, so one expensive picture could delay
    the shutdown of a server.

    Args:
        count: maximum number of threads; each is started when there is work for it.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._started = 0
        self._pending: set[Future[Any]] = set()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a call is running or waiting."""
        return bool(self._pending)

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Call the function in a thread. Not thread-safe: submit from one thread only.

        Raises:
            RuntimeError: the executor is shut down.
        """
        if self._closed:
            raise RuntimeError("the server is stopping and accepts no new work")
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
            del task, future, call  # else they would stay in memory until the next call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no further calls.

        Args:
            wait: return only when the submitted calls are done.
            cancel_futures: cancel the calls that have not started.
        """
        self._closed = True
        pending = list(self._pending)
        for future in pending if cancel_futures else ():
            future.cancel()  # has no effect on a running call
        for _ in range(self._started):
            self._calls.put(None)
        if wait:
            wait_for(pending)

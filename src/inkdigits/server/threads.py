"""Threads for work that may take long, which do not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Threads"]


class Threads(Executor):
    """An executor whose threads are daemons.

    The interpreter joins the threads of ``ThreadPoolExecutor`` when it exits, so one costly picture would decide how
    long a server takes to stop.

    Args:
        count: most threads; each is started when there is work for it.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._pending = 0  # calls that are under way or wait
        self._closed = False
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a call is under way or waits."""
        return self._pending > 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Call the function in a thread.

        Raises:
            RuntimeError: the executor is shut down.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the server is stopping and starts nothing new")
            self._pending += 1
            if len(self._threads) < min(self._count, self._pending):
                name = f"inkdigits-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
        self._tasks.put((future, partial(function, *args, **options)))
        return future

    def _work(self) -> None:
        while task := self._tasks.get():
            future, call = task
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            finally:
                with self._lock:
                    self._pending -= 1
                del task, future, call  # else they would stay in memory until the next call comes

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no further calls.

        Args:
            wait: return only when the threads have ended.
            cancel_futures: forget the calls that wait.
        """
        with self._lock:
            self._closed = True
        while cancel_futures:
            try:
                task = self._tasks.get_nowait()
            except Empty:
                break
            if task:
                task[0].cancel()
                with self._lock:
                    self._pending -= 1
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

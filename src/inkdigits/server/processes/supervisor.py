"""Runs the worker processes: replaces those that die or freeze, forwards signals, and swaps the model in all of them.

All workers accept connections from one listening socket. With a socket for each (SO_REUSEPORT), waiting connections
would die with their worker, and the kernel would still assign some to a frozen worker.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from types import FrameType

from inkdigits.server.processes.shared_state import DOWN, UP, SharedState
from inkdigits.server.processes.worker import (
    BEAT_SECONDS,
    COMMIT,
    DROP,
    GROUP_SIGNALS,
    LEAVE,
    LEAVE_SECONDS,
    PREPARE,
    STOP_SECONDS,
    is_second_signal,
    run_worker,
)
from inkdigits.settings import Settings

__all__ = ["Supervisor"]

START_SECONDS = 60  # for a worker to load the model
PATIENCE_SECONDS = 5  # without a heartbeat, in addition to twice the usual, while a worker loads another model
RELOAD_SECONDS = 60  # for all workers to load another model
AGAIN_SECONDS = 10  # after which a promotion that was taken back is loaded again, if it could not be
TICK_SECONDS = BEAT_SECONDS  # between two checks of the workers
SOON_SECONDS = 10  # a worker that ends earlier is restarted with a delay, which grows each time
MAX_DELAY_SECONDS = 15
_CONTEXT = get_context("spawn")  # a fork would share threads, locks and the state of onnxruntime

log = logging.getLogger("inkdigits")


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Block signals to the whole group while a process starts; a worker unblocks them once it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    numbers = [getattr(signal, name) for name in GROUP_SIGNALS]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        resource_tracker.ensure_running()  # a process of multiprocessing; starting it unblocks some signals
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """One worker process."""

    def __init__(
        self, settings: Settings, listener: socket.socket, shared: SharedState, number: int, sha256: str
    ) -> None:
        self.number = number
        self.started = time.monotonic()
        self._shared = shared
        self.pipe, theirs = _CONTEXT.Pipe()
        shared.set_state(number, DOWN)
        shared.beat(number, START_SECONDS)
        arguments = (settings, listener, shared, number, theirs, sha256)
        self.process = _CONTEXT.Process(target=run_worker, args=arguments, name=f"inkdigits-{number}")
        with _held_back():
            self.process.start()
        theirs.close()

    def silent(self, seconds: float) -> bool:
        """Return whether it sent no heartbeat for this long."""
        return self._shared.silence(self.number) > seconds

    def send(self, message: str) -> None:
        """Send a message, unless the worker has died."""
        try:
            self.pipe.send(message)
        except OSError:
            log.debug("worker %d has died and did not get the message %s", self.number, message)

    def end(self) -> None:
        """Kill it if it still runs, and clear its state."""
        self._shared.set_state(self.number, DOWN)
        self.process.kill()
        self.process.join()
        self._shared.set_open(self.number, 0)
        self.pipe.close()


class Supervisor:
    """Runs workers until SIGTERM or Ctrl-C.

    Args:
        listener: a bound socket; it is closed at the end.
        sha256: of the model in the settings.
        started: called once every worker runs.
    """

    def __init__(self, settings: Settings, listener: socket.socket, sha256: str, started: Callable[[], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._sha256 = sha256
        self._started = started
        self._shared = SharedState(settings.workers)
        self._workers: list[Worker | None] = [None] * settings.workers
        self._due = [0.0] * settings.workers  # when to start each
        self._failures = [0] * settings.workers  # consecutive early ends
        self._stop = self._at_once = self._reload = False
        self._due_reload = math.inf  # when to load the model that a worker has rolled back to
        self._asked = 0.0  # time of the first signal to stop
        self._looked = self._awake = time.monotonic()  # the last check; the last interruption of this process

    def run(self) -> None:
        """Run until a signal to stop; then let requests finish, and end all workers."""
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._on_stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._on_reload)
        self._listener.listen(2048)  # before the first worker runs, so that no client gets connection refused
        announced = False
        try:
            while not self._stop:
                self._check_workers()
                if not announced and self._shared.count(UP) == len(self._workers):
                    announced = True
                    self._started()
                if self._shared.must_reload():
                    self._due_reload = time.monotonic()
                if self._reload or time.monotonic() >= self._due_reload:
                    taken_back = self._due_reload < math.inf
                    self._reload, self._due_reload = False, math.inf
                    if not self._change_model() and taken_back:
                        self._due_reload = time.monotonic() + AGAIN_SECONDS
                self._wait()
        finally:
            self._listener.close()
            self._end_all()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """Stop; a second signal does not wait for requests in progress."""
        if not self._stop:
            self._asked = time.monotonic()
        self._at_once = self._at_once or (self._stop and is_second_signal(self._asked))
        self._stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload = True

    def _wait(self) -> None:
        """Wait until a worker ends, or the next check is due."""
        wait([worker.process.sentinel for worker in self._workers if worker], TICK_SECONDS)

    def _check_workers(self) -> None:
        """Start workers that are due, and end those that died or froze."""
        now = time.monotonic()
        # If this process was stopped, as by Ctrl-Z, so were the workers: give them time for a heartbeat.
        if now - self._looked > max(1.0, 4 * TICK_SECONDS):
            self._awake = now
        self._looked = now
        awake = now - self._awake > self._settings.frozen_seconds
        for number, worker in enumerate(self._workers):
            if worker is None:
                if now >= self._due[number]:
                    self._workers[number] = Worker(self._settings, self._listener, self._shared, number, self._sha256)
            elif worker.process.exitcode is not None:
                self._replace(worker, f"ended with {worker.process.exitcode}")
            elif awake and worker.silent(self._settings.frozen_seconds):
                self._replace(worker, f"sent no heartbeat for {self._settings.frozen_seconds} seconds")

    def _replace(self, worker: Worker, what: str) -> None:
        number, now = worker.number, time.monotonic()
        early = now - worker.started < SOON_SECONDS
        self._failures[number] = self._failures[number] + 1 if early else 0
        # The first time at once: a rare fault must not cause a long outage.
        delay = min(2.0 ** (self._failures[number] - 2), MAX_DELAY_SECONDS) if self._failures[number] > 1 else 0.0
        log.warning("worker %d (process %d) %s; restarting it in %.0f s", number, worker.process.pid, what, delay)
        worker.end()
        self._workers[number] = None
        self._due[number] = now + delay

    def _change_model(self) -> bool:
        """Have every worker load and test the model, then swap it in all of them, or in none; return whether it is."""
        asked = [worker for worker in self._workers if worker]
        for worker in asked:
            worker.send(PREPARE)
        end = time.monotonic() + RELOAD_SECONDS
        answers = [self._answer(worker, end) for worker in asked]
        wrong = next((text for _, text in answers if text), "")
        if len(asked) < len(self._workers):
            wrong = wrong or "a worker is restarting; try again"
        if len({sha256 for sha256, _ in answers}) > 1:
            wrong = wrong or "the workers loaded different files of this name"
        for worker in asked:
            worker.send(DROP if wrong else COMMIT)
        if wrong:
            log.error("the model was not reloaded, the old one stays in use: %s", wrong)
            return False
        self._sha256 = answers[0][0]
        log.info("the model was reloaded in %d workers, SHA-256 %s", len(asked), self._sha256)
        return True

    def _answer(self, worker: Worker, end: float) -> tuple[str, str]:
        """Wait for a worker to prepare a model, and return its hash, or "" and an error."""
        try:
            # Loading a model blocks a worker longer than requests do.
            patience = 2 * self._settings.frozen_seconds + PATIENCE_SECONDS
            while time.monotonic() < end and not self._stop and not worker.silent(patience):
                if worker.pipe.poll(TICK_SECONDS):
                    answer: tuple[str, str] = worker.pipe.recv()
                    return answer
        except (EOFError, OSError):
            return "", f"worker {worker.number} died"
        return "", f"worker {worker.number} did not answer"

    def _end_all(self) -> None:
        """End all workers; kill those that are frozen or do not end in time."""
        workers = [worker for worker in self._workers if worker]
        for worker in workers:
            worker.process.terminate()
        end = time.monotonic() + STOP_SECONDS + self._settings.frozen_seconds
        sent = False
        while workers:
            if self._at_once and not sent:
                sent = True
                end = time.monotonic() + 2 * LEAVE_SECONDS
                for worker in workers:
                    worker.send(LEAVE)
            wait([worker.process.sentinel for worker in workers], TICK_SECONDS)
            for worker in list(workers):
                late = time.monotonic() > end or worker.silent(self._settings.frozen_seconds)
                if worker.process.exitcode is not None or late:
                    worker.end()
                    workers.remove(worker)

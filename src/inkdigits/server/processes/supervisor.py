"""Keeps the worker processes: replaces one that died or froze, passes signals on, and changes the model in all at once.

All workers take connections from one listening socket. Were there one each (SO_REUSEPORT), connections that wait at a
worker would die with it, and the kernel would go on to send some to one that is frozen.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from types import FrameType

from inkdigits.server.processes.shared_state import DOWN, UP, Board
from inkdigits.server.processes.worker import (
    BEAT_SECONDS,
    COMMIT,
    DROP,
    GROUP_SIGNALS,
    LEAVE,
    LEAVE_SECONDS,
    PREPARE,
    STOP_SECONDS,
    again,
    work,
)
from inkdigits.settings import Settings

__all__ = ["Supervisor"]

START_SECONDS = 60  # that a worker gets to load the model
PATIENCE_SECONDS = 5  # that a worker gets beyond twice the usual to stir, while it loads another
RELOAD_SECONDS = 60  # that all workers get to load another
TICK_SECONDS = BEAT_SECONDS  # between two looks at the workers
SOON_SECONDS = 10  # a worker that ends sooner after its start is replaced later, and later each time
MAX_DELAY_SECONDS = 15
_CONTEXT = get_context("spawn")  # a fork would share what must not be shared: threads, locks, the network's own state

log = logging.getLogger("inkdigits")


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Start processes that are deaf to what reaches the whole group; a worker hears again once it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    numbers = [getattr(signal, name) for name in GROUP_SIGNALS]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        resource_tracker.ensure_running()  # a process of multiprocessing's; starting it lets some through again
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings, listener: socket.socket, board: Board, number: int, sha256: str) -> None:
        self.number = number
        self.started = time.monotonic()
        self._board = board
        self.pipe, theirs = _CONTEXT.Pipe()
        board.set_state(number, DOWN)
        board.beat(number, START_SECONDS)
        arguments = (settings, listener, board, number, theirs, sha256)
        self.process = _CONTEXT.Process(target=work, args=arguments, name=f"inkdigits-{number}")
        with _held_back():
            self.process.start()
        theirs.close()

    def silent(self, seconds: float) -> bool:
        """Whether it has not stirred for so long."""
        return self._board.silence(self.number) > seconds

    def tell(self, message: str) -> None:
        """Send a message; one that died needs none."""
        try:
            self.pipe.send(message)
        except OSError:
            log.debug("worker %d is gone and was not told %s", self.number, message)

    def end(self) -> None:
        """Kill it, if it still runs, and forget it."""
        self._board.set_state(self.number, DOWN)
        self.process.kill()
        self.process.join()
        self._board.set_open(self.number, 0)
        self.pipe.close()


class Supervisor:
    """Runs workers until SIGTERM or Ctrl-C.

    Args:
        listener: bound; it is closed at the end.
        sha256: of the model that the settings name.
        started: called once every worker is there.
    """

    def __init__(self, settings: Settings, listener: socket.socket, sha256: str, started: Callable[[], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._sha256 = sha256
        self._started = started
        self._board = Board(settings.workers)
        self._workers: list[Worker | None] = [None] * settings.workers
        self._due = [0.0] * settings.workers  # when each is to be started
        self._failures = [0] * settings.workers  # early ends in a row
        self._stop = self._at_once = self._reload = False
        self._asked = 0.0  # when it was first told to stop
        self._looked = self._awake = time.monotonic()  # the last look; since when this process has not been held up

    def run(self) -> None:
        """Run until told to stop; then requests under way end, and nothing is left."""
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._on_stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._on_reload)
        self._listener.listen(2048)  # before the first worker is there, so that no client is refused
        announced = False
        try:
            while not self._stop:
                self._look()
                if not announced and self._board.count(UP) == len(self._workers):
                    announced = True
                    self._started()
                if self._reload:
                    self._reload = False
                    self._change_model()
                self._rest()
        finally:
            self._listener.close()
            self._end_all()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """A second signal does not wait for requests under way."""
        if not self._stop:
            self._asked = time.monotonic()
        self._at_once = self._at_once or (self._stop and again(self._asked))
        self._stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload = True

    def _rest(self) -> None:
        """Until a worker ends, or the next look is due."""
        wait([worker.process.sentinel for worker in self._workers if worker], TICK_SECONDS)

    def _look(self) -> None:
        """Start what is due, and end what died or froze."""
        now = time.monotonic()
        # When this process itself was held up, as by Ctrl-Z, so were the others: they are to be given the time to stir.
        if now - self._looked > max(1.0, 4 * TICK_SECONDS):
            self._awake = now
        self._looked = now
        awake = now - self._awake > self._settings.frozen_seconds
        for number, worker in enumerate(self._workers):
            if worker is None:
                if now >= self._due[number]:
                    self._workers[number] = Worker(self._settings, self._listener, self._board, number, self._sha256)
            elif worker.process.exitcode is not None:
                self._lost(worker, f"ended with {worker.process.exitcode}")
            elif awake and worker.silent(self._settings.frozen_seconds):
                self._lost(worker, f"has not stirred for {self._settings.frozen_seconds} seconds")

    def _lost(self, worker: Worker, what: str) -> None:
        number, now = worker.number, time.monotonic()
        early = now - worker.started < SOON_SECONDS
        self._failures[number] = self._failures[number] + 1 if early else 0
        # The first at once: what a chance fault killed is to be back soon.
        delay = min(2.0 ** (self._failures[number] - 2), MAX_DELAY_SECONDS) if self._failures[number] > 1 else 0.0
        log.warning("worker %d (process %d) %s; replaced in %.0f s", number, worker.process.pid, what, delay)
        worker.end()
        self._workers[number] = None
        self._due[number] = now + delay

    def _change_model(self) -> None:
        """Have every worker load and try the model, then all take it, or none."""
        asked = [worker for worker in self._workers if worker]
        for worker in asked:
            worker.tell(PREPARE)
        end = time.monotonic() + RELOAD_SECONDS
        answers = [self._answer(worker, end) for worker in asked]
        wrong = next((text for _, text in answers if text), "")
        if len(asked) < len(self._workers):
            wrong = wrong or "a worker is being replaced; try again"
        if len({sha256 for sha256, _ in answers}) > 1:
            wrong = wrong or "the workers found different files under its name"
        for worker in asked:
            worker.tell(DROP if wrong else COMMIT)
        if wrong:
            log.error("the model was not reloaded, the old one stays: %s", wrong)
            return
        self._sha256 = answers[0][0]
        log.info("the model was reloaded in %d workers, SHA-256 %s", len(asked), self._sha256)

    def _answer(self, worker: Worker, end: float) -> tuple[str, str]:
        """The hash of the model that a worker prepared, and what is wrong."""
        try:
            # Loading a model holds a worker up more than its requests do.
            patience = 2 * self._settings.frozen_seconds + PATIENCE_SECONDS
            while time.monotonic() < end and not self._stop and not worker.silent(patience):
                if worker.pipe.poll(TICK_SECONDS):
                    told: tuple[str, str] = worker.pipe.recv()
                    return told
        except (EOFError, OSError):
            return "", f"worker {worker.number} died"
        return "", f"worker {worker.number} gave no answer"

    def _end_all(self) -> None:
        """Have all end; those that do not in time, or that are frozen, are killed."""
        workers = [worker for worker in self._workers if worker]
        for worker in workers:
            worker.process.terminate()
        end = time.monotonic() + STOP_SECONDS + self._settings.frozen_seconds
        told = False
        while workers:
            if self._at_once and not told:
                told = True
                end = time.monotonic() + 2 * LEAVE_SECONDS
                for worker in workers:
                    worker.tell(LEAVE)
            wait([worker.process.sentinel for worker in workers], TICK_SECONDS)
            for worker in list(workers):
                late = time.monotonic() > end or worker.silent(self._settings.frozen_seconds)
                if worker.process.exitcode is not None or late:
                    worker.end()
                    workers.remove(worker)

"""Worker processes of a study: if a training fails or is killed, the others continue.

A worker receives the options of one trial after another, sends the figures of each epoch, and receives whether to
continue. It does not access the study and writes no files, so it can be killed at any time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from rich.console import Console

from inkdigits.progress import Report, silent
from inkdigits.settings import Settings
from inkdigits.training.config import config_of
from inkdigits.training.prepare import prepare
from inkdigits.training.train import learner_of

__all__ = ["DONE", "EPOCH", "FAILED", "PRUNED", "Worker"]

EPOCH, DONE, PRUNED, FAILED = "epoch", "done", "pruned", "failed"  # messages of a worker
STOP_SECONDS = 5.0  # for a worker to exit before it is killed


class Worker:
    """A process that trains one trial at a time.

    Attributes:
        connection: to wait on; :meth:`receive` reads from it.
        trial: the current trial, of any type that the caller chooses; None while idle.

    Args:
        settings: where data sets are.
        threads: of a training whose options do not set them.
    """

    def __init__(self, settings: Settings, threads: int) -> None:
        # Spawn, not fork: a fork lacks the threads that PyTorch has started.
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.trial: Any = None
        self._process = context.Process(target=_work, args=(other, settings, threads), daemon=True)
        self._process.start()
        other.close()

    def start(self, trial: Any, options: Mapping[str, Any]) -> None:
        """Start a trial with these training options."""
        self.trial = trial
        self._send(dict(options))

    def receive(self) -> tuple[str, Any]:
        """Receive a message: (EPOCH, figures), to which :meth:`answer` must reply; (DONE, validation accuracy);
        (PRUNED, None); or (FAILED, reason).

        Raises:
            EOFError: the process has ended.
        """
        try:
            return self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None

    def answer(self, *, proceed: bool) -> None:
        """Reply to an epoch: continue the trial, or prune it."""
        self._send(proceed)

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the ended process; negative signal number if a signal killed it."""
        self._process.join(STOP_SECONDS)
        return self._process.exitcode

    def close(self) -> None:
        """End the process, even during a trial."""
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _send(self, what: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # receive() raises that the process has ended
            self.connection.send(what)


class _Pruned(Exception):
    """Raised in a training to end it."""


def _work(connection: Connection, settings: Settings, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent also gets Ctrl-C, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report = Report(Console(quiet=True))
    data = functools.lru_cache(maxsize=1)(lambda config: prepare(config, settings, silent))

    def record(figures: Mapping[str, float]) -> None:
        connection.send((EPOCH, dict(figures)))
        if not connection.recv():
            raise _Pruned

    while True:
        try:
            config = config_of(connection.recv())
            torch.set_num_threads(getattr(config, "threads", 1) or threads)
            trained = learner_of(config).fit(data(config.of_data()), report, record)
            connection.send((DONE, trained.validation["accuracy"]))
        except _Pruned:
            connection.send((PRUNED, None))
        except (EOFError, BrokenPipeError):
            return
        except Exception as error:  # any error fails only this trial
            connection.send((FAILED, f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # as this process is a worker
    wait([parent.sentinel])
    os._exit(1)

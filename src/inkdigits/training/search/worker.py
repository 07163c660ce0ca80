"""The trials of a study, in processes of their own: a training that fails, or is killed, takes no other with it.

A worker gets the options of one trial after the other, tells each epoch's figures, and hears whether to go on. It knows
nothing of the study and writes no file, so that it can be killed at any time.
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

EPOCH, DONE, PRUNED, FAILED = "epoch", "done", "pruned", "failed"  # what a worker tells
STOP_SECONDS = 5.0  # that a worker that is told to end is given


class Worker:
    """A process that trains one trial at a time.

    Attributes:
        connection: to wait on; :meth:`hear` reads it.
        trial: what it is busy with, of the caller's own kind; None while it is idle.

    Args:
        settings: where data sets are.
        threads: of a training that does not say how many.
    """

    def __init__(self, settings: Settings, threads: int) -> None:
        # Not forked: threads that PyTorch started before would not be there.
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.trial: Any = None
        self._process = context.Process(target=_work, args=(other, settings, threads), daemon=True)
        self._process.start()
        other.close()

    def start(self, trial: Any, options: Mapping[str, Any]) -> None:
        """Give it a trial with these training options."""
        self.trial = trial
        self._send(dict(options))

    def hear(self) -> tuple[str, Any]:
        """What it tells: (EPOCH, figures), which :meth:`answer` must answer; (DONE, accuracy on the validation images);
        (PRUNED, None); (FAILED, why).

        Raises:
            EOFError: the process is no more.
        """
        try:
            return self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None

    def answer(self, *, go_on: bool) -> None:
        """After an epoch: go on with the trial, or prune it."""
        self._send(go_on)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the process, which has ended: minus the signal's number where one killed it."""
        self._process.join(STOP_SECONDS)
        return self._process.exitcode

    def close(self) -> None:
        """End the process, whatever it is busy with."""
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _send(self, what: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # hear() tells that the process is no more
            self.connection.send(what)


class _Pruned(Exception):
    """Ends a training from within."""


def _work(connection: Connection, settings: Settings, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which ends this process
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
        except Exception as error:  # whatever it is, it is this trial's; the study goes on
            connection.send((FAILED, f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # as this process is a worker
    wait([parent.sentinel])
    os._exit(1)

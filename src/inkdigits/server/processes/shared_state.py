"""Numbers that every worker process sees: a row for each worker, and the buckets of the rate limit.

A worker writes its own row and reads all, so that any of them can answer for the whole. Each number is an aligned
float64, which a processor reads and writes in one piece; there are no locks.
"""

from __future__ import annotations

import time
from ctypes import c_double
from multiprocessing import get_context
from secrets import token_bytes

__all__ = ["DOWN", "OPEN", "READY", "UP", "Board"]

# What a worker is: not there or starting; there, but its model reads a known digit wrong; fit for work.
DOWN, UP, READY = 0.0, 1.0, 2.0

ROW = 512  # numbers of a worker: these three, and what inkdigits.server.observability.metrics counts
_BEAT, _STATE, OPEN = 0, 1, 2
FREE = 3  # the first number that is free for metrics
SLOT = 3  # numbers of a bucket: the client's fingerprint, its tokens, and when they were counted
# By how many connections, or what share of them, a worker may be ahead of another.
LEAD, LEAD_SHARE = 4, 0.5
BUCKETS = 16384  # clients whose rate is known at a time


class Board:
    """Shared with processes that are spawned with it as an argument.

    Args:
        workers: number of rows.
    """

    def __init__(self, workers: int = 1) -> None:
        context = get_context("spawn")
        self.workers = workers
        self.secret = token_bytes(16)  # keys the fingerprints of clients
        self._rows = context.RawArray(c_double, workers * ROW)
        self._buckets = context.RawArray(c_double, BUCKETS * SLOT)

    def row(self, worker: int) -> memoryview[float]:
        """The numbers of a worker, float64, to read and write."""
        return memoryview(self._rows).cast("B").cast("d")[worker * ROW : (worker + 1) * ROW]

    def rows(self) -> list[memoryview[float]]:
        """The numbers of every worker."""
        return [self.row(worker) for worker in range(self.workers)]

    def buckets(self) -> memoryview[float]:
        """:data:`BUCKETS` times :data:`SLOT` numbers, float64."""
        return memoryview(self._buckets).cast("B").cast("d")

    def beat(self, worker: int, seconds: float = 0) -> None:
        """Note that a worker stirs now, or is not expected to for so many seconds."""
        self.row(worker)[_BEAT] = time.monotonic() + seconds

    def silence(self, worker: int) -> float:
        """Seconds since a worker last stirred."""
        return time.monotonic() - self.row(worker)[_BEAT]

    def set_state(self, worker: int, state: float) -> None:
        """Note what a worker is."""
        self.row(worker)[_STATE] = state

    def set_open(self, worker: int, connections: int) -> None:
        """Note how many connections a worker has."""
        self.row(worker)[OPEN] = connections

    def room(self, worker: int) -> int:
        """How many connections more a worker may take, not to have many more than another that is there."""
        fewest = min((row[OPEN] for row in self.rows() if row[_STATE] >= UP), default=0)
        return int(fewest + max(LEAD, LEAD_SHARE * fewest) - self.row(worker)[OPEN])

    def count(self, least: float) -> int:
        """How many workers are this or better."""
        return sum(row[_STATE] >= least for row in self.rows())

"""Numbers in memory shared by all worker processes: a row for each worker, and the buckets of the rate limit.

A worker writes its own row and reads all of them, so that any worker can report the totals. Each number is an aligned
float64, which processors read and write atomically; there are no locks.
"""

from __future__ import annotations

import time
from ctypes import c_double
from multiprocessing import get_context
from secrets import token_bytes

__all__ = ["DOWN", "OPEN", "READY", "UP", "SharedState"]

# State of a worker: missing or starting; running, but its model reads a known digit wrong; ready.
DOWN, UP, READY = 0.0, 1.0, 2.0

ROW = 512  # numbers of a worker: these three, and those of inkdigits.server.observability
_BEAT, _STATE, OPEN = 0, 1, 2
FREE = 3  # the first number that is free for metrics
TRIAL_NUMBERS = 12  # of inkdigits.server.observability.tally, at the end of the row
TRIAL = ROW - TRIAL_NUMBERS
SLOT = 3  # numbers of a bucket: the client's fingerprint, its tokens, and when they were counted
# Connections, or share of them, that a worker may have more than another.
LEAD, LEAD_SHARE = 4, 0.5
BUCKETS = 16384  # clients whose rates are tracked at a time


class SharedState:
    """State shared with processes that are spawned with it as an argument.

    Args:
        workers: number of rows.
    """

    def __init__(self, workers: int = 1) -> None:
        context = get_context("spawn")
        self.workers = workers
        self.secret = token_bytes(16)  # keys the fingerprints of clients
        self._rows = context.RawArray(c_double, workers * ROW)
        self._buckets = context.RawArray(c_double, BUCKETS * SLOT)
        self._reload = context.RawValue(c_double, 0)

    def row(self, worker: int) -> memoryview[float]:
        """Return the numbers of a worker as a writable view, float64."""
        return memoryview(self._rows).cast("B").cast("d")[worker * ROW : (worker + 1) * ROW]

    def rows(self) -> list[memoryview[float]]:
        """Return the numbers of every worker."""
        return [self.row(worker) for worker in range(self.workers)]

    def buckets(self) -> memoryview[float]:
        """Return :data:`BUCKETS` times :data:`SLOT` numbers as a writable view, float64."""
        return memoryview(self._buckets).cast("B").cast("d")

    def beat(self, worker: int, seconds: float = 0) -> None:
        """Record a heartbeat of a worker, as if it came this many seconds from now."""
        self.row(worker)[_BEAT] = time.monotonic() + seconds

    def silence(self, worker: int) -> float:
        """Return the seconds since the last heartbeat of a worker."""
        return time.monotonic() - self.row(worker)[_BEAT]

    def set_state(self, worker: int, state: float) -> None:
        """Record the state of a worker."""
        self.row(worker)[_STATE] = state

    def set_open(self, worker: int, connections: int) -> None:
        """Record how many connections a worker has."""
        self.row(worker)[OPEN] = connections

    def room(self, worker: int) -> int:
        """Return how many more connections a worker may accept without getting far ahead of another running worker."""
        fewest = min((row[OPEN] for row in self.rows() if row[_STATE] >= UP), default=0)
        return int(fewest + max(LEAD, LEAD_SHARE * fewest) - self.row(worker)[OPEN])

    def ask_to_reload(self) -> None:
        """Have the server reload its model in all workers."""
        self._reload.value = 1

    def must_reload(self) -> bool:
        """Return whether a worker has asked to reload the model since the last call."""
        asked, self._reload.value = self._reload.value > 0, 0
        return asked

    def count(self, least: float) -> int:
        """Return how many workers are in this state or a better one."""
        return sum(row[_STATE] >= least for row in self.rows())

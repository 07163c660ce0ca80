"""Writes corrections to the store from a thread, so that predictions do not wait for the database.

Corrections that arrive within a moment share a transaction: on two cores, two hundred a second cost ten transactions a
second and worker. A client gets its receipt once its transaction is committed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from inkdigits.errors import SettingError, StoreError
from inkdigits.feedback.answers import Answer, Signer, digest_of
from inkdigits.feedback.submission import Conflict, Receipt, Submission
from inkdigits.prediction import Prediction, Reading
from inkdigits.server.cost import Source
from inkdigits.server.http.problems import STORE_UNAVAILABLE, Problem
from inkdigits.server.inference import RETRY_SECONDS, overloaded
from inkdigits.server.observability.metrics import Metrics
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.feedback.store import Store

__all__ = ["Keeper", "keeper_of", "store_unavailable"]

GATHER_SECONDS = 0.1  # for which a transaction waits for more corrections
MAX_WAITING = 1000  # corrections of a process that wait for the database
WAIT_SECONDS = 15  # for the database; then 503, and the client sends the same again
CLOSE_SECONDS = 5  # for the last corrections when the server stops
DAY_SECONDS = 24 * 60 * 60
PURGE_RETRY_SECONDS = 60 * 60

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class _Job:
    submission: Submission | None  # to be added
    id: str  # of a correction to be removed
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Keeper:
    """The store of one process.

    Args:
        days: after which pictures are removed; 0: never.
        audit: share of answers, 0 to 1, that are marked for the audit sample.
        purges: whether this process removes what is too old; one of several is enough.

    Attributes:
        store: the database.
        signer: signs and checks prediction ids.
    """

    def __init__(
        self, store: Store, metrics: Metrics, *, days: int = 0, audit: float = 0.0, purges: bool = True
    ) -> None:
        self.store = store
        self._metrics = metrics
        self._days = days
        self._audit = audit
        self.signer = Signer(store.secret())
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._purge_at = 0.0 if purges and days else float("inf")  # by the monotonic clock

    def start(self) -> None:
        """Start the thread; it removes what is too old first."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="inkdigits-feedback", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop."""
        self._jobs.put(None)
        if self._thread:
            self._thread.join(CLOSE_SECONDS)
        self.store.close()

    # Answers

    def marks(self, source: Source | Problem, found: Prediction | Reading, model: str) -> dict[str, Any]:
        """Return what an answer has in addition if the client may send it back: its prediction id."""
        assert not isinstance(source, Problem)  # which has no answer
        audit = bool(self._audit) and random.random() < self._audit
        self._metrics.audit(audit)
        answer = Answer.of(found, model, source=digest_of(source), audit=audit)
        return {"prediction_id": self.signer.sign(answer), "audit": audit}

    # Corrections

    async def add(self, submission: Submission) -> Receipt | Conflict:
        """Keep a correction; return once it is committed.

        Raises:
            Problem: too many wait, or the database cannot be used.
        """
        found: Receipt | Conflict = await self._ask(submission, "")
        return found

    async def forget(self, id: str) -> bool:
        """Remove a correction; return whether there was one. Raises as :meth:`add` does."""
        found: bool = await self._ask(None, id)
        return found

    async def _ask(self, submission: Submission | None, id: str) -> Any:
        if self._waiting >= MAX_WAITING:
            raise overloaded(self._metrics, "feedback", f"{MAX_WAITING:,} corrections are waiting; try again later")
        self.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(submission, id, loop, future))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await future
        except TimeoutError:
            raise store_unavailable(f"the database did not answer in {WAIT_SECONDS} s") from None
        finally:
            self._waiting -= 1

    # The thread

    def _run(self) -> None:
        while True:
            if time.monotonic() >= self._purge_at:
                self._purge()
            try:
                wait = self._purge_at - time.monotonic()
                jobs = self._gather(None if wait == float("inf") else max(0.0, wait))
            except Empty:
                continue
            if jobs is None:
                return
            self._work(jobs)

    def _gather(self, seconds: float | None) -> list[_Job] | None:
        """Return the jobs that arrive together, at most a transaction's; None to stop."""
        from inkdigits.feedback.store import BATCH

        job = self._jobs.get(timeout=seconds)
        jobs: list[_Job] = []
        time.sleep(GATHER_SECONDS if job else 0)  # waking up for each would cost the event loop more than the wait
        while job is not None:
            jobs.append(job)
            if len(jobs) == BATCH:
                return jobs
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._jobs.put(None)  # stop afterwards
        return jobs or None

    def _work(self, jobs: list[_Job]) -> None:
        adding = [job for job in jobs if job.submission]
        if adding:
            self._settle(adding, lambda: self.store.add([job.submission for job in adding if job.submission]))
        for job in jobs:
            if not job.submission:
                self._settle([job], partial(self._forget, job.id))

    def _forget(self, id: str) -> list[bool]:
        return [self.store.forget(id).corrections > 0]

    def _settle(self, jobs: list[_Job], call: Callable[[], list[Any]]) -> None:
        try:
            found: list[Any] = call()
        except StoreError as error:
            log.error("%s", error)
            found = [store_unavailable()] * len(jobs)
        except Exception as error:
            log.exception("a fault while writing corrections")
            found = [error] * len(jobs)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for job, result in zip(jobs, found, strict=True):
            by_loop.setdefault(job.loop, []).append((job.future, result))
        for loop, results in by_loop.items():
            try:
                loop.call_soon_threadsafe(_tell, results)
            except RuntimeError:  # the loop is closed; its clients are gone
                continue

    def _purge(self) -> None:
        try:
            if count := self.store.purge(self._days):
                log.info("removed %d pictures older than %d days", count, self._days)
            self._purge_at = time.monotonic() + DAY_SECONDS
        except StoreError as error:
            log.error("pictures older than %d days could not be removed: %s", self._days, error)
            self._purge_at = time.monotonic() + PURGE_RETRY_SECONDS


def _tell(results: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if future.done():  # its client has left
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def store_unavailable(detail: str = "the database of corrections cannot be used now") -> Problem:
    """Return the problem that the store cannot be used."""
    return Problem(STORE_UNAVAILABLE, f"{detail}; send the same again", {"Retry-After": str(RETRY_SECONDS)})


def keeper_of(settings: Settings, metrics: Metrics, worker: int) -> Keeper | None:
    """Return the store that the settings name, with its tables up to date; None if they name none.

    Raises:
        SettingError: its packages are not installed, or the setting names no database.
        StoreError: the database cannot be used.
    """
    if not settings.feedback:
        return None
    try:
        from inkdigits.feedback.store import Store

        store = Store(settings.feedback)
    except ModuleNotFoundError as error:
        raise SettingError(
            f"feedback (INKDIGITS_FEEDBACK) is set, which needs pip install 'inkdigits[feedback]': {error}"
        ) from None
    days, audit = settings.feedback_days, settings.feedback_audit
    return Keeper(store, metrics, days=days, audit=audit, purges=worker == 0)

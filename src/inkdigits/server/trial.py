"""Try a model on live traffic: as a shadow, as a canary, or, once it is the champion, under watch.

Both models of a trial read the same images: the one that answers at once, the other one later, in a thread, from what
the networks see. If the *candidate* crosses a bound against the *reference*, the canary ends, or the promotion is taken
back. What is compared is counted, and never kept.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from starlette.types import Scope

from inkdigits.errors import ImageError, InkdigitsError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import Preprocessed
from inkdigits.recognizer import Recognizer
from inkdigits.registry import rollback, withdraw, withdrawal_of
from inkdigits.server.comparison import Bounds, Counts, counts_of
from inkdigits.server.http.auth import client_of
from inkdigits.server.http.problems import Problem
from inkdigits.server.model_info import version_of
from inkdigits.server.observability.tally import UNAVAILABLE, Tally
from inkdigits.server.trial_plan import Mode, Plan

__all__ = ["QUEUE", "Trial"]

QUEUE = 512  # images that wait for the other model; further ones are dropped
BATCH = 16  # images that it reads at a time, so that requests get their turn
LOOK_SECONDS = 0.05  # between two looks at the queue, and at what other workers found
CLOSE_SECONDS = 1  # for the batch that is being read when the server stops
NICE = 10  # by which the thread's priority is below that of requests, on Linux
CHANCE_BYTES = 4  # of the hash that chooses the model of a request
SALT = 16  # letters of the model's hash in it: another model gets other requests
SPACE = 1 << 8 * CHANCE_BYTES
BY = "server"  # who withdraws a model or takes a promotion back

log = logging.getLogger("inkdigits")


@dataclass(frozen=True, slots=True)
class _Read:
    """What one model read in an image."""

    seen: Preprocessed
    prediction: Prediction
    by_candidate: bool


class Trial:
    """The trial of a model in one process.

    Args:
        plan: the models, and why there is no trial if there is none.
        bounds: that the candidate must keep.
        tally: the counts of all workers.
        reload: has the server reload its model.
        proxies: how many are in front, to tell clients apart.
        is_first: whether this worker logs what all of them find at the start.
    """

    def __init__(
        self,
        plan: Plan,
        bounds: Bounds,
        tally: Tally,
        reload: Callable[[], None],
        *,
        proxies: int = 0,
        is_first: bool = True,
    ) -> None:
        self.mode: Mode = plan.mode
        self._plan = plan
        self._bounds = bounds
        self._tally = tally
        self._reload = reload
        self._proxies = proxies
        self._is_first = is_first
        self._reason = plan.objection  # why it ended, or is worse
        self._over = bool(plan.objection)
        self._limit = int(plan.canary_share * SPACE) if plan.mode == "canary" else 0
        self._salt = plan.candidate.model.sha256[:SALT].encode() if plan.candidate else b""
        self._waiting: deque[_Read] = deque()
        self._failed = False  # whether a failure was logged
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # For requests

    def choose(self, champion: Recognizer, scope: Scope, headers: Mapping[bytes, bytes]) -> Recognizer:
        """Return the model that answers a request.

        Requests with the same id from the client have the same model; of those without one, all of one client behind
        the known proxies, or all on one connection.
        """
        if self._over or not self._limit or self._plan.candidate is None:
            return champion
        mark = headers.get(b"x-request-id")
        if mark is None:
            is_known = self._proxies and b"x-forwarded-for" in headers
            client = client_of(scope, headers, self._proxies) if is_known else scope.get("client")
            mark = repr(client or random.random()).encode()
        chance = int.from_bytes(blake2b(mark, digest_size=CHANCE_BYTES, key=self._salt).digest())
        if chance >= self._limit or self._tally.ended:  # another worker may know it before this one's thread looks
            return champion
        self._tally.add(Counts(), answered=1)
        return self._plan.candidate

    def instead(self, recognizer: Recognizer, error: Exception, images: int) -> Recognizer | None:
        """Return the reference, which is to answer a request on which the candidate failed; None for other errors."""
        if recognizer is not self._plan.candidate or isinstance(error, Problem | ImageError):
            return None
        self._fail(error, images)
        return self._plan.reference

    def offer(self, recognizer: Recognizer, seen: Sequence[Preprocessed], predictions: Sequence[Prediction]) -> None:
        """Let the other model read a share of the images, later."""
        plan = self._plan
        if self._over or recognizer not in (plan.candidate, plan.reference):
            return
        by_candidate = recognizer is plan.candidate
        share = 1.0 if by_candidate and self.mode == "canary" else plan.shadow_share
        for each, prediction in zip(seen, predictions, strict=True):
            if each.box is None or random.random() >= share:  # blank paper says nothing
                continue
            if len(self._waiting) >= QUEUE:
                self._tally.add(Counts(), dropped=1)
            else:
                self._waiting.append(_Read(each, prediction, by_candidate))
        self.start()

    def about(self) -> dict[str, Any]:
        """Return what ``GET /model`` says of the trial."""
        plan = self._plan
        counts = asdict(self._tally.counts)
        return {
            "mode": self.mode,
            "state": "unavailable" if plan.objection else "ended" if self._over and self._reason else "running",
            "reason": self._reason or None,
            "candidate": _described(plan.candidate) or {"name": plan.name, "version": None, "sha256": None},
            "reference": _described(plan.reference),
            "shadow_share": plan.shadow_share,
            "canary_share": plan.canary_share,
            "until": plan.until_text,
            "images": {name: int(count) for name, count in counts.items()},
            "answers": self._tally.answered,
            "dropped": self._tally.dropped,
        }

    # The thread

    @property
    def busy(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread that compares, once."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="inkdigits-trial", daemon=True)
            if self._plan.objection:
                if not self._tally.ended:  # it has ended, and this worker took the place of another
                    self._tally.end(UNAVAILABLE)
                if self._is_first:
                    log.error("no %s of %s: %s", self.mode, self._plan.name, self._plan.objection)
            else:
                self._thread.start()

    def close(self, *, wait: bool = True) -> None:
        """Stop the thread.

        Args:
            wait: for the batch that it reads.
        """
        self._stop.set()
        self._over = True
        if wait and self._thread and self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        _lower_priority()
        while not self._over and not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                log.exception("a fault in the trial of %s, which ends", self._plan.name)
                self._over, self._reason = True, "a fault, which the log has"

    def _look(self) -> None:
        """Compare what waits, and end the trial if it is time to."""
        while self._waiting and not self._over and not self._stop.is_set():
            self._compare([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
            self._judge()
        self._judge()
        if not self._over and self._plan.is_past():
            self._over, self._reason = True, "the watch is over, and no bound was crossed"
            self._waiting.clear()

    def _compare(self, batch: Sequence[_Read]) -> None:
        start = time.thread_time()
        for by_candidate in (False, True):
            reads = [each for each in batch if each.by_candidate is by_candidate]
            other = self._plan.reference if by_candidate else self._plan.candidate
            assert other is not None  # or nothing would wait
            for read, found in zip(reads, self._read(other, [each.seen for each in reads]), strict=True):
                if found is not None:
                    pair = (found, read.prediction) if by_candidate else (read.prediction, found)
                    self._tally.add(counts_of(*pair))
        self._tally.add(Counts(), seconds=time.thread_time() - start)

    def _read(self, recognizer: Recognizer, seen: Sequence[Preprocessed]) -> list[Prediction | None]:
        """Return what the other model reads; None for an image on which it fails."""
        try:
            return list(recognizer.predict_preprocessed(seen)) if seen else []
        except Exception as error:
            if len(seen) > 1:
                return [found for each in seen for found in self._read(recognizer, [each])]
            if recognizer is self._plan.candidate:
                self._fail(error, 1)
            return [None]

    def _fail(self, error: Exception, images: int) -> None:
        self._tally.add(Counts(failed=images))
        if not self._failed:
            self._failed = True
            log.error(
                "the model %s on trial failed; further failures are only counted", self._plan.name, exc_info=error
            )

    # Bounds

    def _judge(self) -> None:
        """End the trial if a bound is crossed, or if another worker found that."""
        counts, known = self._tally.counts, self._tally.ended
        name = known or self._bounds.crossed(counts)
        if not name or self._reason:
            return
        if known == UNAVAILABLE:
            self._over, self._reason = True, f"{UNAVAILABLE}: another worker cannot try the model"
            self._waiting.clear()
            log.error("the trial of %s has ended: another worker cannot try it", self._plan.name)
            return
        why = self._bounds.explain(name, counts)
        reason = f"{name}: {why}"
        if self.mode == "shadow":
            self._reason = reason
            if not known:
                self._tally.end(name)
                log.warning("the shadow %s crosses a bound: %s", self._plan.name, why)
            return
        self._over = True
        if not known:
            self._tally.end(name)
        self._waiting.clear()
        self._record(why, is_first=not known)
        self._reason = reason  # last: where this is known, the registry has it

    def _record(self, why: str, *, is_first: bool) -> None:
        """Keep the end beyond this process: the first of the workers does, and says so."""
        folder, model = self._plan.folder, self._plan.candidate
        assert model is not None  # it was compared
        name, sha256 = model.model.name, model.model.sha256
        try:
            if self.mode == "watch":
                assert folder is not None  # there is no watch without one
                if not withdrawal_of(folder, sha256):  # else another worker was faster
                    entry = rollback(folder, by=BY, reason=why, sha256=sha256)
                    log.error("%s is rolled back to %s: %s", name, entry["to"]["name"], why)
                    self._reload()
            elif folder is None:
                if is_first:
                    log.error("the canary %s has ended until the server is restarted or reloaded: %s", name, why)
            elif withdraw(folder, name, sha256, by=BY, reason=why):
                log.error("the canary %s has ended, and is withdrawn: %s", name, why)
        except InkdigitsError as error:
            if is_first and not (folder and withdrawal_of(folder, sha256)):  # by another worker at the same time
                log.error("the trial of %s has ended: %s; that cannot be recorded: %s", name, why, error)


def _described(recognizer: Recognizer | None) -> dict[str, Any] | None:
    if recognizer is None:
        return None
    return {"name": recognizer.model.name, "version": version_of(recognizer), "sha256": recognizer.model.sha256}


def _lower_priority() -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            log.debug("the priority of the trial's thread cannot be lowered")

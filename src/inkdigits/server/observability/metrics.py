"""Metrics and their text for Prometheus. Any worker can report the totals, as it can read the others' counts.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/. A request costs a few additions in shared memory.
The counts of a worker that died stay, and its successor continues from them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.prediction import CLASSES, ModelInfo, Prediction, Reading
from inkdigits.server.observability.tally import Tally
from inkdigits.server.processes.shared_state import FREE, OPEN, TRIAL, SharedState

__all__ = ["CONTENT_TYPE", "LEFT", "PATH_OF_FEEDBACK", "PATH_OF_REVIEW", "SHED", "Metrics", "route_of", "shown_path"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEFT = 499  # status of a request whose client left before its answer
OTHER = "other"
PATH_OF_FEEDBACK = "/feedback"
PATH_OF_REVIEW = "/review"

ROUTES = (
    *("/predict", "/read", "/v2/infer", PATH_OF_FEEDBACK, PATH_OF_REVIEW),
    *("/v2", "/health", "/ready", "/model", "/metrics", "/docs", "/openapi.json", "page"),
)
STATUSES = (
    *("200", "201", "204", "304"),
    *("400", "401", "403", "404", "405", "408", "409", "410", "413", "415", "422", "429", "431", "499"),
    *("500", "501", "503"),
)
STAGES = ("receive", "decode", "normalise", "network", "read", "total")
# Reasons to reject a request.
SHED = ("queue", "heavy", "buffered", "connections", "rate", "feedback")
QUEUES = ("small", "heavy")
BLANK = "blank"
DIGITS = (*map(str, range(CLASSES)), BLANK)
READINGS = ("accepted", "rejected", BLANK)
FEEDBACK = ("corrected", "confirmed", "repeated")
AUDIT = ("unmarked", "marked", "returned")  # answers to clients that give feedback, and corrections of marked ones

SECONDS = (.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)  # fmt: skip
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
INK = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.5)  # share of the 28×28 image that is ink

_STATUS = {int(status): i for i, status in enumerate((*STATUSES, OTHER)[:-1])}
_ROUTE = {route: i for i, route in enumerate(ROUTES)}
_SHED = {reason: i for i, reason in enumerate(SHED)}


class _Places:
    """Allocates indices in a row."""

    def __init__(self) -> None:
        self.next = FREE

    def take(self, count: int) -> int:
        first, self.next = self.next, self.next + count
        return first


_places = _Places()
_REQUESTS = _places.take(len(ROUTES) * (len(STATUSES) + 1))
_STAGES = {stage: _places.take(len(SECONDS) + 2) for stage in STAGES}  # a histogram: buckets, overflow, sum
_AT_ONCE = _STAGES["receive"]  # the first bucket
_SHEDS = _places.take(len(SHED))
_QUEUES = _places.take(len(QUEUES))
_DIGITS = _places.take(len(DIGITS))
_REFUSALS = _places.take(1)
_CONFIDENCE = _places.take(len(CONFIDENCES) + 2)
_INK = _places.take(len(INK) + 2)
_LOG_DROPPED = _places.take(1)
_READINGS = _places.take(len(READINGS))
_FEEDBACK = _places.take(len(FEEDBACK))
_AUDIT = _places.take(len(AUDIT))
assert _places.next <= TRIAL


def route_of(path: str) -> str:
    """Return the route under which a path is counted: one of a few, whatever clients request."""
    if path in _ROUTE:
        return path
    if path.startswith("/v2/"):
        return "/v2/infer" if path.endswith("/infer") else "/v2"
    if path.startswith(f"{PATH_OF_FEEDBACK}/"):
        return PATH_OF_FEEDBACK
    if path.startswith(f"{PATH_OF_REVIEW}/"):
        return PATH_OF_REVIEW
    return "page"


def shown_path(path: str) -> str:
    """Return a path as logs and traces may show it: the id of a correction, which would remove it, is left out."""
    return f"{PATH_OF_FEEDBACK}/…" if path.startswith(f"{PATH_OF_FEEDBACK}/") else path


class Metrics:
    """Counts for one worker, and reports the totals of all.

    Args:
        worker: number of its row in the shared state.

    Attributes:
        tally: the counts of the trial of a model.
    """

    def __init__(self, shared: SharedState, worker: int = 0) -> None:
        self._shared = shared
        self._worker = worker
        self._row = shared.row(worker)
        self.tally = Tally(shared, worker)
        self._lock = Lock()  # threads count, too, and an addition is a read and a write
        for queue in QUEUES:
            self.queue(queue, 0)  # the queue of the worker before this one died with it
        self.connections(0)

    def request(self, route: str, status: int, seconds: float, *, whole: bool = False) -> None:
        """Count an answered request.

        Args:
            whole: whether it arrived in one piece, and took no time to receive.
        """
        place = _REQUESTS + _ROUTE[route] * (len(STATUSES) + 1) + _STATUS.get(status, len(STATUSES))
        with self._lock:
            self._row[place] += 1
            self._row[_AT_ONCE] += whole
            self._observe(_STAGES["total"], SECONDS, seconds)

    def stage(self, stage: str, seconds: float, requests: int = 1) -> None:
        """Record the time of a stage, for each of the requests that shared it."""
        with self._lock:
            self._observe(_STAGES[stage], SECONDS, seconds, requests)

    def shed(self, reason: str) -> None:
        """Count a request or connection rejected for one of :data:`SHED`."""
        with self._lock:
            self._row[_SHEDS + _SHED[reason]] += 1

    def queue(self, queue: str, length: int) -> None:
        """Record how many requests wait."""
        self._row[_QUEUES + QUEUES.index(queue)] = length

    def connections(self, count: int) -> None:
        """Record how many connections are open."""
        self._shared.set_open(self._worker, count)

    def room(self) -> int:
        """Return how many more connections this worker may accept; see :meth:`SharedState.room`."""
        return self._shared.room(self._worker)

    def must_reload(self) -> bool:
        """Return whether the model must be loaded again; see :meth:`SharedState.must_reload`."""
        return self._shared.must_reload()

    def log_dropped(self, lines: int) -> None:
        """Count dropped log lines."""
        self._row[_LOG_DROPPED] += lines

    def predictions(self, results: Iterable[Prediction | ImageError | Exception]) -> None:
        """Count predictions; errors are skipped."""
        read = [result for result in results if isinstance(result, Prediction)]
        if not read:
            return
        images = np.concatenate([result.image for result in read]).reshape(len(read), -1)
        shares = (np.add.reduce(images, axis=1) / images.shape[1]).tolist()
        row = self._row
        with self._lock:
            for result, share in zip(read, shares, strict=True):
                row[_DIGITS + (CLASSES if result.digit is None else result.digit)] += 1
                row[_REFUSALS] += not result.is_digit
                if result.digit is not None:
                    self._observe(_CONFIDENCE, CONFIDENCES, result.confidence)
                    self._observe(_INK, INK, share)

    def readings(self, results: Iterable[Reading | ImageError]) -> None:
        """Count images that were read for numbers, by what became of them; errors are skipped."""
        with self._lock:
            for result in results:
                if isinstance(result, Reading):
                    outcome = BLANK if result.is_blank else "accepted" if result.is_number else "rejected"
                    self._row[_READINGS + READINGS.index(outcome)] += 1

    def feedback(self, kind: str, audit: bool, *, is_new: bool) -> None:
        """Count a correction that was kept, by its kind; one that came again is counted as repeated."""
        with self._lock:
            self._row[_FEEDBACK + FEEDBACK.index(kind if is_new else "repeated")] += 1
            self._row[_AUDIT + AUDIT.index("returned")] += audit and is_new

    def audit(self, marked: bool) -> None:
        """Count an answer that may be sent back, marked for the audit sample or not."""
        with self._lock:
            self._row[_AUDIT + marked] += 1

    def _observe(self, place: int, bounds: Sequence[float], value: float, times: int = 1) -> None:
        self._row[place + bisect_left(bounds, value)] += times
        self._row[place + len(bounds) + 1] += times * value

    def text(self, model: ModelInfo, version: str) -> bytes:
        """Return the totals of all workers and the model of this one, in Prometheus' text format."""
        total = np.sum([np.asarray(row) for row in self._shared.rows()], axis=0)
        text = "".join(f"{line}\n" for line in _lines(total, model, version, self._shared))
        return text.encode() + self.tally.text()


def _lines(total: np.ndarray, model: ModelInfo, version: str, shared: SharedState) -> Iterator[str]:
    def header(name: str, kind: str, text: str) -> Iterator[str]:
        yield f"# HELP inkdigits_{name} {text}"
        yield f"# TYPE inkdigits_{name} {kind}"

    def counted(name: str, label: str, values: Sequence[str], place: int) -> Iterator[str]:
        for i, value in enumerate(values):
            yield f'inkdigits_{name}{{{label}="{value}"}} {total[place + i]:.0f}'

    def histogram(name: str, labels: str, place: int, bounds: Sequence[float]) -> Iterator[str]:
        counts = np.cumsum(total[place : place + len(bounds) + 1])
        before = f"{labels}," if labels else ""
        for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
            yield f'inkdigits_{name}_bucket{{{before}le="{bound}"}} {count:.0f}'
        around = f"{{{labels}}}" if labels else ""
        yield f"inkdigits_{name}_sum{around} {total[place + len(bounds) + 1]:.9g}"
        yield f"inkdigits_{name}_count{around} {counts[-1]:.0f}"

    yield from header("requests_total", "counter", "Requests answered, by route and status.")
    for i, route in enumerate(ROUTES):
        first = _REQUESTS + i * (len(STATUSES) + 1)
        for j, status in enumerate((*STATUSES, OTHER)):
            if total[first + j]:
                yield f'inkdigits_requests_total{{route="{route}",status="{status}"}} {total[first + j]:.0f}'
    yield from header("request_seconds", "histogram", "Time of a request, by stage; total is all of it.")
    for stage, place in _STAGES.items():
        yield from histogram("request_seconds", f'stage="{stage}"', place, SECONDS)
    yield from header("queue_length", "gauge", "Requests that wait or, if heavy, are in progress.")
    yield from counted("queue_length", "queue", QUEUES, _QUEUES)
    yield from header("connections", "gauge", "Open connections.")
    yield f"inkdigits_connections {total[OPEN]:.0f}"
    yield from header("shed_total", "counter", "Requests and connections rejected, by reason.")
    yield from counted("shed_total", "reason", SHED, _SHEDS)
    yield from header("log_dropped_total", "counter", "Log lines dropped, as standard error was too slow.")
    yield f"inkdigits_log_dropped_total {total[_LOG_DROPPED]:.0f}"
    yield from header("predictions_total", "counter", "Predictions, by digit.")
    yield from counted("predictions_total", "digit", DIGITS, _DIGITS)
    yield from header("refusals_total", "counter", "Predictions that are not a digit, blank or not.")
    yield f"inkdigits_refusals_total {total[_REFUSALS]:.0f}"
    yield from header("readings_total", "counter", "Images read for numbers; accepted: each number was.")
    yield from counted("readings_total", "outcome", READINGS, _READINGS)
    yield from header("feedback_total", "counter", "Corrections kept, by kind; repeated: sent again with the same key.")
    yield from counted("feedback_total", "kind", FEEDBACK, _FEEDBACK)
    yield from header(
        "audit_total", "counter", "Answers with a prediction id, marked for the audit or not; returned: kept."
    )
    yield from counted("audit_total", "answer", AUDIT, _AUDIT)
    yield from header("confidence", "histogram", "Confidence of the predicted digits.")
    yield from histogram("confidence", "", _CONFIDENCE, CONFIDENCES)
    yield from header("ink", "histogram", "Share of the normalized image that is ink.")
    yield from histogram("ink", "", _INK, INK)
    yield from header("model_info", "gauge", "The model in use.")
    labels = {"name": model.name, "version": version, "sha256": model.sha256}
    listed = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    yield f"inkdigits_model_info{{{listed}}} 1"
    if baseline := _baseline(model.entry):
        yield from header("baseline", "gauge", "Mean confidence, ink and rejections on the validation images.")
        for name, value in baseline.items():
            yield f'inkdigits_baseline{{statistic="{name}"}} {value:.6g}'
    yield from header("workers", "gauge", "Configured number of worker processes.")
    yield f"inkdigits_workers {shared.workers}"


def _baseline(entry: Mapping[str, object]) -> dict[str, float]:
    """Return the figures in a registry entry that drift is measured against, if it has them."""
    metrics = entry.get("metrics")
    validation = metrics.get("validation") if isinstance(metrics, Mapping) else None
    if not isinstance(validation, Mapping):
        return {}
    found = {name: validation.get(name) for name in ("confidence", "ink", "refusals")}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""What the service counts, and its text for Prometheus: right across workers, as each can read the others' counts.

The form: https://prometheus.io/docs/instrumenting/exposition_formats/. A request costs a few additions in shared
memory. Numbers of a worker that died stay, and its successor counts on from them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.prediction import CLASSES, ModelInfo, Prediction
from inkdigits.server.processes.shared_state import FREE, OPEN, ROW, Board

__all__ = ["CONTENT_TYPE", "LEFT", "SHED", "Metrics", "route_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEFT = 499  # counted as the status of a request whose client left before its answer
OTHER = "other"

ROUTES = ("/predict", "/v2/infer", "/v2", "/health", "/ready", "/model", "/metrics", "/docs", "/openapi.json", "page")
STATUSES = (
    *("200", "304"),
    *("400", "401", "404", "405", "408", "413", "415", "422", "429", "431", "499"),
    *("500", "501", "503"),
)
STAGES = ("receive", "decode", "normalise", "network", "total")
# Why a request was turned away.
SHED = ("queue", "heavy", "buffered", "connections", "rate")
QUEUES = ("small", "heavy")
BLANK = "blank"
DIGITS = (*map(str, range(CLASSES)), BLANK)

SECONDS = (.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)  # fmt: skip
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
INK = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.5)  # share of the 28×28 that is ink

_STATUS = {int(status): i for i, status in enumerate((*STATUSES, OTHER)[:-1])}
_ROUTE = {route: i for i, route in enumerate(ROUTES)}
_SHED = {reason: i for i, reason in enumerate(SHED)}


class _Places:
    """Hands out places in a row."""

    def __init__(self) -> None:
        self.next = FREE

    def take(self, count: int) -> int:
        first, self.next = self.next, self.next + count
        return first


_places = _Places()
_REQUESTS = _places.take(len(ROUTES) * (len(STATUSES) + 1))
_STAGES = {stage: _places.take(len(SECONDS) + 2) for stage in STAGES}  # a histogram: buckets, those beyond, the sum
_AT_ONCE = _STAGES["receive"]  # the first bucket
_SHEDS = _places.take(len(SHED))
_QUEUES = _places.take(len(QUEUES))
_DIGITS = _places.take(len(DIGITS))
_REFUSALS = _places.take(1)
_CONFIDENCE = _places.take(len(CONFIDENCES) + 2)
_INK = _places.take(len(INK) + 2)
_LOG_DROPPED = _places.take(1)
assert _places.next <= ROW


def route_of(path: str) -> str:
    """A path's route as it is counted: one of a few, whatever clients ask for."""
    if path in _ROUTE:
        return path
    if path.startswith("/v2/"):
        return "/v2/infer" if path.endswith("/infer") else "/v2"
    return "page"


class Metrics:
    """The counts of one worker, and the text of all.

    Args:
        worker: whose row of the board this is.
    """

    def __init__(self, board: Board, worker: int = 0) -> None:
        self._board = board
        self._worker = worker
        self._row = board.row(worker)
        self._lock = Lock()  # the threads of large work count too, and an addition is a read and a write
        for queue in QUEUES:
            self.queue(queue, 0)  # what a worker before this one had waiting died with it
        self.connections(0)

    def request(self, route: str, status: int, seconds: float, *, whole: bool = False) -> None:
        """Count a request that has its answer.

        Args:
            whole: whether it came in one piece, and took no time to receive.
        """
        place = _REQUESTS + _ROUTE[route] * (len(STATUSES) + 1) + _STATUS.get(status, len(STATUSES))
        with self._lock:
            self._row[place] += 1
            self._row[_AT_ONCE] += whole
            self._observe(_STAGES["total"], SECONDS, seconds)

    def stage(self, stage: str, seconds: float, requests: int = 1) -> None:
        """Note how long a stage of this many requests took each of them."""
        with self._lock:
            self._observe(_STAGES[stage], SECONDS, seconds, requests)

    def shed(self, reason: str) -> None:
        """Count a request or connection that was turned away for one of :data:`SHED`."""
        self._row[_SHEDS + _SHED[reason]] += 1

    def queue(self, queue: str, length: int) -> None:
        """Note how many requests wait."""
        self._row[_QUEUES + QUEUES.index(queue)] = length

    def connections(self, count: int) -> None:
        """Note how many connections are open."""
        self._board.set_open(self._worker, count)

    def room(self) -> int:
        """How many connections more this worker may take; see :meth:`Board.room`."""
        return self._board.room(self._worker)

    def log_dropped(self, lines: int) -> None:
        """Count lines of the log that were dropped."""
        self._row[_LOG_DROPPED] += lines

    def predictions(self, results: Iterable[Prediction | ImageError | Exception]) -> None:
        """Count what was read; images that could not be are left out."""
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

    def _observe(self, place: int, bounds: Sequence[float], value: float, times: int = 1) -> None:
        self._row[place + bisect_left(bounds, value)] += times
        self._row[place + len(bounds) + 1] += times * value

    def text(self, model: ModelInfo, version: str) -> bytes:
        """All workers' counts together, and the model of this one."""
        total = np.sum([np.asarray(row) for row in self._board.rows()], axis=0)
        return "".join(f"{line}\n" for line in _lines(total, model, version, self._board)).encode()


def _lines(total: np.ndarray, model: ModelInfo, version: str, board: Board) -> Iterator[str]:
    def told(name: str, kind: str, text: str) -> Iterator[str]:
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

    yield from told("requests_total", "counter", "Requests answered, by route and status.")
    for i, route in enumerate(ROUTES):
        first = _REQUESTS + i * (len(STATUSES) + 1)
        for j, status in enumerate((*STATUSES, OTHER)):
            if total[first + j]:
                yield f'inkdigits_requests_total{{route="{route}",status="{status}"}} {total[first + j]:.0f}'
    yield from told("request_seconds", "histogram", "Time of a request, by stage; total is all of it.")
    for stage, place in _STAGES.items():
        yield from histogram("request_seconds", f'stage="{stage}"', place, SECONDS)
    yield from told("queue_length", "gauge", "Requests that wait or, if heavy, are worked on.")
    yield from counted("queue_length", "queue", QUEUES, _QUEUES)
    yield from told("connections", "gauge", "Connections that are open.")
    yield f"inkdigits_connections {total[OPEN]:.0f}"
    yield from told("shed_total", "counter", "Requests and connections turned away, by reason.")
    yield from counted("shed_total", "reason", SHED, _SHEDS)
    yield from told("log_dropped_total", "counter", "Log lines dropped, as standard error took them too slowly.")
    yield f"inkdigits_log_dropped_total {total[_LOG_DROPPED]:.0f}"
    yield from told("predictions_total", "counter", "Images read, by digit.")
    yield from counted("predictions_total", "digit", DIGITS, _DIGITS)
    yield from told("refusals_total", "counter", "Images read that show no digit.")
    yield f"inkdigits_refusals_total {total[_REFUSALS]:.0f}"
    yield from told("confidence", "histogram", "Confidence of the digits read.")
    yield from histogram("confidence", "", _CONFIDENCE, CONFIDENCES)
    yield from told("ink", "histogram", "Share of the normalised image that is ink.")
    yield from histogram("ink", "", _INK, INK)
    yield from told("model_info", "gauge", "The model that answers.")
    labels = {"name": model.name, "version": version, "sha256": model.sha256}
    listed = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    yield f"inkdigits_model_info{{{listed}}} 1"
    if baseline := _baseline(model.entry):
        yield from told("baseline", "gauge", "What confidence, ink and refusals were on average on validation.")
        for name, value in baseline.items():
            yield f'inkdigits_baseline{{statistic="{name}"}} {value:.6g}'
    yield from told("workers", "gauge", "Worker processes there should be.")
    yield f"inkdigits_workers {board.workers}"


def _baseline(entry: Mapping[str, object]) -> dict[str, float]:
    """The figures of a registry's entry that drift is told by; those that it has."""
    metrics = entry.get("metrics")
    validation = metrics.get("validation") if isinstance(metrics, Mapping) else None
    if not isinstance(validation, Mapping):
        return {}
    found = {name: validation.get(name) for name in ("confidence", "ink", "refusals")}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

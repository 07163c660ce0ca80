"""The counts of the trial of a model, in memory shared by all workers, and their text for Prometheus.

Each reload of the server begins a new count, under the next number, in all workers. A worker that is restarted
continues the count, so that nothing that was found out is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from threading import Lock

from inkdigits.server.comparison import BOUNDS, Counts
from inkdigits.server.processes.shared_state import TRIAL, TRIAL_NUMBERS, SharedState

__all__ = ["UNAVAILABLE", "Tally"]

UNAVAILABLE = "unavailable"  # a reason for the end of a trial, in addition to the bounds: it never began
REASONS = (*BOUNDS, UNAVAILABLE)
OUTCOMES = ("agree", "differ", "reference_only", "candidate_only", "failed")
SIDES = ("reference", "candidate")

# Places in a worker's row: the number of the count, 1 + the reason for its end, the fields of Counts, and these.
_NUMBER, _ENDED, _COUNTS = TRIAL, TRIAL + 1, TRIAL + 2
_NAMES = [field.name for field in fields(Counts)]
_ANSWERED, _DROPPED, _SECONDS = (_COUNTS + len(_NAMES) + i for i in range(3))
assert _SECONDS < TRIAL + TRIAL_NUMBERS


class Tally:
    """Counts for one worker, and reports the totals of all.

    Args:
        worker: number of its row in the shared state.
    """

    def __init__(self, shared: SharedState, worker: int = 0) -> None:
        self._shared = shared
        self._row = shared.row(worker)
        self._lock = Lock()
        number = max(row[_NUMBER] for row in shared.rows())
        if self._row[_NUMBER] != number:
            self._begin(number)

    def renew(self) -> None:
        """Begin a new count."""
        self._begin(self._row[_NUMBER] + 1)

    def _begin(self, number: float) -> None:
        with self._lock:
            self._row[TRIAL : TRIAL + TRIAL_NUMBERS] = memoryview(bytearray(8 * TRIAL_NUMBERS)).cast("d")
            self._row[_NUMBER] = number

    def add(self, counts: Counts, *, answered: int = 0, dropped: int = 0, seconds: float = 0.0) -> None:
        """Count images.

        Args:
            answered: requests that were given to the candidate; ``dropped``: images that were not compared, as too many
                waited; ``seconds``: of CPU time for the comparison.
        """
        row = self._row
        with self._lock:
            for place, name in enumerate(_NAMES, _COUNTS):
                row[place] += getattr(counts, name)
            row[_ANSWERED] += answered
            row[_DROPPED] += dropped
            row[_SECONDS] += seconds

    def end(self, reason: str) -> None:
        """Record in all workers why the trial ended: one of :data:`REASONS`."""
        self._row[_ENDED] = 1 + REASONS.index(reason)

    @property
    def ended(self) -> str:
        """Why the trial ended, in any worker; "" if it did not."""
        ended = max(row[_ENDED] for row in self._rows())
        return REASONS[int(ended) - 1] if ended else ""

    @property
    def counts(self) -> Counts:
        """The totals of all workers."""
        return Counts(*(self._total(place) for place in range(_COUNTS, _COUNTS + len(_NAMES))))

    @property
    def answered(self) -> int:
        """Requests that were given to the candidate."""
        return int(self._total(_ANSWERED))

    @property
    def dropped(self) -> int:
        """Images that were not compared, as too many waited."""
        return int(self._total(_DROPPED))

    def _rows(self) -> list[memoryview[float]]:
        number = self._row[_NUMBER]
        return [row for row in self._shared.rows() if row[_NUMBER] == number]

    def _total(self, place: int) -> float:
        return sum(row[place] for row in self._rows())

    def text(self) -> bytes:
        """Return the totals of all workers in Prometheus' text format."""
        return "".join(f"{line}\n" for line in self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        def header(name: str, kind: str, text: str) -> Iterator[str]:
            yield f"# HELP inkdigits_trial_{name} {text}"
            yield f"# TYPE inkdigits_trial_{name} {kind}"

        counts, ended = asdict(self.counts), self.ended
        yield from header("images_total", "counter", "Images for both models of a trial, by outcome.")
        for outcome in OUTCOMES:
            yield f'inkdigits_trial_images_total{{outcome="{outcome}"}} {counts[outcome]:.0f}'
        yield from header("rejected_total", "counter", "Compared images that were rejected, by model.")
        for side in SIDES:
            yield f'inkdigits_trial_rejected_total{{model="{side}"}} {counts[f"rejected_{side}"]:.0f}'
        yield from header("answers_total", "counter", "Requests that were given to the canary.")
        yield f"inkdigits_trial_answers_total {self.answered}"
        yield from header("dropped_total", "counter", "Images that were not compared, as too many waited.")
        yield f"inkdigits_trial_dropped_total {self.dropped}"
        yield from header("seconds_total", "counter", "CPU time of the comparison.")
        yield f"inkdigits_trial_seconds_total {self._total(_SECONDS):.9g}"
        yield from header("crossed", "gauge", "Whether the trial ended, or a shadow is worse, by reason.")
        for reason in REASONS:
            yield f'inkdigits_trial_crossed{{reason="{reason}"}} {int(reason == ended)}'

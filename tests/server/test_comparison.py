"""The evidence that one model is worse: right by another computation, and rarely wrong, however often looked at."""

from math import exp, log

import numpy as np
import pytest

from inkdigits.prediction import Prediction
from inkdigits.server.comparison import ALPHA, BOUNDS, MIN_IMAGES, STAKES, Bounds, Counts, counts_of, evidence
from inkdigits.server.observability.tally import Tally
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.settings import Settings

BOUNDS_OF_TESTS = Bounds(failures=0.01, rejected=0.05, agreement=0.9)
ENOUGH = log(len(BOUNDS) / ALPHA)


@pytest.mark.parametrize(("bound", "low"), [(0.05, -1), (0.1, 0), (0.01, 0), (0.5, -1)])
def test_the_evidence_is_the_capital_of_a_gambler_who_bets_one_image_after_the_other(bound, low):
    numbers = np.random.default_rng(1).choice([-1, 0, 1] if low else [0, 1], size=60)
    capitals = [1.0 / len(STAKES)] * len(STAKES)
    for number in numbers.tolist():
        for i, stake in enumerate(STAKES):
            capitals[i] *= 1 + stake / (bound - low) * (number - bound)
    up, down = int((numbers == 1).sum()), int((numbers == -1).sum())
    assert exp(evidence(up, down, len(numbers), bound, low=low)) == pytest.approx(sum(capitals))


@pytest.mark.parametrize(("bound", "chances"), [(0.05, (0.1, 0.05, 0.85)), (0.05, (0.05, 0.0, 0.95))])
def test_a_model_at_the_bound_counts_as_worse_in_one_case_of_a_hundred(bound, chances):
    """Looked at after each ten of 3,000 images, in 500 cases."""
    draws = np.random.default_rng(0).choice([1, -1, 0], p=chances, size=(500, 3000))
    ups, downs = (np.cumsum(draws == value, axis=1)[:, 9::10] for value in (1, -1))
    alarms = sum(
        any(
            evidence(up, down, 10 * (i + 1), bound, low=-1) >= ENOUGH
            for i, (up, down) in enumerate(zip(*rows, strict=True))
        )
        for rows in zip(ups.tolist(), downs.tolist(), strict=True)
    )
    assert alarms <= 0.01 * len(draws)


def test_a_bad_model_is_found_soon():
    crossed = [
        next(n for n in range(10, 5000, 10) if evidence(0.2 * n, 0, n, 0.05, low=-1) >= ENOUGH),
        next(n for n in range(10, 5000, 10) if evidence(0.9 * n, 0, n, 0.1) >= ENOUGH),
    ]
    assert crossed[0] <= 200
    assert crossed[1] <= MIN_IMAGES


def test_no_bound_is_crossed_by_a_few_images():
    few = Counts(failed=MIN_IMAGES - 1)
    assert BOUNDS_OF_TESTS.crossed(few) == ""
    assert BOUNDS_OF_TESTS.crossed(Counts(failed=MIN_IMAGES)) == "failures"


@pytest.mark.parametrize(
    ("counts", "name", "said"),
    [
        (Counts(agree=900, failed=60), "failures", "it failed on 60 of 960 images, and may on 1.0% at most"),
        (
            Counts(agree=800, reference_only=180, candidate_only=20, rejected_reference=60, rejected_candidate=220),
            "rejected",
            "it rejects 22.0% of 1,000 images and the other model 6.0%; it may reject 5.0% more",
        ),
        (
            Counts(agree=700, differ=300),
            "agreement",
            "both models read 70.0% of 1,000 images the same; it must be 90.0% at least",
        ),
        (Counts(agree=980, differ=10, reference_only=10), "", ""),
        (Counts(agree=900, reference_only=50, candidate_only=50), "", ""),  # as many more as less
    ],
)
def test_a_crossed_bound_is_told_with_its_numbers(counts, name, said):
    assert BOUNDS_OF_TESTS.crossed(counts) == name
    assert not name or BOUNDS_OF_TESTS.explain(name, counts) == said


def test_bounds_can_be_switched_off():
    bounds = Bounds.of(Settings(trial_failures=1.0, trial_rejected=1.0, trial_agreement=0.0))
    assert bounds.crossed(Counts(failed=1000, differ=1000, reference_only=1000)) == ""


def read(digit, accepted=True):
    return Prediction(digit, 0.9, (0.1,) * 10, np.zeros((28, 28), np.float32), None, None, accepted, None)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        (read(3), read(3), Counts(agree=1)),
        (read(3), read(4), Counts(differ=1)),
        (read(3), read(3, False), Counts(reference_only=1, rejected_candidate=1)),
        (read(3, False), read(3), Counts(candidate_only=1, rejected_reference=1)),
        (read(3, False), read(4, False), Counts(agree=1, rejected_reference=1, rejected_candidate=1)),
    ],
)
def test_what_became_of_an_image(reference, candidate, expected):
    assert counts_of(reference, candidate) == expected


def test_counts_are_those_of_all_workers_until_the_next_reload():
    shared = SharedState(2)
    first, second = Tally(shared, 0), Tally(shared, 1)
    first.add(Counts(agree=2), answered=1)
    second.add(Counts(agree=1, differ=1), dropped=3)
    assert (first.counts, first.answered, first.dropped) == (Counts(agree=3, differ=1), 1, 3)
    first.end("rejected")
    assert second.ended == "rejected"
    assert Tally(shared, 1).counts.agree == 3  # a worker that is restarted goes on
    first.renew()
    assert (first.counts, first.ended) == (Counts(), "")
    assert second.counts.agree == 1  # it was told later, and has a count of its own so long
    second.renew()
    second.add(Counts(differ=1))
    assert first.counts == Counts(differ=1)
    shared.row(1)[:] = memoryview(bytearray(8 * len(shared.row(1)))).cast("d")
    assert Tally(shared, 1).counts == Counts()  # of the count that is under way

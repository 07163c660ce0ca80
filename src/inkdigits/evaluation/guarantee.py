"""Find the confidence from which a model's answers may be relied on: at most a given share of them is wrong.

A threshold that is chosen on the pictures that it is checked with is too good to be true about half of the time. Here
the thresholds to try are fixed before a picture is read, and are tested from the strictest down, each against "more
than the share is wrong" at the level 1 - confidence. The first that fails ends the test, so that the promise fails with
at most that probability, however many are tried (fixed-sequence testing). Each test is exact: with k wrong answers of
n, P(Binomial(n, error) ≤ k), which is to say that the Clopper-Pearson bound is at most the error.

A. Angelopoulos et al., Learn then Test, Annals of Applied Statistics 19(2), 2025, https://arxiv.org/abs/2110.01052
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy.special import bdtr
from scipy.stats import beta

import inkdigits
from inkdigits.data.dataset import Dataset
from inkdigits.errors import DataError, ImageError, SettingError
from inkdigits.evaluation.evaluate import Answers, read_answers
from inkdigits.network import shipped_network
from inkdigits.preprocess import NORMALIZATION_VERSION
from inkdigits.profile import Profile
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer

__all__ = ["Certificate", "Guarantee", "certify", "fewest", "guarantee", "last_passed", "one_per_writer", "thresholds"]

STEP = 1.12  # factor between the distances of two thresholds from 1; about 120 of them from 1e-6 to 0.7
LOOSEST = 0.9  # distance from 1: a digit has a confidence of at least 0.1, so that this accepts all
ERRORS = (1e-5, 0.5)  # smallest and largest share of wrong answers that can be asked for
CONFIDENCES = (0.5, 1 - 1e-9)
ENOUGH = 5  # times the fewest pictures, with which most of the answers can usually be promised
MORE = 1.1  # factor between two numbers of pictures that are tried for a message
WRITER_SEED = 0  # of which picture of a writer is taken; fixed, so that nobody draws until it suits


@dataclass(frozen=True)
class Certificate:
    """Result of :func:`certify`.

    Attributes:
        threshold: confidence from which the answers are sure; None if no threshold can be promised.
        n: answers in all.
        accepted: those at or above the threshold, or, without one, at or above the first that was tested.
        wrong: of those, the wrong ones.
        first: the first threshold that was tested.
    """

    threshold: float | None
    n: int
    accepted: int
    wrong: int
    first: float


@dataclass(frozen=True)
class Guarantee:
    """Result of :func:`guarantee`.

    Attributes:
        profile: the threshold with all that it was found with.
        bound: upper bound of the share of wrong answers at the profile's confidence, at most its error.
        unreadable: title and error of each picture that could not be read.
    """

    profile: Profile
    bound: float
    unreadable: Sequence[tuple[str, ImageError]]

    @property
    def answered(self) -> float:
        """Share of the pictures whose answer is sure."""
        return self.profile.accepted / self.profile.n

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        unreadable = [{"title": title, "error": str(error)} for title, error in self.unreadable]
        return {**asdict(self.profile), "answered": self.answered, "bound": self.bound, "unreadable": unreadable}

    def table(self) -> str:
        """Format for a terminal, in lines of at most 80 characters."""
        p = self.profile
        by = "" if p.writers is None else f" by {p.writers:,} writer{'s' * (p.writers != 1)}"
        return "\n".join(
            [
                f"{p.model} on {p.data}: {p.n:,} pictures{by}",
                f"threshold   {p.threshold:9.6f}   confidence from which an answer is sure",
                f"answered    {self.answered:9.2%}   {p.accepted:,} of {p.n:,} pictures have a sure answer",
                f"wrong       {p.wrong / p.accepted:9.2%}   {p.wrong:,} of these {p.accepted:,}",
                f"promised    {p.error:9.2%}   at most this share is wrong, with {_share(p.confidence)} confidence",
            ]
        )


def thresholds(error: float) -> np.ndarray:
    """Return the thresholds to test, (T,) float64 falling from ``1 - error / 2``; they depend on nothing else."""
    steps = math.ceil(math.log(2 * LOOSEST / error) / math.log(STEP))
    distances = np.minimum(error / 2 * STEP ** np.arange(steps + 1), LOOSEST)
    found: np.ndarray = 1 - distances
    return found


def last_passed(accepted: np.ndarray, wrong: np.ndarray, *, error: float, confidence: float) -> int:
    """Return the index of the last threshold of the first unbroken run that passes; -1 if the first one fails.

    Args:
        accepted: (T,) int, answers at or above each threshold.
        wrong: (T,) int, those of them that are wrong.
    """
    # Without an answer nothing is shown; bdtr(0, 0, error) is 1.
    failed = np.flatnonzero(bdtr(wrong, accepted, error) > 1 - confidence)
    return int(failed[0]) - 1 if len(failed) else len(accepted) - 1


def certify(answers: Answers, labels: np.ndarray, *, error: float, confidence: float) -> Certificate:
    """Find the lowest threshold at which at most ``error`` of the sure answers are wrong.

    Args:
        answers: to pictures that are independent of each other and of the model's training, (N,).
        labels: (N,) int, 0 to 9.
        error: share of wrong answers, 0 to 1.
        confidence: probability of the promise, 0 to 1.
    """
    grid = thresholds(error)
    scores = np.where(answers.accepted, answers.confidences, -np.inf)
    is_wrong = answers.digits != labels

    def at_or_above(of: np.ndarray) -> np.ndarray:
        counts: np.ndarray = len(of) - np.searchsorted(np.sort(of), grid, side="left")
        return counts

    accepted, wrong = at_or_above(scores), at_or_above(scores[is_wrong])
    last = last_passed(accepted, wrong, error=error, confidence=confidence)
    at = max(last, 0)
    threshold = float(grid[last]) if last >= 0 else None
    return Certificate(threshold, len(scores), int(accepted[at]), int(wrong[at]), float(grid[0]))


def fewest(error: float, confidence: float) -> int:
    """Return the fewest pictures with which the promise can be made: all answered, and none of them wrong."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-error))


def one_per_writer(dataset: Dataset) -> Dataset:
    """Return one random picture of each writer, always the same, in the order of the data."""
    assert dataset.writers is not None
    # As in inkdigits.data.dataset.stratified: RandomState's stream is frozen.
    order = np.random.RandomState(WRITER_SEED).permutation(len(dataset))
    _, first = np.unique(dataset.writers[order], return_index=True)
    return dataset.take(np.sort(order[first]))


def guarantee(
    recognizer: Recognizer,
    dataset: Dataset,
    *,
    error: float,
    confidence: float,
    same_writers: bool = False,
    progress: Progress | None = None,
) -> Guarantee:
    """Find the threshold of a model on labeled pictures like those that it will read.

    Args:
        recognizer: the model.
        dataset: pictures that it was not trained on. With writers, one picture of each is taken, as those of one
            writer are alike; without, the pictures must be independent.
        error: largest share of wrong answers among the sure ones.
        confidence: probability that this holds.
        same_writers: the pictures to come are by the writers of the data and by nobody else; take all their pictures.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Raises:
        SettingError: ``error`` or ``confidence`` is out of bounds.
        DataError: there are too few pictures, or too many of them are read wrong, for the promise.
    """
    for name, value, (low, high) in (("error", error, ERRORS), ("confidence", confidence, CONFIDENCES)):
        if not low <= value <= high:
            raise SettingError(f"{name} must be from {low:.10g} to {high:.10g}, such as 0.01 for 1%, not {value:.10g}")
    writers = None if dataset.writers is None else len(np.unique(dataset.writers))
    whole = len(dataset)
    if writers is not None and not same_writers:
        dataset = one_per_writer(dataset)
    needed = fewest(error, confidence)
    if len(dataset) < needed:
        raise DataError(_too_few(whole, len(dataset), needed, error, confidence))
    answers, unreadable = read_answers(recognizer, dataset, progress)
    labels = np.delete(dataset.labels, [at for at, _ in unreadable])
    found = certify(answers, labels, error=error, confidence=confidence)
    if found.threshold is None:
        raise DataError(_none_holds(found, error, confidence))
    profile = Profile(
        model=recognizer.model.name,
        sha256=recognizer.model.sha256,
        ink_sha256=shipped_network("ink")[1],
        normalization=NORMALIZATION_VERSION,
        threshold=found.threshold,
        error=error,
        confidence=confidence,
        n=found.n,
        accepted=found.accepted,
        wrong=found.wrong,
        writers=writers,
        data=dataset.name,
        data_sha256=dict(dataset.sha256),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        inkdigits=inkdigits.__version__,
    )
    bound = float(beta.ppf(confidence, found.wrong + 1, found.accepted - found.wrong))
    return Guarantee(profile, bound, [(dataset.title(at), each) for at, each in unreadable])


def _too_few(whole: int, n: int, needed: int, error: float, confidence: float) -> str:
    promise = f"{_share(error)} at {_share(confidence)} confidence"
    need = f"{promise} needs at least {needed:,}, all read right, and about {ENOUGH * needed:,} to answer most pictures"
    if n == whole:
        return f"{n:,} pictures are too few: {need}"
    return (
        f"{n:,} writers are too few: {need}, each by another writer; or take all {whole:,} pictures with "
        "--same-writers, for a promise about these writers alone"
    )


def _none_holds(found: Certificate, error: float, confidence: float) -> str:
    n, wrong, promise = found.accepted, found.wrong, f"{_share(error)} at {_share(confidence)} confidence"
    sure = f"{n:,} have a confidence of {found.first:.6g} or more"
    seen = f"of {found.n:,} pictures, {sure}, and {wrong:,} of these are wrong"
    if n and wrong / n < error:
        times = MORE
        while bdtr(round(times * wrong), round(times * n), error) > 1 - confidence:
            times *= MORE
        need = f"with such answers it takes about {round(times * found.n):,} pictures"
        return f"no threshold keeps {promise}: {seen}; {need}"
    if not n:
        return f"no threshold keeps {promise}: {seen}; allow a larger --error"
    return f"no threshold keeps {promise}: {seen}; no number of such pictures is enough: allow a larger --error"


def _share(share: float) -> str:
    return f"{100 * share:.10g}%"

"""The gate: whether a challenger may replace the champion, by what both answer to the same pictures.

The challenger must be better on the *audit*, a random sample of what was answered, labeled whether right or wrong; and
not worse on fixed *validation* sets, non-digits included, as well calibrated, and as fast. Pictures that somebody
corrected are no audit: as the champion misread them all, any other model looks better on them.

"Better" is tested twice, by pictures and by users, at a level that shrinks with each try on the same audit. "Not worse"
is an upper bound under a margin, as no test can show that two models are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inkdigits.data.dataset import NON_DIGIT
from inkdigits.errors import DataError
from inkdigits.evaluation.evaluate import Answers, calibration_error
from inkdigits.evaluation.paired import level, mcnemar, sign_flip, upper_loss
from inkdigits.preprocess import ImageSource

__all__ = ["ALPHA", "NON_DIGIT", "Check", "Contender", "Paired", "Sample", "Verdict", "judge", "margin_of"]

ALPHA = 0.05  # probability that an equal challenger passes the tests of the audit, over all tries
MIN_PICTURES = 1000  # of the audit: then a challenger with half of 4% mistakes passes in 80 to 98 of 100 cases
MIN_USERS = 50  # of the audit
MIN_GAIN = 0.005  # of the audit's pictures, net; a smaller gain is not worth a change
BOUND = 0.95  # confidence of the bound on what is lost on a validation set
# Share of a validation set with this many pictures that may be lost, by the bound: a smaller set cannot show less.
MARGINS = ((10_000, 0.002), (2000, 0.003))
NON_DIGIT_MARGIN = 0.01  # likewise of non-digits, whose scores are near the threshold more often
CALIBRATION_MARGIN = 0.005  # by which the calibration error may grow on a validation set
AUDIT_CALIBRATION_MARGIN = 0.01  # likewise on the audit, which is smaller
SLOWDOWN = 1.25  # times the champion's time per picture


@dataclass(frozen=True)
class Contender:
    """One of the two models.

    Attributes:
        name: of the model.
        sha256: of its file.
        us: median time of a picture, in microseconds, measured as for the other model.
    """

    name: str
    sha256: str
    us: float


@dataclass(frozen=True, eq=False)
class Sample:
    """N labeled pictures, and what both models answer to them.

    Attributes:
        name: of the pictures.
        labels: (N,) int, 0 to 9, or NON_DIGIT.
        champion, challenger: their answers.
        sha256: hash of the pictures and labels, by which later tries on them are known.
        sources: (N,) text, where each picture is from, such as "page"; None: from one source.
        titles: name of each picture, for the record; None: its number.
        images: the pictures, for the record; None where they are not kept.
        users: (N,) text, who sent each picture; an audit needs them.
    """

    name: str
    labels: np.ndarray
    champion: Answers
    challenger: Answers
    sha256: str = ""
    sources: np.ndarray | None = None
    titles: Sequence[str] | None = None
    images: Sequence[ImageSource] | np.ndarray | None = None
    users: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which pictures each model answers right, (N,) bool for the champion and the challenger.

        A digit is to be accepted and read as its label, a non-digit is to be rejected.
        """
        is_digit = self.labels != NON_DIGIT

        def of(answers: Answers) -> np.ndarray:
            return np.where(is_digit, answers.accepted & (answers.digits == self.labels), ~answers.accepted)

        return of(self.champion), of(self.challenger)

    def calibration_errors(self) -> tuple[float, float] | None:
        """Return the calibration error of each model on the digits; None where there are none."""
        at = self.labels != NON_DIGIT
        if not at.any():
            return None
        champion, challenger = (
            calibration_error(each.confidences[at], each.digits[at] == self.labels[at])
            for each in (self.champion, self.challenger)
        )
        return champion, challenger


@dataclass(frozen=True)
class Paired:
    """How two models differ on pictures.

    Attributes:
        name: of the pictures: a set, a digit or a source.
        n: pictures.
        champion, challenger: how many of them each answers right.
        fixed: how many the challenger alone answers right.
        broken: how many the champion alone answers right.
    """

    name: str
    n: int
    champion: int
    challenger: int
    fixed: int
    broken: int

    @classmethod
    def of(cls, name: str, champion: np.ndarray, challenger: np.ndarray) -> Paired:
        """Count the pictures that each answers right, (N,) bool."""
        fixed, broken = int((challenger & ~champion).sum()), int((champion & ~challenger).sum())
        return cls(name, len(champion), int(champion.sum()), int(challenger.sum()), fixed, broken)

    @property
    def gain(self) -> float:
        """Share of the pictures that is answered right in addition, net; negative where it is less."""
        return (self.fixed - self.broken) / max(self.n, 1)


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        name: what is asked for.
        passed: whether it is met.
        value: what was found.
        limit: what it must be: at most this, or at least.
        at_least: whether the limit is the smallest value that passes.
        unit: of both: "p", "share", "points" for a share that can be negative, or "times".
    """

    name: str
    passed: bool
    value: float
    limit: float
    at_least: bool
    unit: str


@dataclass(frozen=True)
class Verdict:
    """Result of :func:`judge`.

    Attributes:
        champion, challenger: the models.
        checks: all conditions; the challenger passes if all are met.
        audit: how they differ on the audit.
        users: of the audit.
        user_gains: pairs of a net gain in pictures and how many users have it, the gain rising.
        level: that both tests had.
        earlier: tries on the same audit before this one.
        validation: how they differ on each validation set.
        calibration: calibration errors of both on each set with digits, the audit first.
        by_digit, by_source: how they differ on the parts of the audit.
        fixed, broken: indices of the audit's pictures, the most confident answer of the challenger first.
    """

    champion: Contender
    challenger: Contender
    checks: tuple[Check, ...]
    audit: Paired
    users: int
    user_gains: tuple[tuple[int, int], ...]
    level: float
    earlier: int
    validation: tuple[Paired, ...]
    calibration: Mapping[str, tuple[float, float]]
    by_digit: tuple[Paired, ...]
    by_source: tuple[Paired, ...]
    fixed: tuple[int, ...]
    broken: tuple[int, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may replace the champion."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {"passed": self.passed, **asdict(self)}


def margin_of(sample: Sample) -> float:
    """Return the share of a validation set that may be lost.

    Raises:
        DataError: it has too few pictures to show that little is lost.
    """
    needed = MARGINS[-1][0]
    if len(sample) < needed:
        raise DataError(
            f"the validation set {sample.name} has {len(sample):,} pictures; at least {needed:,} are needed to show "
            "that nothing is lost"
        )
    if not (sample.labels != NON_DIGIT).any():
        return NON_DIGIT_MARGIN
    return next(margin for n, margin in MARGINS if len(sample) >= n)


def judge(
    champion: Contender, challenger: Contender, audit: Sample, validation: Sequence[Sample], *, earlier: int = 0
) -> Verdict:
    """Decide whether a challenger may replace the champion.

    Args:
        champion: the model in use.
        challenger: the model that may replace it.
        audit: a random sample of what was answered, by users whose pictures neither model was trained on.
        validation: fixed sets, with digits and with non-digits; never the test images.
        earlier: tries on this audit, or on pictures of it, before this one.

    Raises:
        DataError: a set is too small, has no users, or digits or non-digits are missing from the validation.
    """
    users = _check_sizes(audit, validation)
    before, after = audit.right()
    paired = Paired.of(audit.name, before, after)
    gains = after.astype(int) - before
    by_user = np.rint(np.bincount(np.unique(users, return_inverse=True)[1], weights=gains)).astype(int)
    allowed = level(ALPHA, earlier)
    p, p_users = mcnemar(paired.fixed, paired.broken), sign_flip(by_user)
    checks = [
        Check("better by pictures: McNemar's exact test", p <= allowed, p, allowed, False, "p"),
        Check("better by users: exact sign flips", p_users <= allowed, p_users, allowed, False, "p"),
        Check("net gain on the audit", paired.gain >= MIN_GAIN, paired.gain, MIN_GAIN, True, "points"),
    ]
    compared = []
    for sample in validation:
        found = Paired.of(sample.name, *sample.right())
        margin = margin_of(sample)
        loss = upper_loss(found.fixed, found.broken, found.n, BOUND)
        name = f"loss on {sample.name}, upper {BOUND:.0%} bound"
        checks.append(Check(name, loss < margin, loss, margin, False, "points"))
        compared.append(found)
    calibration = {}
    for sample in (audit, *validation):
        errors = sample.calibration_errors()
        if errors:
            margin = AUDIT_CALIBRATION_MARGIN if sample is audit else CALIBRATION_MARGIN
            allowed_error = errors[0] + margin
            name = f"calibration error on {sample.name}"
            checks.append(Check(name, errors[1] <= allowed_error, errors[1], allowed_error, False, "share"))
            calibration[sample.name] = errors
    slower = challenger.us / champion.us
    checks.append(Check("time per picture", slower <= SLOWDOWN, slower, SLOWDOWN, False, "times"))
    return Verdict(
        champion=champion,
        challenger=challenger,
        checks=tuple(checks),
        audit=paired,
        users=len(by_user),
        user_gains=tuple((int(gain), int(n)) for gain, n in zip(*np.unique(by_user, return_counts=True), strict=True)),
        level=allowed,
        earlier=earlier,
        validation=tuple(compared),
        calibration=calibration,
        by_digit=_parts(np.array([_digit(label) for label in audit.labels.tolist()]), before, after),
        by_source=() if audit.sources is None else _parts(audit.sources, before, after),
        fixed=_surest(audit, gains > 0),
        broken=_surest(audit, gains < 0),
    )


def _check_sizes(audit: Sample, validation: Sequence[Sample]) -> np.ndarray:
    """Check that there is enough to decide by; return the audit's users."""
    users, n = audit.users, len(audit)
    if users is None or len(users) != n:
        raise DataError(f"the audit has {n:,} pictures, and users for {0 if users is None else len(users):,} of them")
    if n < MIN_PICTURES:
        raise DataError(f"the audit has {n:,} pictures; at least {MIN_PICTURES:,} are needed to see a difference")
    if (found := len(np.unique(users))) < MIN_USERS:
        raise DataError(f"the audit has pictures of {found:,} users; at least {MIN_USERS} are needed")
    for sample in (audit, *validation):
        for side, answers in (("champion", sample.champion), ("challenger", sample.challenger)):
            if len(answers.digits) != len(sample):
                answered = f"{len(answers.digits):,} of {len(sample):,}"
                raise DataError(f"the {side} has answered {answered} pictures of {sample.name}; each needs an answer")
    for sample in validation:
        margin_of(sample)
    labels = [sample.labels for sample in validation]
    for what, there in (
        ("digits", any((each != NON_DIGIT).any() for each in labels)),
        ("non-digits", any((each == NON_DIGIT).any() for each in labels)),
    ):
        if not there:
            raise DataError(f"the validation sets have no {what}; add some, so that none are lost unnoticed")
    return users


def _digit(label: int) -> str:
    return "non-digit" if label == NON_DIGIT else str(label)


def _parts(names: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> tuple[Paired, ...]:
    return tuple(
        Paired.of(str(name), champion[names == name], challenger[names == name]) for name in np.unique(names).tolist()
    )


def _surest(audit: Sample, chosen: np.ndarray) -> tuple[int, ...]:
    at = np.flatnonzero(chosen)
    order = np.argsort(-audit.challenger.confidences[at], kind="stable")
    found: list[int] = at[order].tolist()
    return tuple(found)

"""Compare two models on the same images while these arrive, and say when one is worse beyond doubt.

The evidence of a crossed bound may be looked at after every image: it is the capital of a gambler who bets against the
bound at fair odds, so while the bound holds, it ever grows to 1 / α times its start with probability α at most.
I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, 2023,
https://arxiv.org/abs/2010.09686
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import exp, log, log1p

from inkdigits.prediction import Prediction
from inkdigits.settings import Settings

__all__ = ["BOUNDS", "MIN_IMAGES", "Bounds", "Counts", "counts_of", "evidence"]

MIN_IMAGES = 50  # before a bound can count as crossed: the first images may all be of one client
ALPHA = 0.01  # probability that some bound ever counts as crossed, though none is
STAKES = (0.01, 0.03, 0.1, 0.3, 0.6)  # of the most that a gambler may bet; the capital is shared among them
BOUNDS = ("failures", "rejected", "agreement")


@dataclass(slots=True)
class Counts:
    """What became of the images that two models read: the reference, and the candidate, which is on trial.

    Attributes:
        agree: both accepted the same digit, or both rejected the image.
        differ: both accepted it, as different digits.
        reference_only, candidate_only: accepted by one model only.
        failed: the candidate raised an error.
        rejected_reference, rejected_candidate: rejected by each model, whatever the other one did.
    """

    agree: float = 0
    differ: float = 0
    reference_only: float = 0
    candidate_only: float = 0
    failed: float = 0
    rejected_reference: float = 0
    rejected_candidate: float = 0

    @property
    def compared(self) -> float:
        """Images that both models read."""
        return self.agree + self.differ + self.reference_only + self.candidate_only


def counts_of(reference: Prediction, candidate: Prediction) -> Counts:
    """Return the counts of one image."""
    accepted = reference.is_digit, candidate.is_digit
    return Counts(
        agree=accepted[0] is accepted[1] and (not accepted[0] or reference.digit == candidate.digit),
        differ=all(accepted) and reference.digit != candidate.digit,
        reference_only=accepted == (True, False),
        candidate_only=accepted == (False, True),
        rejected_reference=not accepted[0],
        rejected_candidate=not accepted[1],
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much worse a candidate may be.

    Attributes:
        failures: largest share of the images on which it may fail.
        rejected: largest share that it may reject in addition to the reference.
        agreement: smallest share that both must read the same.
    """

    failures: float
    rejected: float
    agreement: float

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        """Return the bounds in the settings."""
        return cls(*(getattr(settings, f"trial_{f.name}") for f in fields(cls)))

    def crossed(self, counts: Counts) -> str:
        """Return which of :data:`BOUNDS` the candidate crosses beyond doubt; "" if none."""
        n, both = counts.failed + counts.compared, counts.compared
        if n < MIN_IMAGES:
            return ""
        against = {
            "failures": evidence(counts.failed, 0, n, self.failures),
            "rejected": evidence(counts.reference_only, counts.candidate_only, both, self.rejected, low=-1),
            "agreement": evidence(both - counts.agree, 0, both, 1 - self.agreement),
        }
        return next((name for name in BOUNDS if against[name] >= log(len(BOUNDS) / ALPHA)), "")

    def explain(self, name: str, counts: Counts) -> str:
        """Return in words how the candidate crosses a bound."""
        n, both = counts.failed + counts.compared, max(counts.compared, 1)
        if name == "failures":
            return f"it failed on {counts.failed:,.0f} of {n:,.0f} images, and may on {self.failures:.1%} at most"
        if name == "rejected":
            candidate, reference = counts.rejected_candidate / both, counts.rejected_reference / both
            return (
                f"it rejects {candidate:.1%} of {both:,.0f} images and the other model {reference:.1%}; it may reject "
                f"{self.rejected:.1%} more"
            )
        agree = counts.agree / both
        return f"both models read {agree:.1%} of {both:,.0f} images the same; it must be {self.agreement:.1%} at least"


def evidence(up: float, down: float, n: float, bound: float, *, low: int = 0) -> float:
    """Return the logarithm of the evidence that the mean of n numbers is above a bound.

    Args:
        up: how many of the numbers are 1; ``down``: how many are -1. The others are 0.
        bound: on their mean, 0 to 1.
        low: the smallest number that is possible, 0 or -1.
    """
    if bound >= 1:
        return 0.0
    most = 1 / (bound - low) if bound > low else 1e6  # the capital must not become negative
    capitals = [
        up * log1p(most * stake * (1 - bound))
        + (n - up - down) * log1p(-most * stake * bound)
        + (down * log1p(-most * stake * (1 + bound)) if down else 0.0)
        for stake in STAKES
    ]
    largest = max(capitals)
    return largest + log(sum(exp(capital - largest) for capital in capitals) / len(STAKES))

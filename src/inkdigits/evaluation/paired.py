"""Compare two models on the same pictures, by the pictures that one reads right and the other wrong.

A picture is *fixed* if only the second model reads it right, and *broken* if only the first does; the others say
nothing about a difference.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc
from scipy.stats import binom, norm

__all__ = ["level", "mcnemar", "sign_flip", "upper_loss"]

NEARLY = 1e-9  # next to a share at which the score is not defined


def level(alpha: float, earlier: int) -> float:
    """Return the level of the next test on pictures that were used for ``earlier`` tests before.

    The levels ``alpha · 6 / (π² j²)`` of all tests j = 1, 2, … add up to ``alpha``, so that the best of many tries
    passes by luck with at most that probability.
    """
    return alpha * 6 / (math.pi * (earlier + 1)) ** 2


def mcnemar(fixed: int, broken: int) -> float:
    """Return the exact one-sided p-value of McNemar's test: the second model is better.

    Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages, 1947.
    """
    return float(bdtrc(fixed - 1, fixed + broken, 0.5)) if fixed else 1.0


def sign_flip(gains: np.ndarray) -> float:
    """Return the exact one-sided p-value of the sign-flip test: the second model is better, by users.

    Mistakes are shared within a user's pictures, so that McNemar's test takes one habit for many findings. Here each
    user is one finding: if the models are equal, each user's gain could as well have the other sign.

    Args:
        gains: (U,) int, fixed less broken pictures of each user.

    E. J. G. Pitman, Significance tests which may be applied to samples from any populations, 1937.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    chances = np.ones(1)  # of each sum of gains, from the smallest to the largest
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        # Of ``count`` gains of this size, some are positive: the sum changes by twice the size for each.
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spread)
    most = int(np.abs(gains).sum())
    return float(min(chances[most + int(gains.sum()) :].sum(), 1.0))


def upper_loss(fixed: int, broken: int, n: int, confidence: float) -> float:
    """Return the upper bound of the share that the second model reads worse: of (broken - fixed) / n, -1 to 1.

    This is the score bound for paired proportions, which keeps its level where few pictures differ: T. Tango,
    Equivalence test and confidence interval for the difference in proportions for the paired-sample design, 1998.

    Args:
        confidence: of the one-sided bound, above 0.5.
    """
    z = norm.ppf(confidence)

    def score(loss: float) -> float:
        """Return how far, in standard errors, what was seen is above ``loss``; and z is added."""
        b = (2 * n - broken + fixed) * loss - broken - fixed
        share = (math.sqrt(b * b + 8 * n * fixed * loss * (1 - loss)) - b) / (4 * n)  # of fixed pictures, most likely
        return float((broken - fixed - n * loss) / math.sqrt(n * (2 * share + loss * (1 - loss))) + z)

    seen = (broken - fixed) / n
    return float(brentq(score, seen + NEARLY, 1 - NEARLY)) if seen < 1 - 2 * NEARLY else 1.0

"""Tests of two models on the same pictures, against SciPy, every sign written out, and published bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from inkdigits.evaluation.paired import level, mcnemar, sign_flip, upper_loss


def test_levels_of_all_tries_add_up():
    assert level(0.05, 0) == pytest.approx(0.05 * 6 / math.pi**2)
    assert sum(level(0.05, j) for j in range(200_000)) == pytest.approx(0.05, abs=1e-6)


def test_mcnemar_is_the_exact_binomial_test():
    for fixed, broken in itertools.product(range(12), repeat=2):
        expected = binomtest(fixed, fixed + broken, alternative="greater").pvalue if fixed + broken else 1.0
        assert mcnemar(fixed, broken) == pytest.approx(expected)
    assert mcnemar(0, 40) == 1.0


def test_sign_flips_are_all_counted():
    rng = np.random.default_rng(0)
    for _ in range(30):
        gains = rng.integers(-4, 6, 9)
        sums = [np.dot(signs, np.abs(gains)) for signs in itertools.product((-1, 1), repeat=9)]
        assert sign_flip(gains) == pytest.approx(np.mean(np.array(sums) >= gains.sum()))
    assert sign_flip(np.zeros(50, int)) == 1.0
    # Where each user has one picture, it is McNemar's test.
    assert sign_flip(np.array([1] * 9 + [-1] * 3 + [0] * 40)) == pytest.approx(mcnemar(9, 3))
    # However large a user's gain is, it is one finding.
    assert sign_flip(np.array([500, 0, 0])) == 0.5


def test_the_bound_is_tangos():
    """M. W. Fagerland et al., Recommended tests and confidence intervals for paired binomial proportions, 2014."""
    high, low = upper_loss(7, 1, 21, 0.975), -upper_loss(1, 7, 21, 0.975)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


@pytest.mark.parametrize(("n", "loss", "broken"), [(10_000, 0.002, 0.005), (2000, 0.003, 0.007)])
def test_the_bound_is_too_low_in_about_five_of_a_hundred_draws(n, loss, broken):
    rng = np.random.default_rng(1)
    draws = rng.multinomial(n, [broken, broken - loss, 1 - 2 * broken + loss], 1000).tolist()
    assert np.mean([upper_loss(f, b, n, 0.95) < loss for b, f, _ in draws]) < 0.07


def test_the_bound_at_its_ends():
    assert 0 < upper_loss(0, 0, 10_000, 0.95) == pytest.approx(1.645**2 / (10_000 + 1.645**2), rel=0.01)
    assert upper_loss(0, 0, 2000, 0.95) > upper_loss(0, 0, 10_000, 0.95)
    assert upper_loss(0, 500, 500, 0.95) == 1.0
    assert upper_loss(500, 0, 500, 0.95) < -0.98
    assert upper_loss(0, 20, 10_000, 0.95) > 0.002

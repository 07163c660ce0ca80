"""Temperature, threshold and baseline, each against its definition computed another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from inkdigits.training.calibrate import (
    REJECTED_DIGITS,
    baseline,
    fit_temperature,
    fit_threshold,
    fit_unclear,
    rejected_share,
)


def test_the_temperature_is_the_likeliest():
    random = np.random.default_rng(2)
    z = random.normal(0, 2, (4000, 10))
    truth = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(10, p=p) for p in truth])
    logits = 2.5 * z  # too sure of itself by this factor

    def loss(temperature):
        scaled = logits / temperature
        return (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean()

    found = fit_temperature(torch.from_numpy(logits), torch.from_numpy(labels))
    assert found == pytest.approx(
        minimize_scalar(loss, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-9}).x, rel=1e-5
    )
    assert found == pytest.approx(2.5, rel=0.05)


def test_the_temperature_stays_within_bounds_when_nothing_is_wrong():
    logits = torch.eye(10).repeat(3, 1)
    labels = torch.arange(10).repeat(3)
    assert fit_temperature(logits, labels) == pytest.approx(0.2)
    assert fit_temperature(-logits, labels) == pytest.approx(5)


def test_the_threshold_refuses_the_share_it_is_meant_to():
    logits = torch.from_numpy(np.random.default_rng(3).normal(4, 2, 10_000))
    threshold = fit_threshold(logits)
    assert 0 < threshold < 1
    assert rejected_share(logits, threshold) == pytest.approx(REJECTED_DIGITS, abs=1e-4)


def test_unclear_begins_where_a_digit_is_as_likely_as_a_non_digit():
    random = np.random.default_rng(5)
    # Of two normal distributions of the same width the densities are equal halfway, whatever their numbers.
    digits, others = (torch.from_numpy(random.normal(mean, 1, n)) for mean, n in ((3, 200_000), (-1, 20_000)))
    assert fit_unclear(digits, others) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.05)
    apart = fit_unclear(torch.tensor([4.0, 5.0]), torch.tensor([-3.0, -2.0]))
    assert 1 / (1 + np.exp(2)) < apart <= 1 / (1 + np.exp(-4))


def test_the_baseline_is_the_mean_of_confidence_and_ink():
    random = np.random.default_rng(4)
    logits, images = random.normal(0, 3, (50, 10)), random.random((50, 1, 28, 28))
    p = np.exp(logits / 1.7) / np.exp(logits / 1.7).sum(axis=1, keepdims=True)
    found = baseline(torch.from_numpy(logits), torch.from_numpy(images), 1.7)
    assert found == pytest.approx({"confidence": p.max(axis=1).mean(), "ink": images.mean()})

"""Corruptions by the hand: tilt, slant, wobble."""

from __future__ import annotations

import numpy as np

from inkdigits.synthesis.corruptions.sheet import amount, either, field, look, transformed, warp

__all__ = ["affine", "elastic", "retraced", "slant", "tremor"]

ROTATION = 20.0  # degrees
ASPECT = 0.3  # log of width : height
SCALE = 0.25  # log
SHIFT = 0.15  # of the picture's shorter side
SLANT = 0.6  # tangent
ELASTIC = 0.065  # of the digit's size, standard deviation of the displacement
ELASTIC_APART = 0.3  # of the digit's size, between the knots of the displacement
TREMOR = 0.018  # of the digit's size, standard deviation of the displacement
TREMOR_APART = 0.055  # of the digit's size
RETRACED = 0.07  # of the digit's size, between the two lines
RETRACED_APART = 0.5  # of the digit's size, between the knots of their distance


def affine(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Turn, stretch, scale and move the digit."""
    angle = np.deg2rad(either(amount(severity, rng) * ROTATION, rng))
    aspect, scale = rng.uniform(-1, 1, 2) * severity * [ASPECT, SCALE]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(scale) * np.diag([np.exp(aspect / 2), np.exp(-aspect / 2)])
    return transformed(picture, look(picture), turn @ stretch, rng, severity * SHIFT * min(picture.shape[:2]))


def slant(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Slant the digit, mostly to the right."""
    tangent = amount(severity, rng) * SLANT * (1 if rng.random() < 0.7 else -0.6)
    return transformed(picture, look(picture), np.array([[1.0, -tangent], [0.0, 1.0]]), rng)


def elastic(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate an unsure hand: P. Simard, D. Steinkraus and J. Platt, 2003, doi:10.1109/ICDAR.2003.1227801."""
    size = look(picture).size
    return _wobble(picture, amount(severity, rng) * ELASTIC * size, ELASTIC_APART * size, rng)


def tremor(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a trembling hand, or a drawing made with a mouse."""
    size = look(picture).size
    return _wobble(picture, amount(severity, rng) * TREMOR * size, TREMOR_APART * rng.uniform(0.8, 1.5) * size, rng)


def retraced(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Write the digit twice, the second line next to the first."""
    size = look(picture).size
    step = amount(severity, rng) * RETRACED * size
    angle = rng.uniform(0, 2 * np.pi)
    apart = RETRACED_APART * size
    dx = step * (np.cos(angle) + 0.5 * field(picture, apart, rng))
    dy = step * (np.sin(angle) + 0.5 * field(picture, apart, rng))
    twice: np.ndarray = np.minimum(picture, warp(picture, dx, dy))
    return twice


def _wobble(picture: np.ndarray, deviation: float, apart: float, rng: np.random.Generator) -> np.ndarray:
    return warp(picture, deviation * field(picture, apart, rng), deviation * field(picture, apart, rng))

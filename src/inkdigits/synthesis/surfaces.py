"""Draw what a sheet of paper lies on: planks, bricks, stones, cloth, stripes, a printed page."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

__all__ = ["surface"]

SCALES = (6.0, 60.0)  # pixels: of a plank, a brick or a stone
TONES = (0.02, 0.9)  # share of the light that comes back
TURN = 90.0  # degrees, largest
PLAIN = 0.3  # share of the surfaces without a pattern


def surface(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a surface: (height, width) float32, the share of light that it reflects, 0 to 1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = np.deg2rad(rng.uniform(-TURN, TURN))
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    size = float(np.exp(rng.uniform(*np.log(SCALES))))
    low, high = np.sort(rng.uniform(*TONES, 2))
    if rng.random() < PLAIN:
        tone = np.full((height, width), high if rng.random() < 0.2 else low, np.float32)
    else:
        pattern = PATTERNS[rng.integers(len(PATTERNS))](u, v, size, rng)
        tone = low + (high - low) * np.clip(pattern, 0, 1)
    grain = _smooth(height, width, rng.uniform(1.5, 12), rng)
    lit: np.ndarray = np.clip(tone * (1 + rng.uniform(0, 0.25) * grain), 0, 1).astype(np.float32)
    return lit


def _smooth(height: int, width: int, apart: float, rng: np.random.Generator) -> np.ndarray:
    knots = rng.standard_normal((int(height / apart) + 3, int(width / apart) + 3)).astype(np.float32)
    return np.asarray(Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC))


def _tones(number: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each number a tone, 0 to 1."""
    tones: np.ndarray = rng.random(997).astype(np.float32)[number.astype(np.int64) % 997]
    return tones


def _planks(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    number = np.floor(v / size)
    waves = np.sin(v * rng.uniform(0.5, 2.5) + 3 * np.sin(u * rng.uniform(0.01, 0.06)) + number * 1.7)
    planks: np.ndarray = 0.25 + 0.5 * _tones(number, rng) + 0.2 * waves
    return np.where(v % size < rng.uniform(0, 2), 0, planks)


def _stripes(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    share = rng.uniform(0.2, 0.8)
    stripes: np.ndarray = np.clip((np.abs(v % size - size / 2) - share * size / 2) / 1.2 + 0.5, 0, 1)
    return stripes


def _bricks(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    row = np.floor(v / size)
    length = size * rng.uniform(1.6, 3.5)
    shifted = u + row * length * rng.uniform(0.3, 0.6)
    tones = rng.uniform(0.2, 1) * _tones(row * 31 + np.floor(shifted / length), rng)
    gap = max(1.0, size * rng.uniform(0.03, 0.12))
    is_gap = (v % size < gap) | (shifted % length < gap)
    return np.where(is_gap, rng.random(), tones)


def _stones(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    free = rng.random(u.shape) > 1 / size**2
    if free.all():
        return np.zeros_like(u)
    distance, (rows, columns) = ndimage.distance_transform_edt(free, return_indices=True)
    tones = _tones(rows * u.shape[1] + columns, rng)
    stones: np.ndarray = tones if rng.random() < 0.5 else np.where(distance < 0.4 * size, tones, 0)
    return stones


def _cloth(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(0.5, 2.2)
    threads = 0.25 * (np.sin(u * pitch) * np.sin(v * pitch) + 1)
    bands = 0.25 * (np.sin(2 * np.pi * u / size) > 0.3) + 0.25 * (np.sin(2 * np.pi * v / size) > 0.3)
    cloth: np.ndarray = threads + rng.uniform(0, 1) * bands
    return cloth


def _print(u: np.ndarray, v: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Draw rows of short bars, as a printed page looks from further away."""
    row, line = np.floor(v / max(size / 3, 4)), v % max(size / 3, 4)
    letters = _tones(np.floor(u / rng.uniform(2, 5)) + 57 * row, rng)
    printed: np.ndarray = np.where((line < 0.5 * max(size / 3, 4)) & (letters > 0.35), 0.1, 0.95)
    return printed


PATTERNS = (_planks, _stripes, _bricks, _stones, _cloth, _print)

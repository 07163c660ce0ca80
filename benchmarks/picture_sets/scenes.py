"""Textures and photographs without a digit.

Ten kinds of scene are drawn here, in color, other than the textures of :mod:`inkdigits.synthesis.non_digits`; the
others are parts of the two photographs that come with scikit-learn (china.jpg and flower.jpg, CC BY).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage, spatial
from sklearn.datasets import load_sample_images

from inkdigits.synthesis.corruptions.sheet import field, grid, rounded

__all__ = ["SCENES", "photographs", "scenes"]

SEED = 31
SIDES = (120, 360)  # pixels
PARTS = (80, 260)  # pixels: sides of the parts of photographs
NOISE = (1.0, 7.0)  # grey levels, standard deviation
OCTAVES = (32, 16, 8, 4)  # pixels between the knots of what is rough at all scales

Scene = Callable[[int, int, np.random.Generator], np.ndarray]


def scenes(n: int) -> list[tuple[str, np.ndarray]]:
    """Draw scenes, every kind in turn, as (kind, (H, W, 3) uint8)."""
    found = []
    for i in range(n):
        kind = list(SCENES)[i % len(SCENES)]
        rng = np.random.default_rng((SEED, i))
        height, width = rng.integers(*SIDES, 2)
        picture = SCENES[kind](int(height), int(width), rng)
        y, x = grid(picture)
        light = 1 - rng.uniform(0, 0.4) * np.hypot(y / height - 0.5, x / width - rng.uniform(0, 1))
        picture = ndimage.gaussian_filter(picture * light[..., None], (blur := rng.uniform(0, 1), blur, 0))
        found.append((kind, rounded(picture + rng.uniform(*NOISE) * rng.standard_normal(picture.shape))))
    return found


def photographs(n: int) -> list[tuple[str, np.ndarray]]:
    """Cut parts out of scikit-learn's photographs, in turn, as (name, (H, W, 3) uint8)."""
    images = load_sample_images()
    found = []
    for i in range(n):
        rng = np.random.default_rng((SEED, 1, i))
        at = i % len(images.images)
        whole = images.images[at]
        height, width = rng.integers(*PARTS, 2)
        top, left = (rng.integers(whole.shape[axis] - side) for axis, side in enumerate((height, width)))
        found.append((Path(images.filenames[at]).stem, whole[top : top + height, left : left + width]))
    return found


def _color(rng: np.random.Generator, low: float = 40, high: float = 230) -> np.ndarray:
    return rng.uniform(low, high) * rng.uniform(0.7, 1.1, 3)


def _empty(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.float32)


def _rough(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw noise that is rough at all scales, about -2 to 2."""
    total: np.ndarray = sum(np.sqrt(apart) * field(_empty(height, width), apart, rng) for apart in OCTAVES)
    return total / np.sqrt(sum(OCTAVES))


def _planks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    x = np.arange(width, dtype=np.float32)[None]
    plank = width * rng.uniform(0.15, 0.4)
    index = np.floor(x / plank).astype(int)
    tones = rng.uniform(0.75, 1.1, index.max() + 1)[index]
    grain = ndimage.gaussian_filter(rng.standard_normal((height, width)), (rng.uniform(15, 40), 0.8))
    knots = 0.12 * np.sin(_rough(height, width, rng) * 6 + x / 3)
    joint = (x % plank < 1.5 + width / 150) * 0.5
    shade = tones * (1 + 2.2 * grain + knots) * (1 - joint)
    return shade[..., None] * rng.uniform(120, 210) * np.array((1, 0.75, 0.5))


def _plaid(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    def stripes(n: int) -> np.ndarray:
        edges = np.cumsum(rng.integers(4, 40, n))
        tones = rng.uniform(0.35, 1, (n + 1, 3))
        return tones[np.searchsorted(edges, np.arange(n) % max(1, edges[min(6, n - 1)]))]

    cloth = (stripes(height)[:, None] + stripes(width)[None]) / 2
    thread = 1 + 0.12 * ((np.arange(height)[:, None] + np.arange(width)[None]) % 4 < 2)
    return 200 * cloth * thread[..., None]


def _stones(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    n = max(12, int(height * width / rng.uniform(150, 900)))
    points = rng.uniform(0, 1, (n, 2)) * (height, width)
    pixels = np.stack(np.mgrid[0:height, 0:width], -1).reshape(-1, 2)
    distance, nearest = spatial.cKDTree(points).query(pixels, k=2)
    edge = (distance[:, 1] - distance[:, 0]).reshape(height, width)
    tones = rng.uniform(60, 210, n)[nearest[:, 0]].reshape(height, width)
    shade = tones * np.clip(0.25 + edge / 5, 0, 1)
    return shade[..., None] * rng.uniform(0.85, 1.1, 3)


def _sky(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y = np.linspace(0, 1, height)[:, None]
    cloud = 1 / (1 + np.exp(-3 * (_rough(height, width, rng) + rng.uniform(-0.5, 0.5))))
    blue = np.stack([90 + 90 * y, 140 + 60 * y, 210 + 25 * y], -1) * np.ones((1, width, 1))
    return blue * (1 - cloud[..., None]) + 240 * cloud[..., None]


def _lights(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.float32) + _color(rng, 15, 70)
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(rng.integers(6, 25)):
        cy, cx, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.03, 0.13) * min(height, width)
        disc = np.clip(radius - np.hypot(y - cy, x - cx), 0, 1) * rng.uniform(0.2, 0.8)
        picture += disc[..., None] * _color(rng, 120, 255)
    return picture


def _facade(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    wall, window, frame = _color(rng, 110, 220), _color(rng, 25, 90), _color(rng, 150, 250)
    image = Image.new("RGB", (width, height), tuple(int(min(c, 255)) for c in wall))
    pen = ImageDraw.Draw(image)
    across, down = width / rng.integers(3, 8), height / rng.integers(3, 8)
    for i in range(int(height / down) + 1):
        for j in range(int(width / across) + 1):
            left, top = (j + 0.22) * across, (i + 0.2) * down
            box = (left, top, left + 0.56 * across, top + 0.6 * down)
            pen.rectangle(box, tuple(int(c * rng.uniform(0.7, 1.5)) for c in window))
            pen.rectangle(box, outline=tuple(int(min(c, 255)) for c in frame), width=max(1, int(across / 20)))
            pen.line(
                (left + 0.28 * across, top, left + 0.28 * across, top + 0.6 * down), width=max(1, int(across / 25))
            )
        pen.line((0, i * down, width, i * down), tuple(int(c * 0.7) for c in wall), width=2)
    tilt = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=tuple(int(min(c, 255)) for c in wall))
    return np.asarray(tilt, np.float32)


def _grass(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (width, height), (35, 60, 20))
    pen = ImageDraw.Draw(image)
    for _ in range(int(height * width / 25)):
        x, y, length, lean = rng.uniform(0, width), rng.uniform(0, height * 1.1), rng.uniform(8, 40), rng.normal(0, 6)
        green = rng.uniform(0.5, 1.1) * np.array((110, 160, 60))
        pen.line((x, y, x + lean, y - length), tuple(int(c) for c in green), width=int(rng.integers(1, 3)))
    return np.asarray(image, np.float32)


def _water(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = 6 * _rough(height, width, rng)
    total = np.zeros((height, width), np.float32)
    for _ in range(4):
        angle, length = rng.normal(np.pi / 2, 0.4), rng.uniform(8, 40)
        total += np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle) + bend) / length + rng.uniform(0, 6))
    shade = 0.65 + 0.09 * total + 0.4 * (total > 2.6)
    return shade[..., None] * rng.uniform(0.8, 1.2) * np.array((80, 140, 170))


def _marble(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    veins = np.abs(np.sin(rng.uniform(2, 5) * _rough(height, width, rng) + np.arange(width) / rng.uniform(30, 90)))
    shade = rng.uniform(170, 235) * (1 - 0.5 * np.exp(-veins / rng.uniform(0.03, 0.12)))
    return shade[..., None] * rng.uniform(0.93, 1.03, 3) * (1 + 0.05 * _rough(height, width, rng)[..., None])


def _leaves(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (width, height), (20, 35, 15))
    for _ in range(int(rng.integers(40, 140))):
        length, broad = rng.uniform(15, 70), rng.uniform(0.3, 0.5)
        leaf = Image.new("RGBA", (int(length), int(length * broad) + 2))
        pen = ImageDraw.Draw(leaf)
        tone = rng.uniform(0.4, 1.2) * np.array((90, 150, 60)) * rng.uniform(0.8, 1.2, 3)
        pen.ellipse((0, 0, leaf.width - 1, leaf.height - 1), tuple(int(c) for c in tone))
        pen.line((0, leaf.height / 2, leaf.width, leaf.height / 2), tuple(int(c * 0.75) for c in tone))
        leaf = leaf.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
        image.paste(leaf, (int(rng.uniform(-30, width)), int(rng.uniform(-30, height))), leaf)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))), np.float32)


#: Every kind by name.
SCENES: dict[str, Scene] = {
    "planks": _planks,
    "plaid": _plaid,
    "stones": _stones,
    "sky": _sky,
    "lights": _lights,
    "facade": _facade,
    "grass": _grass,
    "water": _water,
    "marble": _marble,
    "leaves": _leaves,
}

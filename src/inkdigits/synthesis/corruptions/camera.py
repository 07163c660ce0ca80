"""Corruptions by cameras and light."""

from __future__ import annotations

import numpy as np

from inkdigits.synthesis.corruptions.sheet import (
    amount,
    colored,
    either,
    field,
    grid,
    look,
    rounded,
    shaded,
    transformed,
    warp,
)
from inkdigits.synthesis.corruptions.sheet import blur as blurred

__all__ = ["blur", "cast", "contrast", "fog", "ghost", "light", "moire", "motion", "noise", "perspective", "rolling"]
__all__ += ["shadow", "vignette"]

NOISE = 42.0  # grey levels, standard deviation on white
BLUR = 0.055  # of the digit's size, standard deviation
MOTION = 0.18  # of the digit's size, length
DIM = 0.7  # of the light that is lost on the dark side
SHADOW = 0.62  # of the light that a shadow takes
SHADOW_EDGE = (0.004, 0.12)  # of the picture's size, from hard to soft
CONTRAST = 0.85  # of the contrast that is lost
FOG = (0.45, 0.85)  # of the contrast that is lost, where the fog is thin and where it is thick
TILT = 48.0  # degrees between the sheet and the camera's back
NEAR = 1.6  # times the digit's size, the least distance of the camera
VIGNETTE = 0.75  # of the light that is lost in the corners
CASTS = ((1.0, 0.82, 0.5), (0.6, 0.8, 1.0), (0.75, 1.0, 0.7), (1.0, 0.7, 0.8))  # lamp light, shade, neon, pink
CHROMA = 26.0  # grey levels, standard deviation of the color noise
GHOST = 0.45  # weight of the second exposure
GHOST_AWAY = (0.08, 0.3)  # of the digit's size
MOIRE = 0.2  # depth of the bands
ROLLING = 0.1  # of the digit's size, that rows shift


def noise(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a sensor in poor light: half of the noise grows with the light (photons), half does not (read-out)."""
    deviation = amount(severity, rng) * NOISE * np.sqrt(0.5 + 0.5 * picture.astype(np.float32) / 255)
    return rounded(picture + deviation * rng.standard_normal(picture.shape, np.float32))


def blur(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a picture out of focus."""
    return blurred(picture, amount(severity, rng) * BLUR * look(picture).size)


def motion(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a move while the shutter is open."""
    length = amount(severity, rng) * MOTION * look(picture).size
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, int(length) + 2)
    margin = int(length / 2) + 1
    h, w = picture.shape[:2]
    padded = np.pad(picture, ((margin, margin), (margin, margin)) + ((0, 0),) * (picture.ndim - 2), mode="edge")
    total = np.zeros(picture.shape, np.uint32)
    for dx, dy in zip(np.rint(steps * np.cos(angle)), np.rint(steps * np.sin(angle)), strict=True):
        top, left = margin + int(dy), margin + int(dx)
        total += padded[top : top + h, left : left + w]
    return rounded(total / np.float32(len(steps)))


def light(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a lamp on one side: the light falls off slowly, then faster, or the other way round."""
    bend = np.exp(rng.uniform(-0.7, 0.7))
    return shaded(picture, 1 - amount(severity, rng) * DIM * _across(picture, rng.uniform(0, 2 * np.pi)) ** bend)


def shadow(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate the shadow of a hand or a phone over part of the picture, its edge hard or soft."""
    size = min(picture.shape[:2])
    y, x = grid(picture)
    angle = rng.uniform(0, 2 * np.pi)
    at = (0.5 + rng.uniform(-0.3, 0.3, 2)) * (picture.shape[1], picture.shape[0])
    inside = (x - at[0]) * np.cos(angle) + (y - at[1]) * np.sin(angle) + 0.08 * size * field(picture, size / 2, rng)
    edge = size * np.exp(rng.uniform(*np.log(SHADOW_EDGE)))
    return shaded(picture, 1 - amount(severity, rng) * SHADOW / (1 + np.exp(np.clip(-inside / edge, -30, 30))))


def contrast(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce the contrast, at any brightness."""
    left = 1 - amount(severity, rng) * CONTRAST
    return rounded(picture * left + rng.uniform(0.2, 1) * 255 * (1 - left))


def fog(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate glare or haze: a white veil, thicker in some places."""
    thick = 1 / (1 + np.exp(-1.5 * field(picture, 0.5 * min(picture.shape[:2]), rng)))
    veil = amount(severity, rng) * (FOG[0] + (FOG[1] - FOG[0]) * thick)
    veil = veil if picture.ndim == 2 else veil[..., None]
    return rounded(picture * (1 - veil) + veil * rng.uniform(205, 250))


def perspective(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a photo from the side, from above or below: foreshortened, with the far side smaller."""
    sheet = look(picture)
    tilt, around = np.deg2rad(amount(severity, rng) * TILT), rng.uniform(0, 2 * np.pi)
    distance = max(NEAR * sheet.size, max(picture.shape[:2]))
    cos, sin = np.cos(around), np.sin(around)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn @ np.diag([np.cos(tilt), 1.0]) @ turn.T
    matrix[2, :2] = np.sin(tilt) / distance * turn[:, 0]
    return transformed(picture, sheet, matrix, rng)


def vignette(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a lens that darkens the corners."""
    h, w = picture.shape[:2]
    y, x = grid(picture)
    cx, cy = (0.5 + rng.uniform(-0.1, 0.1, 2)) * (w, h)
    radius = np.hypot(x - cx, y - cy) / np.hypot(w / 2, h / 2)
    return shaded(picture, 1 - amount(severity, rng) * VIGNETTE * np.clip(radius, 0, 1) ** rng.uniform(1.5, 3))


def cast(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate colored light, and the color noise of a cheap sensor."""
    depth = amount(severity, rng)
    tint = 1 - depth * (1 - np.array(CASTS[rng.integers(len(CASTS))], np.float32))
    apart = max(1.5, min(picture.shape[:2]) / 90)
    chroma = np.stack([field(picture, apart, rng) for _ in range(3)], axis=-1)
    chroma -= 0.7 * chroma.mean(axis=-1, keepdims=True)
    return rounded(colored(picture) * tint + depth * CHROMA * chroma)


def ghost(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a double exposure with a move in between."""
    away, angle = rng.uniform(*GHOST_AWAY) * look(picture).size, rng.uniform(0, 2 * np.pi)
    still = np.zeros(picture.shape[:2], np.float32)
    second = warp(picture, still + np.float32(away * np.cos(angle)), still + np.float32(away * np.sin(angle)))
    weight = amount(severity, rng) * GHOST
    return rounded(picture * (1 - weight) + second * weight)


def moire(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a photo of a screen: curved colored bands, and flicker by row."""
    h, w = picture.shape[:2]
    y, x = grid(picture)
    angle, period = rng.uniform(0, np.pi), min(h, w) * rng.uniform(0.04, 0.12)
    bent = x * np.cos(angle) + y * np.sin(angle) + 0.6 * period * field(picture, min(h, w) / 2, rng)
    phases = rng.uniform(0, 2 * np.pi) + np.array([0.0, 0.7, 1.4], np.float32)
    bands = np.cos(2 * np.pi * bent[..., None] / period + phases)
    flicker = np.cos(2 * np.pi * y / (h * rng.uniform(0.15, 0.4)) + rng.uniform(0, 2 * np.pi))[..., None]
    depth = amount(severity, rng) * MOIRE
    return rounded(colored(picture) * (1 - depth * (1 + 0.6 * bands + 0.4 * flicker)))


def rolling(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a rolling shutter on a moving hand: each row is exposed a little later and so shifted a little."""
    size = look(picture).size
    y, _ = grid(picture)
    period = size * rng.uniform(0.6, 1.6)
    sway = amount(severity, rng) * ROLLING * size * np.sin(2 * np.pi * y / period + rng.uniform(0, 2 * np.pi))
    lean = either(amount(severity, rng) * ROLLING, rng) * (y - picture.shape[0] / 2)
    return warp(picture, np.broadcast_to(sway + lean, picture.shape[:2]), np.zeros(picture.shape[:2], np.float32))


def _across(picture: np.ndarray, angle: float) -> np.ndarray:
    """Return (H, W) float32 from 0 on one side of the picture to 1 on the other, along an angle in radians."""
    y, x = grid(picture)
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    share: np.ndarray = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    return share

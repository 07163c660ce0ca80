"""Corruptions by scanners, printers and files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from inkdigits.synthesis.corruptions.sheet import amount, darken, either, field, grid, line, look, rounded

__all__ = ["cropped", "dust", "halftone", "jpeg", "pixelated", "posterised", "salt"]

SALT = 0.1  # share of the pixels
JPEG = (35.0, 2.0)  # quality, from mild to strong
PIXELS = (22.0, 10.0)  # of the digit's size, from mild to strong
HALFTONE = (0.03, 0.075)  # of the digit's size, the cell's side
HALFTONE_PAPER = 0.3  # of black, the tone of the paper
POSTER_NOISE = 14.0  # grey levels, standard deviation
SPECKS = 70
HAIRS = 4
CUT = 0.09  # of the digit's width or height that the frame cuts off, at most
CUT_PEN = 0.8  # of the pen's width, at most: without a whole stroke, a digit may be unreadable


def salt(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Set some pixels to black and some to white, as dead pixels and bad transmission do."""
    h, w = picture.shape[:2]
    drawn = rng.random((h, w), np.float32)
    share = amount(severity, rng) * SALT
    out = picture.copy()
    out[drawn < share / 2] = 0
    out[drawn > 1 - share / 2] = 255
    return out


def jpeg(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Compress hard, as messengers do."""
    quality = JPEG[0] * (JPEG[1] / JPEG[0]) ** amount(severity, rng)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=max(1, round(quality)))
    return np.asarray(Image.open(file))


def pixelated(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a tiny picture enlarged: big square pixels."""
    h, w = picture.shape[:2]
    across = PIXELS[0] * (PIXELS[1] / PIXELS[0]) ** amount(severity, rng)
    scale = min(1.0, across / look(picture).size)
    small = Image.fromarray(picture).resize((max(2, round(w * scale)), max(2, round(h * scale))), Image.Resampling.BOX)
    return np.asarray(small.resize((w, h), Image.Resampling.NEAREST))


def posterised(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a fax or a photocopy: two to five tones, with hard noise between them."""
    levels = round(5 - 3 * severity)
    grain = severity * POSTER_NOISE * field(picture, rng.uniform(1, 2), rng)
    bright = np.exp(either(amount(severity, rng) * 0.25, rng))
    values = np.clip((picture + (grain if picture.ndim == 2 else grain[..., None])) * (bright / 255), 0, 1)
    return rounded(np.rint(values * (levels - 1)) * (255 / (levels - 1)))


def halftone(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate print in dots: every tone as black dots of its size, on a turned grid."""
    cell = max(2.0, look(picture).size * (HALFTONE[0] + (HALFTONE[1] - HALFTONE[0]) * amount(severity, rng)))
    angle = rng.uniform(0, np.pi / 2)
    y, x = grid(picture)
    u, v = (x * np.cos(angle) + y * np.sin(angle)) / cell, (y * np.cos(angle) - x * np.sin(angle)) / cell
    spot = 0.5 + 0.25 * (np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v))  # 0 to 1
    light = picture if picture.ndim == 2 else picture.mean(axis=2)
    tone = 1 - (1 - severity * HALFTONE_PAPER * rng.uniform(0.3, 1)) * light / 255  # of black
    # Anti-aliased over the width of a pixel, like a scan of such a print.
    return rounded(255 * (1 - np.clip((tone - spot) * cell + 0.5, 0, 1)))


def dust(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Draw dust and hairs on the glass."""
    h, w = picture.shape[:2]
    side = min(h, w)
    cover = np.zeros((h, w), np.float32)
    for _ in range(round(severity * SPECKS * rng.uniform(0.5, 1))):
        at = rng.uniform(0, 1, 2) * (w, h)
        np.maximum(cover, line(picture, at[None], side * rng.uniform(0.004, 0.016)), out=cover)
    for _ in range(round(severity * rng.uniform(1, HAIRS))):
        start, heading = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0, 2 * np.pi)
        turns = heading + np.cumsum(rng.normal(0, 0.18, 24))
        step = side * rng.uniform(0.008, 0.022)
        points = start + step * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
        np.maximum(cover, line(picture, points, max(1.0, side * rng.uniform(0.004, 0.008))), out=cover)
    return darken(picture, cover * (0.5 + 0.5 * amount(severity, rng)), float(rng.uniform(20, 110)))


def cropped(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Crop too tightly: the frame touches the digit or cuts off a part of it, on one side or two."""
    h, w = picture.shape[:2]
    sheet = look(picture)
    left, top, right, bottom = sheet.box
    share = CUT * (1.4 * severity - 0.4)  # below zero: it stays that far away
    across, down = (round(min(share * side, CUT_PEN * sheet.pen)) for side in (right - left, bottom - top))
    sides = rng.permutation(4)[: rng.integers(1, 3)]
    x0 = left + across if 0 in sides else 0
    x1 = right - across if 1 in sides else w
    y0 = top + down if 2 in sides else 0
    y1 = bottom - down if 3 in sides else h
    return picture[max(y0, 0) : min(y1, h), max(x0, 0) : min(x1, w)].copy()

"""Step 2 on level paper: find the ink by thresholds, without a network.

Paper is level if half of its border has one level, the rest is all darker or all lighter, and it has no grain: as in
canvases, tidy scans and data sets. It is clean if nothing touches the border. Any other paper is for the network of
:mod:`.ink`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.prediction import Polarity

__all__ = ["Marks", "Paper", "border", "level_paper", "threshold"]

MIN_CONTRAST = 15.0  # grey levels; a picture with less is blank, and a clean border varies by no more
BORDER = 0.03  # of the shorter side: the border that shows the paper
LARGE = 48  # pixels of the shorter side; in a smaller picture, what touches the border is ink
TINY = 24  # pixels of the longer side; the network cannot read smaller pictures, so that all of them count as clean
MAD = 1.4826  # median absolute deviation → standard deviation, for normal noise
GRAINY = 2.5  # grey levels; clean paper has grain of no larger standard deviation
GRAIN_SIDE = 24  # pixels of the shorter side; in smaller pictures the digit's edges would count as grain
GRAIN_ROWS = 32  # rows that the grain is estimated from
GRAIN_CUT = 2.0  # standard deviations of the paper's grain; fainter ink is paper
INK_QUANTILE = 0.1  # of the ink is darker than full ink, so that a hot pixel does not set it
FULL_SHARE = 0.004  # of the picture, at most, is darker than full ink: blots outnumber thin strokes
ISOLATED = 4  # pixels, at least, that full ink is estimated from
SOLID = 0.45  # of full ink; a deeper pixel is ink
SOFT = 0.2  # of full ink; a deeper pixel next to solid ink is ink
SOLID_MOST = 0.7  # of full ink, the highest threshold of solid ink
SOFT_MOST = 0.5  # likewise, of soft ink


class Marks(NamedTuple):
    """The pixels that may be ink.

    Attributes:
        depth: (h, w) float32, how much each pixel differs from the paper; 0 or less is paper.
        full: the depth of full ink.
        solid: the depth above which a pixel is ink.
        soft: the depth above which a pixel next to solid ink is ink.
        grain: the depth below which ink is grain of the paper.
        polarity: whether the ink is darker or lighter than the paper.
    """

    depth: np.ndarray
    full: float
    solid: float
    soft: float
    grain: float
    polarity: Polarity


class Paper(NamedTuple):
    """Paper of one level.

    Attributes:
        level: in grey levels.
        grain: standard deviation of its grain.
        is_clean: whether all of the border is of this level; else, something touches it: ink, or a rule or frame.
    """

    level: float
    grain: float
    is_clean: bool


def level_paper(grey: np.ndarray) -> Paper | None:
    """Find the level of the paper from the border; return None if it has no one level, or grain.

    Args:
        grey: (h, w) float32, 0 to 255.
    """
    ring = np.sort(border(grey))
    level = float(ring[len(ring) // 2])
    if max(grey.shape) < TINY:
        return Paper(level, 0.0, True)
    below, above = level - ring > MIN_CONTRAST, ring - level > MIN_CONTRAST
    if below.any() and above.any():
        return None
    is_clean = min(grey.shape) < LARGE or not (below.any() or above.any())
    grain = _grain(grey)
    return Paper(level, grain, is_clean) if grain <= GRAINY else None


def border(values: np.ndarray) -> np.ndarray:
    """Return the pixels of the border, flat."""
    b = max(1, int(BORDER * min(values.shape) + 0.5))
    return np.concatenate(
        [values[:b].ravel(), values[-b:].ravel(), values[b:-b, :b].ravel(), values[b:-b, -b:].ravel()]
    )


def _grain(grey: np.ndarray) -> float:
    """Estimate the grain's standard deviation from second differences, which uneven light hardly changes."""
    if min(grey.shape) < GRAIN_SIDE:
        return 0.0
    rows = grey[:: max(1, grey.shape[0] // GRAIN_ROWS)]
    difference = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]).ravel()
    return float(MAD * np.partition(difference, difference.size // 2)[difference.size // 2] / 6**0.5)


def threshold(grey: np.ndarray, paper: Paper) -> Marks | None:
    """Separate ink from paper, on the heavier side of its level; return None for a blank sheet.

    Swapping ink and paper changes only the polarity.

    Args:
        grey: (h, w) float32, 0 to 255.
        paper: its level and grain.
    """
    above = grey - np.float32(paper.level)
    marks = above[np.abs(above) >= MIN_CONTRAST]
    polarity: Polarity = "light-on-dark" if marks.sum() > 0 else "dark-on-light"
    depth, marks = (above, marks) if polarity == "light-on-dark" else (-above, -marks)
    rank = max(ISOLATED, int(min(INK_QUANTILE * len(marks), FULL_SHARE * above.size)))
    if len(marks) < rank:
        return None
    full = float(np.partition(marks, -rank)[-rank])
    if full < MIN_CONTRAST:  # the strongest marks are on the other side of the paper's level
        return None
    solid, soft = (
        max(share * full, min(MIN_CONTRAST, most * full)) for share, most in ((SOLID, SOLID_MOST), (SOFT, SOFT_MOST))
    )
    return Marks(depth, full, solid, soft, GRAIN_CUT * paper.grain, polarity)

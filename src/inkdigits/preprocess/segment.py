"""Step 3, segment: ink is what lies on the heavier side of the paper's level; what is surely ink, and what may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.prediction import Polarity
from inkdigits.preprocess.background import Relief

__all__ = ["Marks", "segment"]

INK_QUANTILE = 0.1  # of the inked pixels are darker than what counts as full ink, so that no hot pixel sets it
FULL_SHARE = 0.004  # of the picture's pixels, at most, are darker than that: stains and rules outnumber thin strokes
ISOLATED = 4  # pixels: full ink is never judged by fewer
SOLID = 0.45  # of full ink, from which a pixel is surely ink
SOFT = 0.2  # of full ink, from which a pixel next to sure ink is ink
SOLID_MOST = 0.7  # of full ink: no grain asks for more of sure ink
SOFT_MOST = 0.5  # nor for more next to it
RULE_LEVEL = 0.25  # of full ink, from which a pixel may be of a ruled line


class Marks(NamedTuple):
    """What differs from the paper.

    Attributes:
        depth: (h, w) float32, grey levels towards the ink's side of the paper.
        full: the depth of full ink.
        solid: (h, w) bool, what is surely ink.
        faint: (h, w) bool, what may be of a ruled line.
        soft: the depth from which a pixel next to solid ink is ink.
        grain: standard deviation of the paper's grain.
        polarity: whether the ink is darker or lighter than the paper.
    """

    depth: np.ndarray
    full: float
    solid: np.ndarray
    faint: np.ndarray
    soft: float
    grain: float
    polarity: Polarity


def segment(relief: Relief) -> Marks | None:
    """Separate ink from paper; None for a blank sheet.

    Swapping ink and paper changes nothing but the polarity.
    """
    above, grain, floor = relief
    marks = above[np.abs(above) >= floor]
    polarity: Polarity = "light-on-dark" if marks.sum() > 0 else "dark-on-light"
    depth, marks = (above, marks) if polarity == "light-on-dark" else (-above, -marks)
    rank = max(ISOLATED, int(min(INK_QUANTILE * len(marks), FULL_SHARE * above.size)))
    if len(marks) < rank:
        return None
    full = float(np.partition(marks, -rank)[-rank])
    if full < floor:  # what is there lies on the other side of the paper's level
        return None
    # Faint marks count next to dark ones only: a line ruled in pale blue, a stain or the other side's print do not.
    solid, soft = (
        max(share * full, min(floor, most * full)) for share, most in ((SOLID, SOLID_MOST), (SOFT, SOFT_MOST))
    )
    return Marks(depth, full, depth > solid, depth > RULE_LEVEL * full, soft, grain, polarity)

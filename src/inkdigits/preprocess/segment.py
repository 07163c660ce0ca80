"""Step 3, segment: find the pixels that are ink, on the heavier side of the paper's level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.prediction import Polarity
from inkdigits.preprocess.background import Relief

__all__ = ["Marks", "segment"]

INK_QUANTILE = 0.1  # of the ink is darker than full ink, so that a hot pixel does not set it
FULL_SHARE = 0.004  # of the picture, at most, is darker than full ink: stains and rules outnumber thin strokes
ISOLATED = 4  # pixels, at least, that full ink is estimated from
SOLID = 0.45  # of full ink; a deeper pixel is ink
SOFT = 0.2  # of full ink; a deeper pixel next to solid ink is ink
SOLID_MOST = 0.7  # of full ink, the highest threshold of solid ink, whatever the grain
SOFT_MOST = 0.5  # likewise, of soft ink
RULE_LEVEL = 0.25  # of full ink; a deeper pixel may be part of a ruled line


class Marks(NamedTuple):
    """The pixels that differ from the paper.

    Attributes:
        depth: (h, w) float32, grey levels towards the ink's side of the paper.
        full: the depth of full ink.
        solid: (h, w) bool, the pixels that are certainly ink.
        faint: (h, w) bool, the pixels that may be part of a ruled line.
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
    """Separate ink from paper; return None for a blank sheet.

    Swapping ink and paper changes only the polarity.
    """
    above, grain, floor = relief
    marks = above[np.abs(above) >= floor]
    polarity: Polarity = "light-on-dark" if marks.sum() > 0 else "dark-on-light"
    depth, marks = (above, marks) if polarity == "light-on-dark" else (-above, -marks)
    rank = max(ISOLATED, int(min(INK_QUANTILE * len(marks), FULL_SHARE * above.size)))
    if len(marks) < rank:
        return None
    full = float(np.partition(marks, -rank)[-rank])
    if full < floor:  # the strongest marks are on the other side of the paper's level
        return None
    # Faint marks count only next to dark ones: pale rules, stains and print from the other side do not.
    solid, soft = (
        max(share * full, min(floor, most * full)) for share, most in ((SOLID, SOLID_MOST), (SOFT, SOFT_MOST))
    )
    return Marks(depth, full, depth > solid, depth > RULE_LEVEL * full, soft, grain, polarity)

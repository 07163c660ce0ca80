"""Corrupt pictures as hands, pens, papers, cameras and scanners do.

:data:`CORRUPTIONS` lists the kinds, each with a group and whether training may use it. Over a third are held out of
training: they show how a model reads corruptions that it was not trained on, as users will bring. See
``docs/augmentation.md`` for each kind at every severity.

Pictures are (H, W) or (H, W, 3) uint8, dark ink on light paper until ``inverted``. Apply several kinds in the order of
the table, in which they happen: hand, pen, paper, camera, scanner. Lengths are relative to the digit's size, so a kind
has the same effect on a thumbnail and on a photo. NumPy and Pillow only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from inkdigits.errors import InvalidPixels, SettingError
from inkdigits.options import did_you_mean
from inkdigits.synthesis.corruptions import camera, hand, paper, pen, scanner

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "corrupt", "picture_of"]

#: Severities by name. Mild is common; medium is what users send now and then; at strong, a careful person still reads
#: the digit.
SEVERITIES = {"mild": 1 / 3, "medium": 2 / 3, "strong": 1.0}

PICTURE_SIDE = 140  # pixels
PICTURE_SCALE = (2.6, 5.6)  # times that an MNIST image is enlarged
SHARPENED = 1.9  # contrast factor for edges, which enlarging softens
PAPERS = (215, 255)  # grey levels
INKS = (0, 75)  # grey levels


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: as in :data:`CORRUPTIONS`.
        group: its cause.
        trained: whether training may use it; the others are for measuring only.
        help: what it looks like, in one line.
        apply: picture, severity and random generator → new picture; :func:`corrupt` checks the arguments first.
    """

    name: str
    group: Literal["hand", "pen", "paper", "camera", "scanner"]
    trained: bool
    help: str
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


#: Every kind by name, in the order in which they are applied.
CORRUPTIONS: dict[str, Corruption] = {
    kind.name: kind
    for kind in (
        Corruption("affine", "hand", True, "turned, stretched, smaller or larger, moved", hand.affine),
        Corruption("elastic", "hand", True, "an unsure hand bends the lines", hand.elastic),
        Corruption("slant", "hand", True, "written slanting", hand.slant),
        Corruption("tremor", "hand", False, "a trembling hand, or a mouse", hand.tremor),
        Corruption("retraced", "hand", False, "written twice, the lines side by side", hand.retraced),
        Corruption("thickness", "pen", True, "a thicker or a thinner pen", pen.thickness),
        Corruption("texture", "pen", True, "pencil, chalk or crayon on rough paper", pen.texture),
        Corruption("broken", "pen", True, "a pen that skips: gaps in the line", pen.broken),
        Corruption("faint", "pen", True, "a hard pencil or a dying pen", pen.faint),
        Corruption("scratches", "pen", False, "ink scraped off in thin lines", pen.scratches),
        Corruption("spatter", "pen", False, "drops of ink around the digit", pen.spatter),
        Corruption("ruled", "paper", True, "ruled paper", paper.ruled),
        Corruption("table", "paper", True, "borders of a table's cell, through the digit when strong", paper.table),
        Corruption("stains", "paper", True, "coffee, tea, oil or water", paper.stains),
        Corruption("bleed", "paper", True, "another digit shows through from the back", paper.bleed),
        Corruption("graph", "paper", False, "squared paper", paper.graph),
        Corruption("crumpled", "paper", False, "crumpled and smoothed out", paper.crumpled),
        Corruption("inverted", "paper", True, "light ink on dark paper", paper.inverted),
        Corruption("light", "camera", True, "a lamp on one side", camera.light),
        Corruption("shadow", "camera", True, "a shadow across, its edge hard or soft", camera.shadow),
        Corruption("fog", "camera", True, "glare or haze", camera.fog),
        Corruption("perspective", "camera", False, "taken from the side", camera.perspective),
        Corruption("rolling", "camera", False, "a rolling shutter on a moving hand", camera.rolling),
        Corruption("ghost", "camera", False, "two exposures in one", camera.ghost),
        Corruption("blur", "camera", True, "out of focus", camera.blur),
        Corruption("motion", "camera", True, "moved while the shutter was open", camera.motion),
        Corruption("vignette", "camera", False, "dark corners", camera.vignette),
        Corruption("contrast", "camera", True, "all tones close together", camera.contrast),
        Corruption("moire", "camera", False, "a screen photographed: bands and flicker", camera.moire),
        Corruption("cast", "camera", False, "colored light and color noise", camera.cast),
        Corruption("noise", "camera", True, "sensor noise of poor light", camera.noise),
        Corruption("dust", "scanner", False, "dust and hairs on the glass", scanner.dust),
        Corruption("halftone", "scanner", False, "printed in dots", scanner.halftone),
        Corruption("posterised", "scanner", False, "a fax or a photocopy of few tones", scanner.posterised),
        Corruption("pixelated", "scanner", False, "a tiny picture enlarged", scanner.pixelated),
        Corruption("salt", "scanner", True, "black and white pixels", scanner.salt),
        Corruption("cropped", "scanner", False, "cut out too tightly", scanner.cropped),
        Corruption("jpeg", "scanner", True, "compressed hard", scanner.jpeg),
    )
}


def corrupt(picture: np.ndarray, kind: str, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Corrupt a picture; the result is the same for a generator in the same state.

    Args:
        picture: (H, W) or (H, W, 3) uint8, dark ink on light paper, at least 10 pixels a side.
        kind: one of :data:`CORRUPTIONS`.
        severity: from 0, which changes nothing, to 1; see :data:`SEVERITIES`.
        rng: source of all randomness.

    Returns:
        A new uint8 picture. It may be colored if ``picture`` is grey; ``cropped`` makes it smaller.

    Raises:
        SettingError: there is no such kind, or the severity is out of range.
        InvalidPixels: the picture has another shape or type.
    """
    if kind not in CORRUPTIONS:
        raise SettingError(f"unknown kind of corruption {kind!r}; {did_you_mean(kind, CORRUPTIONS, 'kinds')}")
    if not 0 <= severity <= 1:
        raise SettingError(f"the severity of a corruption must be from 0 to 1, not {severity}")
    good = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not good or min(picture.shape[:2]) < 10:
        raise InvalidPixels(
            f"cannot corrupt an array of {picture.dtype} and shape {picture.shape}: "
            "expected uint8, (H, W) or (H, W, 3), 10 pixels a side or more"
        )
    return CORRUPTIONS[kind].apply(picture, float(severity), rng) if severity else picture.copy()


def picture_of(image: np.ndarray, rng: np.random.Generator, side: int = PICTURE_SIDE) -> np.ndarray:
    """Render an MNIST image as a picture that a user might send: larger, dark on light, of any tone, size and place.

    Args:
        image: (28, 28) uint8, or another size, ink 255 on paper 0.
        rng: source of all randomness.
        side: pixels of the picture.

    Returns:
        (side, side) uint8. The image is enlarged smoothly and its edges are sharpened, so they have no stairs.
    """
    rows, columns = (np.logical_or.reduce(image, axis=axis).nonzero()[0] for axis in (1, 0))
    h, w = image.shape
    box = (0, 0, w, h) if not len(rows) else (columns[0] - 2, rows[0] - 2, columns[-1] + 3, rows[-1] + 3)
    ink = Image.fromarray(image).crop(box)
    scale = rng.uniform(*PICTURE_SCALE) * side / PICTURE_SIDE * 28 / max(h, w)
    scale = min(scale, side / max(ink.size))
    size = round(ink.width * scale), round(ink.height * scale)
    cover = np.asarray(ink.resize(size, Image.Resampling.BICUBIC)).astype(np.float32) / 255
    cover = np.clip((cover - 0.5) * SHARPENED + 0.5, 0, 1)
    tone, black = rng.uniform(*PAPERS), rng.uniform(*INKS)
    left, top = rng.integers(0, side - size[0] + 1), rng.integers(0, side - size[1] + 1)
    sheet = np.full((side, side), tone, np.float32)
    sheet[top : top + size[1], left : left + size[0]] += cover * (black - tone)
    return np.rint(sheet).astype(np.uint8)

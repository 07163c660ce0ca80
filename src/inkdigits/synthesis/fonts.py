"""Letters and symbols as ink, from fonts in pinned packages, so that they are the same on every machine.

Rendered fonts are Pimoroni's packages of open fonts (https://github.com/pimoroni/fonts-python, SIL OFL 1.1; Caladea:
Apache 2.0). Stroke fonts are A. V. Hershey's of 1967, each letter a few pen strokes (package Hershey-Fonts, MIT). Whole
families are held out for testing, sans, serif and handwritten ones among them.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inkdigits.errors import DataError

__all__ = ["DIGIT_LIKE", "FONTS", "LETTERS", "STROKE_FONTS", "SYMBOLS", "Part", "fonts_for", "rendered", "strokes_of"]

Part = Literal["train", "test"]

#: A person reads these alone as digits: 0 as O o D Q, 1 as I i l | / \ ! ( ), 2 as Z z, 5 as S s $, 6 as b G, 7 as T,
#: 8 as B, 9 or 4 as g q y. They are reported separately in all figures and never count as wrong.
DIGIT_LIKE = "OoDQIil|/\\!()ZzSs$bGTBgqy"
#: Letters that do not look like digits.
LETTERS = "".join(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in DIGIT_LIKE)
#: Symbols that do not look like digits and that all fonts have.
SYMBOLS = "&%?#@+=*<>~"

#: Rendered fonts: package and file of each.
FONTS: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (
        ("font_source_sans_pro", "SourceSansPro-Light.ttf"),
        ("font_source_sans_pro", "SourceSansPro-Regular.ttf"),
        ("font_source_sans_pro", "SourceSansPro-BoldIt.ttf"),
        ("font_source_serif_pro", "SourceSerifPro-Regular.ttf"),
        ("font_source_serif_pro", "SourceSerifPro-It.ttf"),
        ("font_manrope", "Manrope-Light.ttf"),
        ("font_manrope", "Manrope-ExtraBold.ttf"),
        ("font_caladea", "Caladea-Regular.ttf"),
        ("font_caladea", "Caladea-BoldItalic.ttf"),
        ("font_amatic_sc", "AmaticSC-Regular.ttf"),
        ("font_amatic_sc", "AmaticSC-Bold.ttf"),
    ),
    "test": (
        ("font_hanken_grotesk", "HankenGrotesk-Light.otf"),
        ("font_hanken_grotesk", "HankenGrotesk-Regular.otf"),
        ("font_hanken_grotesk", "HankenGrotesk-BoldItalic.otf"),
        ("font_intuitive", "Intuitive.ttf"),
        ("font_fredoka_one", "FredokaOne-Regular.ttf"),
    ),
}
#: Stroke fonts, by the names that Hershey-Fonts gives them: sans and script to train on, serif to test on.
STROKE_FONTS: dict[Part, tuple[str, ...]] = {
    "train": ("futural", "futuram", "rowmans", "rowmand", "scripts", "scriptc", "cursive"),
    "test": ("timesr", "timesi", "timesib", "rowmant"),
}

_SMALL_CAPS = {"font_amatic_sc"}  # fonts whose lower case is small capitals: d is a D, which looks like a 0
_EM = 200  # pixels that letters are rendered with
_INSTALL = "pip install 'inkdigits[eval]'"


def rendered(text: str, package: str, file: str) -> np.ndarray:
    """Render text in one of :data:`FONTS`, cropped to its ink.

    Returns:
        (h, w) uint8, ink 255 on paper 0.

    Raises:
        DataError: the font's package is not installed.
    """
    font = _font(package, file)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, font=font, fill=255)
    return np.asarray(image.crop(image.getbbox() or (0, 0, 1, 1)))


def fonts_for(text: str, part: Part) -> list[tuple[str, str]]:
    """Return the fonts of :data:`FONTS` that have a glyph for each letter of the text, in its case."""
    return [font for font in FONTS[part] if font[0] not in _SMALL_CAPS or text == text.upper()]


def strokes_of(text: str, font: str) -> list[np.ndarray]:
    """Return text in one of :data:`STROKE_FONTS` as strokes, each (n, 2) float64, x right and y down, in font units.

    Raises:
        DataError: Hershey-Fonts is not installed.
    """
    strokes = (np.array(list(stroke), float) for stroke in _hershey(font).strokes_for_text(text))
    return [stroke for stroke in strokes if len(stroke)]


@cache
def _font(package: str, file: str) -> ImageFont.FreeTypeFont:
    # Find the package without importing it: its code is not needed.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"font {package.replace('_', '-')} is not installed: {_INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / "files" / file
    # The basic layout: Raqm is not installed on every machine.
    return ImageFont.truetype(path, _EM, layout_engine=ImageFont.Layout.BASIC)


@cache
def _hershey(font: str) -> Any:
    try:
        from HersheyFonts import HersheyFonts
    except ModuleNotFoundError:
        raise DataError(f"the stroke fonts, Hershey-Fonts, are not installed: {_INSTALL}") from None
    fonts = HersheyFonts()
    fonts.load_default_font(font)
    return fonts

"""Pen strokes: read them from UNIPEN files, and draw them as a canvas does.

Strokes are what a tablet, a phone or a mouse really gives. Drawn at any width, size, tilt and place they are the
pictures that a drawing page sends, and so the most honest test of a recogniser that learnt from scans.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inkdigits.data import lzw
from inkdigits.errors import DataError
from inkdigits.settings import Settings
from inkdigits.synthesis.strokes import draw, place

__all__ = ["PenDigit", "load_pendigits", "pen_picture", "read_unipen"]

PENDIGITS_FILE = "pendigits-orig.tra"
PENDIGITS_SHA256 = "a66225d68d7d68591e62944df1ad33b3f5aa608e2df2505844b41f5568a80da4"  # of the uncompressed file
PENDIGITS_URL = "https://archive.ics.uci.edu/static/public/81/pen+based+recognition+of+handwritten+digits.zip"

CANVAS = 280  # pixels, a side of what a drawing page sends
PENS = (2.0, 30.0)  # pixels, the width of the pen
WIDEST_PEN = 0.2  # of the digit's longer side; a wider one closes its loops
SIZES = (60.0, 240.0)  # pixels, the digit's longer side
TILT = 12.0  # degrees, either way
ASPECT = 0.15  # log of width : height, either way
PRESSED = 0.5  # share of the pictures whose line follows the pen's speed, as pressure and brush pens do
PRESSURE_FADE = 0.6  # of the width that a fast stroke loses at most
PAPERS = (225, 255)  # grey levels
INKS = (0, 60)  # grey levels

_SEGMENT = re.compile(r'\.SEGMENT\s+DIGIT\s.*"(\d)"')


@dataclass(frozen=True, eq=False)
class PenDigit:
    """One digit as it was written.

    Attributes:
        label: 0 to 9.
        writer: number of who wrote it; hold back whole writers.
        strokes: each (n, 2) float64, x to the right and y downwards, in tablet pixels, n ≥ 1.
    """

    label: int
    writer: int
    strokes: tuple[np.ndarray, ...]


def load_pendigits(settings: Settings) -> list[PenDigit]:
    """Pen-Based Recognition of Handwritten Digits, the original training file: 7,494 digits by 30 writers.

    Read from the folder that ``INKDIGITS_DATA`` names: its ``pendigits/pendigits-orig.tra``, gzipped (.gz), as the UCI
    repository serves it (.Z), or plain. E. Alpaydin and F. Alimoglu, UCI Machine Learning Repository, data set 81,
    CC BY 4.0.

    Raises:
        DataError: no folder is named, the file is not there, or it is not that very file.
    """
    get = f"get {PENDIGITS_URL} and put its {PENDIGITS_FILE}.Z there"
    if not (folder := settings.data_folder):
        raise DataError(f"no folder for the pen strokes: set INKDIGITS_DATA to one with a pendigits/ in it, and {get}")
    places = [folder / "pendigits" / f"{PENDIGITS_FILE}{suffix}" for suffix in (".gz", ".Z", "")]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise DataError(f"no pen strokes in {places[0].parent}: {get}")
    return read_unipen(path, PENDIGITS_SHA256)


def read_unipen(path: Path, sha256: str | None = None) -> list[PenDigit]:
    """Read a UNIPEN file of digits, such as UCI's ``pendigits-orig.tra``: plain, gzipped or by Unix compress.

    In it ``.SEGMENT DIGIT n ? "8"`` opens a digit, ``.COMMENT 8 12 224`` gives its label, writer and running number,
    and each ``.PEN_DOWN`` … ``.PEN_UP`` holds one stroke, a point a line, y upwards.
    Format: https://archive.ics.uci.edu/dataset/81/pen+based+recognition+of+handwritten+digits

    Args:
        path: the file; how it is compressed is told by its content.
        sha256: hash that its uncompressed content must have; None takes any.

    Raises:
        DataError: the file is missing, not of this format, or its hash differs; the message names the line.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
        elif raw.startswith(lzw.MAGIC):
            raw = lzw.decompress(raw)
        text = raw.decode("ascii")
    except FileNotFoundError:
        raise DataError(f"no pen strokes at {path}: set INKDIGITS_DATA to the folder that holds pendigits/") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as UNIPEN text: {error}") from None
    if sha256 and (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise DataError(
            f"{path} is not the file it should be: its content has SHA-256 {found}, expected {sha256}; get it anew"
        )
    return _parse(text, path)


def _parse(text: str, path: Path) -> list[PenDigit]:
    digits: list[PenDigit] = []
    label = writer = None
    strokes: list[np.ndarray] = []
    points: list[tuple[float, float]] | None = None

    def close() -> None:
        if label is not None and strokes:
            digits.append(PenDigit(label, writer or 0, tuple(strokes)))

    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if points is not None and not line.startswith("."):
            if not line:
                continue
            try:
                x, y = map(float, line.split())
            except ValueError:
                raise DataError(f"{path}, line {number}: expected the x and y of a point, not {line!r}") from None
            points.append((x, -y))
        elif line.startswith(".SEGMENT"):
            close()
            match = _SEGMENT.match(line)
            if not match:
                raise DataError(f'{path}, line {number}: expected .SEGMENT DIGIT n ? "label", not {line!r}')
            label, writer, strokes = int(match[1]), None, []
        elif line.startswith(".COMMENT") and label is not None:
            words = line.split()
            writer = int(words[2]) if len(words) > 2 and words[2].isdigit() else writer
        elif line.startswith(".PEN_DOWN"):
            points = []
        elif line.startswith(".PEN_UP"):
            if points:
                strokes.append(np.array(points))
            points = None
    close()
    if not digits:
        raise DataError(f"{path} holds no .SEGMENT DIGIT: it is not a UNIPEN file of digits")
    return digits


def pen_picture(digit: PenDigit, rng: np.random.Generator) -> np.ndarray:
    """Return a digit as somebody may draw it on a canvas: any pen, size, tilt, proportion and place, dark on light.

    Returns:
        (280, 280) uint8.
    """
    pen = float(np.exp(rng.uniform(*np.log(PENS))))
    size = rng.uniform(max(SIZES[0], pen / WIDEST_PEN), SIZES[1])
    strokes = place(
        digit.strokes, size, (0, 0), tilt=rng.uniform(-TILT, TILT), aspect=np.exp(rng.uniform(-ASPECT, ASPECT))
    )
    room = CANVAS - pen - 2 - np.concatenate(strokes).max(axis=0)
    at = pen / 2 + 1 + rng.uniform(0, 1, 2) * room
    widths = None
    if rng.random() < PRESSED:
        fade = rng.uniform(0.2, PRESSURE_FADE)
        widths = [1 - fade * _speed(stroke) for stroke in strokes]
    paper, ink = rng.integers(*PAPERS, endpoint=True), rng.integers(*INKS, endpoint=True)
    return draw([s + at for s in strokes], CANVAS, CANVAS, pen=pen, widths=widths, paper=paper, ink=ink)


def _speed(stroke: np.ndarray) -> np.ndarray:
    """Return the speed of the pen at each point, (n,), 0 at rest and 1 at the fastest; points come at equal times."""
    if len(stroke) < 3:
        return np.zeros(len(stroke))
    steps = np.hypot(*np.diff(stroke, axis=0).T)
    between = np.convolve(np.pad(steps, 2, mode="edge"), np.ones(4) / 4, mode="valid")
    speed: np.ndarray = between / max(between.max(), 1e-9)
    return speed

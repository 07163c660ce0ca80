"""Milliseconds of one prediction on one thread, and the size of the model files that it needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from inkdigits.evaluation.latency import times_us
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode
from inkdigits.recognizer import Recognizer
from inkdigits.synthesis.corruptions.sheet import field, rounded
from inkdigits.synthesis.strokes import draw, place

from _common import encoded
from picture_sets.tally import Measured, Row

__all__ = ["cost", "photograph"]

CALLS = 500
PHOTOGRAPH = (4000, 3000)  # pixels
PHOTOGRAPHED = 12  # times that it is decoded, and predicted, in turn
CANVAS_MS, TIMES_DECODING, BYTES = 1.0, 1.3, 500_000
# A "2" of this project's own drawing, in a unit box.
TWO = [np.array([[0.05, 0.25], [0.2, 0.05], [0.45, 0.0], [0.62, 0.15], [0.6, 0.35], [0.02, 1.0], [0.7, 1.0]])]


def drawing(width: int, height: int) -> np.ndarray:
    return draw(place(TWO, 0.6 * height, (0.3 * width, 0.2 * height)), width, height, pen=0.06 * height)


def photograph() -> bytes:
    """Make the JPEG file of a photograph: uneven light, grain, a digit."""
    rng = np.random.default_rng(0)
    picture = drawing(*PHOTOGRAPH).astype(np.float32) * 0.7 + 30
    picture *= 1 + 0.08 * field(picture, 900, rng)
    picture = picture[..., None] * (1, 0.97, 0.9) + 4 * rng.standard_normal((*picture.shape, 1), np.float32)
    return encoded(Image.fromarray(rounded(picture)), "JPEG", quality=90)


def cost(measured: Measured) -> Iterator[Row]:
    """Medians on one thread; other programs on the machine only add to them."""
    recognizer = Recognizer(measured.recognizer.model.path, threads=1)
    for side, most in ((280, CANVAS_MS), (28, None)):
        file = encoded(Image.fromarray(drawing(side, side)), "PNG")
        ms = float(np.median(times_us(lambda file=file: recognizer.predict(file), CALLS))) / 1000
        yield _row(f"cost: {side}×{side} PNG, ms", f"{ms:.3f}", ms, most, CALLS)
    file, limits = photograph(), Limits()
    times = [
        (times_us(lambda: decode(file, limits), 1, 0)[0], times_us(lambda: recognizer.predict(file), 1, 0)[0])
        for _ in range(PHOTOGRAPHED)
    ]
    decoding, predicting = np.median(times, axis=0)
    ratio = predicting / decoding
    yield _row("cost: decoding a 12-megapixel JPEG, ms", f"{decoding / 1000:.1f}", decoding, None, PHOTOGRAPHED)
    yield _row("cost: predicting it, times that", f"{ratio:.2f}", ratio, TIMES_DECODING, PHOTOGRAPHED)
    path = recognizer.model.path
    files = {path, *path.parent.glob("ink*.onnx")}  # the finder of ink is not of one reader
    size = sum(each.stat().st_size for each in files)
    yield _row("cost: model files, kB", f"{size / 1000:.0f}", size, BYTES, len(files), scale=1000)


def _row(name: str, share: str, value: float, most: float | None, n: int, *, scale: float = 1) -> Row:
    if most is None:
        return Row(set=name, n=n, share=share)
    return Row(set=name, n=n, share=share, target=f"<= {most / scale:g}", met="yes" if value <= most else "no")

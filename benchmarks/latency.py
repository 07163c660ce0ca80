"""How long ``Recognizer.predict`` takes with one thread, by kind of image, and where the time goes.

Each row: median, 90th and 99th percentile of 500 calls in turn after 50 to warm up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from inkdigits.evaluation.latency import times_us
from inkdigits.network import shipped_models
from inkdigits.preprocess import Limits, preprocess
from inkdigits.preprocess.decode import decode
from inkdigits.recognizer import Recognizer
from inkdigits.synthesis.strokes import draw, place

from _common import encoded, record

CALLS, WARM = 500, 50
# A "2" of this project's own drawing, in a unit box.
TWO = [np.array([[0.05, 0.25], [0.2, 0.05], [0.45, 0.0], [0.62, 0.15], [0.6, 0.35], [0.02, 1.0], [0.7, 1.0]])]


def two(side: int, form: str, mode: str = "L") -> bytes:
    """The file of a picture of a 2."""
    image = Image.fromarray(draw(place(TWO, 0.6 * side, (0.2 * side, 0.2 * side)), side, side, pen=0.06 * side))
    return encoded(image.convert(mode), form)


def measure(call: Callable[[], object], calls: int = CALLS) -> dict[str, object]:
    median, p90, p99 = np.quantile(times_us(call, calls, WARM), (0.5, 0.9, 0.99))
    return {"n": calls, "median_us": round(median), "p90_us": round(p90), "p99_us": round(p99)}


def main() -> None:
    images = {
        "28×28 PNG": two(28, "PNG"),
        "280×280 PNG": two(280, "PNG"),
        "280×280 RGBA PNG": two(280, "PNG", "RGBA"),
        "280×280 JPEG": two(280, "JPEG", "RGB"),
        "1000×1000 PNG": two(1000, "PNG"),
        "4000×3000-sized JPEG": two(3464, "JPEG", "RGB"),
    }
    limits = Limits()
    for kind, data in images.items():
        calls = CALLS if len(data) < 50_000 else 60
        record(
            model="-", what="decode", image=kind, bytes=len(data), **measure(lambda d=data: decode(d, limits), calls)
        )
        record(
            model="-",
            what="decode + normalise",
            image=kind,
            bytes=len(data),
            **measure(lambda d=data: preprocess(d), calls),
        )
    for name in shipped_models():
        recognizer = Recognizer(name)
        for batch in (1, 8, 64, 256):
            x = np.random.default_rng(0).random((batch, 1, 28, 28), np.float32)
            row = measure(lambda x=x, r=recognizer: r.logits(x), max(60, CALLS // batch))
            record(model=name, what=f"network, batch of {batch}", image="ready", bytes=x.nbytes, **row)
        for kind, data in images.items():
            calls = CALLS if len(data) < 50_000 else 60
            row = measure(lambda d=data, r=recognizer: r.predict(d), calls)
            record(model=name, what="predict", image=kind, bytes=len(data), **row)


if __name__ == "__main__":
    main()

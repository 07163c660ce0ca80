"""Fuzz the decoding and normalising of images, guided by coverage (atheris, for Python 3.11 to 3.13 on Linux).

    pip install atheris
    python fuzz/decode.py --seed fuzz/corpus                              # writes the small files that it starts from
    mkdir -p build/found
    python fuzz/decode.py build/found fuzz/corpus -max_total_time=3600 -rss_limit_mb=8000    # an hour

The fuzzer itself grows by some 3 kB an input, hence its limit; decoding the same files over and over does not.

What it comes upon goes to build/found; what fails is written as crash-… Hypothesis and schemathesis are in the tests.

Every input must end in a picture that is what the networks expect, or in an ImageError.
"""

from __future__ import annotations

import io
import sys
from hashlib import sha1
from pathlib import Path

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.preprocess import Limits, preprocess
from inkdigits.self_test import known_digit

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
LIMITS = Limits(max_pixels=512 * 512, max_bytes=1 << 18)  # small, so that many inputs are tried


def try_one(data: bytes) -> None:
    """Read one input; raises where anything but the two allowed ends comes about."""
    try:
        seen = preprocess(data, LIMITS)
    except ImageError:
        return
    assert seen.image.shape == (28, 28)
    assert seen.image.dtype == np.float32
    assert np.isfinite(seen.image).all()
    assert seen.image.min() >= 0
    assert seen.image.max() <= 1
    assert (seen.box is None) == (not seen.image.any())


def seeds() -> dict[str, bytes]:
    """A small file of each format by name."""
    files = {}
    for form in FORMATS:
        for mode in ("L", "RGBA", "P", "1"):
            file = io.BytesIO()
            try:
                known_digit().convert(mode).save(file, form)
            except OSError:  # JPEG has no alpha
                continue
            files[f"{form.lower()}-{sha1(file.getvalue()).hexdigest()[:8]}"] = file.getvalue()
    return files


def main() -> None:
    if "--seed" in sys.argv:
        folder = Path(sys.argv[sys.argv.index("--seed") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds().items():
            (folder / name).write_bytes(data)
        return
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Decode or preprocess a picture in a separate process, for decoders that block all other threads.

Pillow's WebP decoder holds the GIL: a third of a second for a large picture, during which a server answers nobody.

    python -m inkdigits.preprocess.apart preprocess '{"max_pixels": 1000000, …}' < picture.webp > preprocessed.pickle
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from PIL import Image

from inkdigits.errors import ImageError
from inkdigits.preprocess import Limits, Preprocessed, preprocess_batch
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import quiet_pillow

__all__ = ["decode_apart", "preprocess_apart"]

SECONDS = 60  # timeout of the process, generous for a busy machine


def preprocess_apart(source: bytes, limits: Limits) -> Preprocessed | ImageError:
    """Preprocess a file; return its error if it cannot be read.

    Raises:
        RuntimeError: the process failed.
    """
    seen: Preprocessed | ImageError = _apart("preprocess", source, limits)
    return seen


def decode_apart(source: bytes, limits: Limits) -> Image.Image:
    """Decode a file, as :func:`inkdigits.preprocess.decode.decode` does.

    Raises:
        ImageError: it cannot be read.
        RuntimeError: the process failed.
    """
    found: Image.Image | ImageError = _apart("decode", source, limits)
    if isinstance(found, ImageError):
        raise found
    return found


def _apart(what: str, source: bytes, limits: Limits) -> Any:
    command = [sys.executable, "-P", "-m", "inkdigits.preprocess.apart", what, json.dumps(asdict(limits))]
    done = subprocess.run(command, input=source, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that reads a picture ended with {done.returncode}: {done.stderr[-500:]!r}")
    return pickle.loads(done.stdout)


def main() -> None:
    quiet_pillow()
    what, limits, source = sys.argv[1], Limits(**json.loads(sys.argv[2])), sys.stdin.buffer.read()
    found: Any
    if what == "decode":
        try:
            found = decode(source, limits)
            found.info.clear()
        except ImageError as error:
            found = error
    else:
        [found] = preprocess_batch([source], limits)
    pickle.dump(found, sys.stdout.buffer)


if __name__ == "__main__":
    main()

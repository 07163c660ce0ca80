"""Preprocess a picture in a separate process, for decoders that block all other threads.

Pillow's WebP decoder holds the GIL: a third of a second for a large picture, during which a server answers nobody.

    python -m inkdigits.preprocess.apart '{"max_pixels": 1000000, …}' < picture.webp > preprocessed.pickle
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict

from inkdigits.errors import ImageError
from inkdigits.preprocess import Limits, Preprocessed, preprocess_batch
from inkdigits.preprocess.files import quiet_pillow

__all__ = ["preprocess_apart"]

SECONDS = 60  # timeout of the process, generous for a busy machine


def preprocess_apart(source: bytes, limits: Limits) -> Preprocessed | ImageError:
    """Preprocess a file; return its error if it cannot be read.

    Raises:
        RuntimeError: the process failed.
    """
    command = [sys.executable, "-P", "-m", "inkdigits.preprocess.apart", json.dumps(asdict(limits))]
    done = subprocess.run(command, input=source, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that reads a picture ended with {done.returncode}: {done.stderr[-500:]!r}")
    seen: Preprocessed | ImageError = pickle.loads(done.stdout)
    return seen


def main() -> None:
    quiet_pillow()
    [seen] = preprocess_batch([sys.stdin.buffer.read()], Limits(**json.loads(sys.argv[1])))
    pickle.dump(seen, sys.stdout.buffer)


if __name__ == "__main__":
    main()

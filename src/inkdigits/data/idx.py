"""IDX, the format of MNIST's files and of the sets made after it: a header with the shape, then the bytes.

The format: http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inkdigits.errors import DataError

__all__ = ["is_idx", "iter_idx", "map_idx", "read_idx"]

IDX_UINT8 = 0x08  # the format's code for unsigned bytes
GZIP = b"\x1f\x8b"
_START = 4  # bytes: two zeros, the type of the values, the number of axes

_ANEW = "delete it and get it anew"


def is_idx(path: Path) -> bool:
    """Return whether a file's content, gzipped or not, begins as an IDX file of bytes does.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        if start[:2] == GZIP:
            with gzip.open(path) as file:
                start = file.read(_START)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    return start[:3] == bytes([0, 0, IDX_UINT8])


def read_idx(path: Path, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes; gzip is told by its content.

    Args:
        path: the file.
        sha256: hash that its uncompressed content must have; None takes any.

    Returns:
        uint8 array of the shape that the file's header gives. It is writable and owns its memory.

    Raises:
        DataError: the file is missing, cut short, too long, not of this format, or its hash differs.
    """
    content = _uncompressed(path)
    start, shape = _header(path, content, len(content))
    found = hashlib.sha256(content).hexdigest() if sha256 else None
    if found != sha256:
        raise DataError(f"{path} is not the file it should be: its SHA-256 is {found}, expected {sha256}; {_ANEW}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def map_idx(path: Path) -> tuple[np.ndarray, str]:
    """Return the array of an IDX file and the SHA-256 of its uncompressed content; a plain file is mapped, not read.

    Raises:
        DataError: as in :func:`read_idx`.
    """
    try:
        with path.open("rb") as file:
            # Enough for the header of any number of axes that the format can name.
            head = file.read(_START + 4 * 255)
            size = file.seek(0, 2)
            file.seek(0)
            if head[:2] != GZIP:
                start, shape = _header(path, head, size)
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                if not math.prod(shape):
                    return np.empty(shape, np.uint8), sha256
                return np.memmap(path, np.uint8, "r", start, shape), sha256
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    content = _uncompressed(path)
    start, shape = _header(path, content, len(content))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape), hashlib.sha256(content).hexdigest()


def iter_idx(path: Path, rows: int, most_bytes: int) -> Iterator[np.ndarray]:
    """Read an IDX file of images, plain or gzipped, some of them at a time.

    Args:
        path: the file.
        rows: images at a time, at most.
        most_bytes: of the images at a time, at most; a single one that has more is refused.

    Yields:
        uint8 arrays (n, height, width); nothing of the file but one of them is held, whatever its header promises.

    Raises:
        DataError: as in :func:`read_idx`, or it holds no images; what came before has been given.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            head = file.read(_START)
            head += file.read(4 * head[3] if len(head) == _START else 0)
            _, shape = _header(path, head, None)
            image = math.prod(shape[1:])
            if len(shape) != 3 or not image:
                text = "×".join(["N", *map(str, shape[1:])])
                raise DataError(f"{path} holds no images: its values are {text}; expected N×height×width")
            if image > most_bytes:
                raise DataError(
                    f"{path} holds images of {shape[1]:,}×{shape[2]:,} pixels; at most {most_bytes:,} are read"
                )
            step = min(rows, most_bytes // image)
            for start in range(0, shape[0], step):
                n = min(step, shape[0] - start)
                content = file.read(n * image)
                if whole := len(content) // image:
                    yield np.frombuffer(content, np.uint8, whole * image).reshape(whole, *shape[1:])
                if whole < n:
                    raise DataError(f"{path} is cut short after {start + whole:,} of {shape[0]:,} images; {_ANEW}")
            if file.read(1):
                raise DataError(f"{path} goes on after the {shape[0]:,} images that its header promises; {_ANEW}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); {_ANEW}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _header(path: Path, head: bytes, size: int | None) -> tuple[int, tuple[int, ...]]:
    """Return where the values start, and their shape; ``size`` is the whole file's in bytes, None if unknown."""
    if len(head) < _START or head[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it begins with {head[:4].hex(' ') or 'nothing'}; {_ANEW}")
    kind, axes = head[2], head[3]
    if kind != IDX_UINT8:
        raise DataError(f"{path} holds IDX values of type 0x{kind:02x}; only unsigned bytes, 0x08, are read")
    start = _START + 4 * axes
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(_START, start, 4))
    expected = start + math.prod(shape)
    if size is not None and size != expected:
        text = "×".join(map(str, shape))
        raise DataError(f"{path} has {size:,} bytes; its header, {text}, promises {expected:,}; {_ANEW}")
    return start, shape


def _uncompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); {_ANEW}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None

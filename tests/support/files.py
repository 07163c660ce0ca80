"""Image files: encoded as programs do, and made part by part, as no program does."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from inkdigits.preprocess.files import scans_of


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    """An image as Pillow writes it."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    """The format as its description has it: two zero bytes, type, number of axes, their sizes, the values."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes, depth: int = 8, color: int = 0) -> bytes:
    """A PNG of compressed pixels, with more chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(*before: bytes, size: tuple[int, int] = (28, 28), **options: object) -> bytes:
    """A JPEG with these segments before its own."""
    file = encode(Image.new("L", size, 200), "JPEG", **options)
    return file[:2] + b"".join(before) + file[2:]


def segment(marker: int, data: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def scans(count: int, size: tuple[int, int] = (28, 28)) -> bytes:
    """A progressive JPEG of so many scans, of which most say nothing new."""
    file = jpeg(size=size, progressive=True)
    last = file[file.rfind(b"\xff\xda") : -2]
    return file[:-2] + last * (count - scans_of(file)) + file[-2:]


def gif(*before: bytes) -> bytes:
    """A GIF with these blocks before its picture."""
    file = encode(Image.new("P", (28, 28)), "GIF")
    start = 13 + (3 * (2 << (file[10] & 7)) if file[10] & 128 else 0)
    return file[:start] + b"".join(before) + file[start:]


def tiff(*entries: tuple[int, int, int, int], width: int = 28, height: int = 28, tail: bytes = bytes(784)) -> bytes:
    """A grey TIFF with these tags: number, type, count, value."""
    usual = [(256, 4, 1, width), (257, 4, 1, height), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1), (277, 4, 1, 1)]
    tags = sorted([*usual, *entries])
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + packed + bytes(4) + tail


def bmp(data: bytes, side: int = 1024) -> bytes:
    """A run-length encoded BMP."""
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(data), 0, 0, 1078) + head + palette + data

"""Check image files before their pixels are decoded: their format, their size, and the cost of their structure.

Formats are recognized by content, never by name. A 20 MB file of 28×28 pixels can hold a million chunks or two thousand
compressed profiles. So pixels, chunks, segments, strips, scans and texts are counted before Pillow reads the file.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Literal, NoReturn
from zlib import crc32

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from inkdigits.errors import ImageTooLarge, ImageTooSmall, NotAnImage, UnreadableImage

__all__ = ["Limits", "check_size", "encoded", "open_image", "pixels_of", "plain_png", "quiet_pillow", "scans_of"]

MAX_PIXELS = 4096 * 4096  # width × height
MIN_SIDE = 10  # pixels of the longer side
MAX_SIDE = 1 << 20  # pixels; to scale a longer side, Pillow builds a table of that length while it holds the GIL
WEBP_SHARE = 0.73  # of max_pixels for a WebP, whose decoder holds four copies: allows 12 megapixels, as of phones
MAX_READS = 30_000  # of a file's chunks, segments and blocks; a large photo takes some thousand
MAX_VALUES = 65_536  # numbers in the tags of a TIFF; each strip has two
MAX_SHARED = 4  # times the bytes of a TIFF that its tags may refer to
MAX_RUNS = 1 << 20  # bytes of a run-length encoded BMP, which Pillow decodes in Python
MAX_HEADER = 8 << 20  # bytes before the first scan of a JPEG; phones store some megabytes of metadata there
STRETCH = 1 << 20  # bytes of a JPEG that are searched at a time
MAX_SCANS = 100  # of a progressive JPEG; encoders write about 10, and each covers the whole picture

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_SUPPORTED = "supported are PNG, JPEG, GIF, WebP, BMP and TIFF"
PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = PNG + b"\0\0\0\rIHDR"
_PNG_GREY = b"\x08\0\0\0\0"  # depth, color, compression, filters, not interlaced
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_FIELDS = Struct(">II5xII").unpack_from  # width, height, the header's sum, length of the pixels
_IDAT = crc32(b"IDAT")
JPEG = b"\xff\xd8\xff"
_TIFF = (b"II", b"MM")
# First bytes of the supported formats: a file that starts with these but does not open is damaged, not foreign.
_MAGIC = (PNG, JPEG, b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
# Unsupported formats that people send, by their first bytes after an offset.
_FOREIGN = (
    (4, b"ftyphei", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIF photo"),
    (4, b"ftypavif", "an AVIF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (0, b"<!DOCTYPE", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)
# Texts and the profile are not needed, and a kilobyte of them can decompress to a megabyte.
_SPARED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_PNG_CHUNK = Struct(">I4s").unpack_from
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # cannot match in pixel data, where \0 follows \xff
_SCAN, _END = 0xDA, 0xD9
_ALONE = (0x01, 0xD8)  # markers that no length follows
_RLE8, _RLE4 = 1, 2
# Bytes per value by type of a TIFF tag; Pillow does not unpack types of 1 byte.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the images that are read. A larger image raises an error before memory is spent on it."""

    max_pixels: int = MAX_PIXELS  # width × height
    max_bytes: int = 20 << 20  # of one encoded image
    min_side: int = MIN_SIDE  # pixels of the longer side


def quiet_pillow() -> None:
    """Silence Pillow's warnings about damaged files.

    For programs; a library leaves its user's filters alone. Python prints each distinct warning once and remembers it
    for good, and files can vary the text without end. The errors of :mod:`.decode` say what cannot be read.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def encoded(source: str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO, limits: Limits) -> bytes:
    """Return the bytes of an image file; read no more than the limits allow.

    Raises:
        UnreadableImage, ImageTooLarge, NotAnImage: as their names say.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, PathLike)):
        try:
            with Path(source).open("rb") as file:
                data = file.read(limits.max_bytes + 1)
        except OSError as error:
            raise UnreadableImage(f"cannot open {source}: {error.strerror}") from None
        except ValueError as error:  # a NUL byte in the path
            raise UnreadableImage(f"cannot open {source!r}: {error}") from None
    elif hasattr(source, "read"):
        data = source.read(limits.max_bytes + 1)
        if not isinstance(data, bytes):
            raise NotAnImage(f"the file object gives {type(data).__name__}, not bytes; open it in binary mode")
    else:
        raise NotAnImage(
            f"{type(source).__name__} is not an image; "
            "give a path, bytes, a binary file, a Pillow image or a NumPy array"
        )
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image file is larger than {limits.max_bytes:,} bytes, the most that is read")
    return data


def open_image(data: bytes, limits: Limits) -> Image.Image:
    """Read the header of an image file, but no pixels.

    Raises:
        NotAnImage, UnreadableImage, ImageTooSmall, ImageTooLarge: as their names say.
    """
    if not data:
        raise NotAnImage(f"the image is empty (0 bytes); {_SUPPORTED}")
    try:
        image = _opened(data)
    except (ImageTooLarge, UnreadableImage):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge(f"the image has more than the {limits.max_pixels:,} pixels that are read") from None
    except Exception as error:  # parsers raise many kinds of errors for a damaged header
        if data.startswith(_MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            said = "the image is truncated or damaged: its header does not parse; send the whole file"
            raise UnreadableImage(said) from None
        if not isinstance(error, OSError):
            raise UnreadableImage(f"the image is damaged: {error}") from None
        raise NotAnImage(f"not an image of a known format: it is {_describe(data)}; {_SUPPORTED}") from None
    check_size(image.size, limits)
    if image.format == "WEBP" and image.width * image.height > (most := int(WEBP_SHARE * limits.max_pixels)):
        raise ImageTooLarge(
            f"the WebP is {image.width}×{image.height} = {image.width * image.height:,} pixels; "
            f"at most {most:,} are read, as its decoder takes much memory: scale it down, or send another format"
        )
    return image


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Raise ImageTooSmall or ImageTooLarge if the width and height are outside the limits."""
    width, height = size
    if max(width, height) < limits.min_side or min(width, height) < 1:
        raise ImageTooSmall(f"the image is {width}×{height} pixels; at least one side must have {limits.min_side}")
    if max(width, height) > MAX_SIDE:
        raise ImageTooLarge(
            f"the image is {width}×{height} pixels; at most {MAX_SIDE:,} a side are read: scale it down or cut it"
        )
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {width}×{height} = {width * height:,} pixels; "
            f"at most {limits.max_pixels:,} are read: scale it down"
        )


def pixels_of(source: bytes | np.ndarray) -> int:
    """Count the pixels of an image by its header alone; return 0 if the header cannot be read."""
    if isinstance(source, np.ndarray):
        return source.size
    if source.startswith(_PNG_HEAD):  # any other PNG is damaged
        return int.from_bytes(source[16:20]) * int.from_bytes(source[20:24])
    try:
        width, height = _opened(source).size
    except Exception:  # parsers raise many kinds of errors; reading the image will say what is wrong
        return 0
    return width * height


def plain_png(data: bytes, limits: Limits) -> tuple[tuple[int, int], bytes] | None:
    """Return the size and the compressed pixels of an intact PNG of 8-bit grey with one IDAT chunk and no metadata.

    Most small digits are such files, and Pillow takes three times as long to parse them as to decode them. Return None
    for any other file, damaged ones included: Pillow reads those.
    """
    at = len(_PNG_HEAD)
    start, end = at + 25, len(data) - len(_PNG_END) - 4  # of the pixels, compressed
    if not (data.startswith(_PNG_HEAD) and data.endswith(_PNG_END) and data[at + 8 : at + 13] == _PNG_GREY):
        return None
    width, height, header_sum, length = _PNG_FIELDS(data, at)
    if length != end - start or data[at + 21 : start] != b"IDAT":
        return None
    if not (limits.min_side <= max(width, height) <= MAX_SIDE and 0 < width * height <= limits.max_pixels):
        return None
    pixels = data[start:end]
    if crc32(data[at - 4 : at + 13]) != header_sum or crc32(pixels, _IDAT) != int.from_bytes(data[end : end + 4]):
        return None
    return (width, height), pixels


def _opened(data: bytes) -> Image.Image:
    """Let Pillow read the header, but no pixels; its parsers raise many kinds of errors."""
    # Most small images are PNG, for which detecting the format costs as much as parsing the header.
    file = _spare_file(data)
    return PngImageFile(file) if data.startswith(PNG) else Image.open(file, formats=FORMATS)


def _describe(data: bytes) -> str:
    start = data[:64].lstrip()
    for offset, magic, name in _FOREIGN:
        there = data[offset : offset + len(magic)] if offset else start  # text formats may start with white space
        if there[: len(magic)].lower() == magic.lower():
            return name
    return f"{len(data):,} bytes that start with {bytes(data[:8])!r}"


class _Counted(io.BytesIO):
    """A file that may be read :data:`MAX_READS` times."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            _reject_parts()
        return super().read(size)


def _spare_file(data: bytes) -> io.BytesIO:
    """Return the file for Pillow to open, after a check that its structure costs little.

    Raises:
        ImageTooLarge: it has more parts than are read.
        UnreadableImage: it has two headers, or none where it must be.
    """
    if data.startswith(PNG):
        data = _spare_png(data)
    elif data.startswith(JPEG):
        if scans_of(data) > MAX_SCANS:
            _reject("JPEG", f"{MAX_SCANS} scans")
    elif data.startswith(_TIFF):
        _check_tiff(data)
    elif data.startswith(b"BM") and int.from_bytes(data[30:34], "little") in (_RLE8, _RLE4):
        if len(data) > MAX_RUNS:
            _reject("run-length encoded BMP", f"{MAX_RUNS:,} bytes")
        return io.BytesIO(data)
    # A file cannot have more parts than bytes.
    return _Counted(data) if len(data) > MAX_READS else io.BytesIO(data)


def _reject_parts() -> NoReturn:
    said = f"the image file has more parts than the {MAX_READS:,} reads that it is opened with: save it again"
    raise ImageTooLarge(said)


def _reject(kind: str, most: str) -> NoReturn:
    raise ImageTooLarge(f"the {kind} has more than {most}, the most that is read: save it again, as PNG perhaps")


def _spare_png(data: bytes) -> bytes:
    """Remove texts and profile. Chunks: https://www.w3.org/TR/png-3/#5DataRep."""
    if not data.startswith(_PNG_HEAD):
        raise UnreadableImage("the PNG is damaged: its first chunk is not a header (IHDR) of 13 bytes")
    kept, start, at, count = [], 0, len(PNG), 0
    while at + 8 <= len(data):
        size, kind = _PNG_CHUNK(data, at)
        count += 1
        if count > MAX_READS:
            _reject_parts()
        if kind == b"IHDR" and count > 1:
            raise UnreadableImage("the PNG is damaged: it has two headers (IHDR)")
        end = at + size + 12
        if kind in _SPARED:
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data


def scans_of(data: bytes) -> int:
    """Count the scans of a JPEG before its end; return 0 for other data.

    Raises:
        ImageTooLarge: it has more parts than are read, or more before its first scan.
    """
    scans = parts = 0
    at = 2
    while at < len(data):
        found = _MARKER.search(data, at, at + STRETCH)  # a stretch at a time, as a search blocks all other threads
        if found is None:
            at += STRETCH - 1
            continue
        at = found.end()
        marker = data[at - 1]
        if marker == _END:
            break
        parts += 1
        if parts > MAX_READS:
            _reject_parts()
        if not scans and at > MAX_HEADER:
            _reject("JPEG", f"{MAX_HEADER:,} bytes before its picture")
        if marker not in _ALONE:
            scans += marker == _SCAN
            at += int.from_bytes(data[at : at + 2])
    return scans


def _check_tiff(data: bytes) -> None:
    """Check the first directory, the only one that is read: TIFF 6.0, section 2; BigTIFF has wider numbers."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    sign = "<" if order == "little" else ">"
    big = 43 in data[2:4]
    size, number = (20, Struct(f"{sign}HHQ").unpack_from) if big else (12, Struct(f"{sign}HHI").unpack_from)
    at = int.from_bytes(data[8:16] if big else data[4:8], order)
    start = at + (8 if big else 2)
    count = int.from_bytes(data[at:start], order)
    values = space = 0
    for entry in range(start, min(start + count * size, len(data) - size + 1), size):
        _, kind, length = number(data, entry)
        each = _TIFF_BYTES.get(kind, 1)
        if length * each <= len(data) and each > 1:  # else Pillow skips it as damaged, or does not unpack it
            values += length
        space += min(length * each, len(data))
        if values > MAX_VALUES:
            _reject("TIFF", f"{MAX_VALUES:,} numbers in its tags, of which each strip takes two")
        if space > MAX_SHARED * len(data):
            raise UnreadableImage(f"the TIFF is damaged: its tags take more than {MAX_SHARED} times the file's bytes")

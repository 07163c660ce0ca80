"""What an image file may cost beside its pixels: its chunks, segments, strips, scans and texts, counted before.

A file of 20 MB can hold a million chunks or two thousand compressed profiles, and be of 28×28 pixels. Formats are read
by Pillow; what follows only keeps it from going on without end. :mod:`inkdigits.decode` goes on from here.
"""

from __future__ import annotations

import io
import re
from struct import Struct
from typing import Literal, NoReturn

from inkdigits.errors import ImageTooLarge, UnreadableImage

__all__ = ["JPEG", "MAX_SCANS", "PNG", "PNG_HEAD", "scans_of", "spare_file"]

MAX_READS = 30_000  # of a file's chunks, segments and blocks, at most; a large photo takes some thousand
MAX_VALUES = 65_536  # numbers in the tags of a TIFF, where each strip is two
MAX_SHARED = 4  # times the bytes of a TIFF that its tags may refer to
MAX_RUNS = 1 << 20  # bytes of a run-length encoded BMP, which Pillow decodes in Python
MAX_HEADER = 8 << 20  # bytes before the first scan of a JPEG, where phones keep some megabytes of their own
STRETCH = 1 << 20  # bytes of a JPEG that are gone through at a time
MAX_SCANS = 100  # of a progressive JPEG; encoders make about 10, and each goes over all of the picture

PNG = b"\x89PNG\r\n\x1a\n"
PNG_HEAD = PNG + b"\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff"
_TIFF = (b"II", b"MM")
# Text, and the profile: of no use here, and a kilobyte may hold a megabyte of them.
_SPARED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_PNG_CHUNK = Struct(">I4s").unpack_from
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # not in the pixels of a JPEG, where \0 follows \xff
_SCAN, _END = 0xDA, 0xD9
_ALONE = (0x01, 0xD8)  # markers that no length follows
_RLE8, _RLE4 = 1, 2
# Bytes a value of each type of a TIFF's tags; those of 1 byte Pillow leaves as they are.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class _Counted(io.BytesIO):
    """A file that may be read so many times."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise _TooManyParts
        return super().read(size)


class _TooManyParts(ImageTooLarge):
    def __init__(self) -> None:
        super().__init__(
            f"the image file has more parts than the {MAX_READS:,} reads that it is opened with: save it again"
        )


def spare_file(data: bytes) -> io.BytesIO:
    """The file for Pillow to open, once its structure is known to cost little.

    Raises:
        ImageTooLarge: it has more parts than are read.
        UnreadableImage: it has two headers, or none where it must be.
    """
    if data.startswith(PNG):
        data = _spare_png(data)
    elif data.startswith(JPEG):
        if scans_of(data) > MAX_SCANS:
            _refuse("JPEG", f"{MAX_SCANS} scans")
    elif data.startswith(_TIFF):
        _check_tiff(data)
    elif data.startswith(b"BM") and int.from_bytes(data[30:34], "little") in (_RLE8, _RLE4):
        if len(data) > MAX_RUNS:
            _refuse("run-length encoded BMP", f"{MAX_RUNS:,} bytes")
        return io.BytesIO(data)
    # No file has more parts than bytes.
    return _Counted(data) if len(data) > MAX_READS else io.BytesIO(data)


def _refuse(kind: str, most: str) -> NoReturn:
    raise ImageTooLarge(f"the {kind} has more than {most}, the most that is read: save it again, as PNG perhaps")


def _spare_png(data: bytes) -> bytes:
    """Without text and profile. Chunks: https://www.w3.org/TR/png-3/#5DataRep."""
    if not data.startswith(PNG_HEAD):
        raise UnreadableImage("the PNG is damaged: its first chunk is not a header (IHDR) of 13 bytes")
    kept, start, at, count = [], 0, len(PNG), 0
    while at + 8 <= len(data):
        size, kind = _PNG_CHUNK(data, at)
        count += 1
        if count > MAX_READS:
            raise _TooManyParts
        if kind == b"IHDR" and count > 1:
            raise UnreadableImage("the PNG is damaged: it has two headers (IHDR)")
        end = at + size + 12
        if kind in _SPARED:
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data


def scans_of(data: bytes) -> int:
    """How many scans a JPEG has before its end; 0 for what is none.

    Raises:
        ImageTooLarge: it has more parts than are read, or more before its first scan.
    """
    scans = parts = 0
    at = 2
    while at < len(data):
        found = _MARKER.search(data, at, at + STRETCH)  # a stretch at a time, as no other thread goes on meanwhile
        if found is None:
            at += STRETCH - 1
            continue
        at = found.end()
        marker = data[at - 1]
        if marker == _END:
            break
        parts += 1
        if parts > MAX_READS:
            raise _TooManyParts
        if not scans and at > MAX_HEADER:
            _refuse("JPEG", f"{MAX_HEADER:,} bytes before its picture")
        if marker not in _ALONE:
            scans += marker == _SCAN
            at += int.from_bytes(data[at : at + 2])
    return scans


def _check_tiff(data: bytes) -> None:
    """The first directory, which is the one that is read: TIFF 6.0, section 2; BigTIFF has wider numbers."""
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
        if length * each <= len(data) and each > 1:  # else it is damaged and passed over, or stays as it is
            values += length
        space += min(length * each, len(data))
        if values > MAX_VALUES:
            _refuse("TIFF", f"{MAX_VALUES:,} numbers in its tags, of which each strip takes two")
        if space > MAX_SHARED * len(data):
            raise UnreadableImage(f"the TIFF is damaged: its tags take more than {MAX_SHARED} times the file's bytes")

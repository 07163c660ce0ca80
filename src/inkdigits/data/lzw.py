"""Decode Unix ``compress`` files (.Z), which the UCI repository keeps its older data sets in and Python cannot read.

The format is T. A. Welch's code of 1984 (doi:10.1109/MC.1984.1659158) as ncompress writes it
(https://github.com/vapier/ncompress): three bytes of header, then codes of 9 to 16 bits, lowest bit first. Codes come
in groups of eight, and a group is padded to its full length wherever the width of the codes changes. (uncompresspy 0.4
reads files of many codes wrong that are not in block mode; gzip and this read them right.)
"""

from __future__ import annotations

__all__ = ["MAGIC", "decompress"]

MAGIC = b"\x1f\x9d"

_HEADER = 3  # bytes: the magic and the flags
_WIDTH_MASK = 0x1F  # of the flags: the widest code, in bits
_BLOCK_MODE = 0x80  # of the flags: code 256 empties the table
_CLEAR = 256
_FIRST_WIDTH = 9  # bits of a code at the start and after a clear
_WIDEST = range(10, 17)  # bits; with 9, compress writes what not even compress can read


def decompress(data: bytes) -> bytes:
    """Return the content of a ``.Z`` file.

    Raises:
        ValueError: it is not in this format, or damaged; a file cut short cannot always be told, as the format has
            neither length nor checksum.
    """
    if data[:2] != MAGIC or len(data) < _HEADER:
        raise ValueError(
            f"not a compress (.Z) file: it begins with {data[:3].hex(' ') or 'nothing'}, not 1f 9d and flags"
        )
    flags = data[2]
    widest = flags & _WIDTH_MASK
    if widest not in _WIDEST:
        raise ValueError(f"its header asks for codes of up to {widest} bits; read are 10 to 16")
    literals = [bytes([i]) for i in range(256)]
    # Code 256 is not a string but the command to clear, where the flags say so.
    table = literals + [b""] * bool(flags & _BLOCK_MODE)
    first_free = len(table)
    out: list[bytes] = []
    previous = b""
    start, width = _HEADER, _FIRST_WIDTH  # of the group of codes being read: its first byte, and the bits of a code
    while start < len(data):
        group = int.from_bytes(data[start : start + width], "little")  # eight codes of n bits are n bytes
        codes = min(8, (len(data) - start) * 8 // width)
        start += width
        for _ in range(codes):
            code = group & ((1 << width) - 1)
            group >>= width
            if code == _CLEAR and first_free > _CLEAR:
                del table[first_free:]
                previous, width = b"", _FIRST_WIDTH
                break
            if code < len(table):
                entry = table[code]
            elif code == len(table) and previous:
                entry = previous + previous[:1]  # the one code that is used before it is complete
            else:
                raise ValueError(f"code {code} at byte {start} stands for nothing yet; the file is damaged")
            out.append(entry)
            if previous and len(table) < 1 << widest:
                table.append(previous + entry[:1])
            previous = entry
            # The encoder is one entry ahead of what is known here.
            if len(table) + 1 > 1 << width and width < widest:
                width += 1
                break
    return b"".join(out)

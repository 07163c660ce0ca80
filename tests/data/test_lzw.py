"""Unix compress files, decoded: against an encoder of one's own, gzip's decoder, and what ncompress itself wrote."""

import base64
import shutil
import subprocess

import numpy as np
import pytest

from inkdigits import DataError
from inkdigits.data.lzw import MAGIC, decompress
from inkdigits.data.pen import read_unipen

# ncompress 4.2.4.6, `compress -b 16`, of the text below.
TEXT = b'.SEGMENT DIGIT 0 ? "8"\n' + b"".join(b"%4d %4d\n" % (200 + i % 37, 310 - i * i % 53) for i in range(60))
COMPRESSED = base64.b64decode(
    "H52QLqYUOdKkiBMqIIgkOZIEIQwQP0CIwCFCAQgZMB6CmBEDhkWMMUBshJHjIwwZImfAsGFyRkoYMUzSECkjBw2TNWjiqGHSBs0bNy/CuEHTRkyh"
    "OGjmKCk0h04ZHzsWnRE15MUcPC/GQHnxBlStLkd61DqzK1WtOa/eiOrzog2WWolexAFXRoykI4Padep27UWMOo/KsKv07GCuKg3LCCujBo6PMsrK"
    "sKG3cdHHf9vKuDF2sNzNnWXgnYx5MN/JelXSdPyR40vDM7jWhM0Yh+AZkm34XZxWZWrNdE1qnFwXptLdJ38ahhFWZWcYkr3iVJoVo2Ybyz/j+Ipx"
    "9FKTp41GHQ60qs7qW5XqjdEcZtSyKuvG6E2SbcqOUeWqZGoXb/yofKkkGGBXVWaVaNUN9tNN"
)


def compress(data: bytes, widest: int = 16, clear_every: int = 0, block_mode: bool = True) -> bytes:
    """The encoder, as the format is told: the table grows by one string a code, codes by a bit when it is full.

    Args:
        clear_every: codes after which the table is cleared; 0: never.
    """
    table = {bytes([i]): i for i in range(256)}
    first_free = 257 if block_mode else 256
    out = bytearray([*MAGIC, widest | (0x80 if block_mode else 0)])
    group: list[int] = []
    width, free, written = 9, first_free, 0

    def flush(padded: bool) -> None:
        bits = sum(code << (i * width) for i, code in enumerate(group))
        out.extend(bits.to_bytes(width if padded else (len(group) * width + 7) // 8, "little"))
        group.clear()

    def write(code: int) -> None:
        group.append(code)
        if len(group) == 8:
            flush(True)

    word = b""
    for i in range(len(data)):
        longer = data[i : i + 1] if not word else word + data[i : i + 1]
        if longer in table:
            word = longer
            continue
        write(table[word])
        written += 1
        if free < 1 << widest:
            table[longer] = free
            free += 1
        if free > 1 << width and width < widest:
            if group:
                flush(True)
            width += 1
        if clear_every and block_mode and written % clear_every == 0:
            write(256)
            if group:
                flush(True)
            table = {bytes([i]): i for i in range(256)}
            width, free = 9, first_free
        word = data[i : i + 1]
    if word:
        write(table[word])
    if group:
        flush(False)
    return bytes(out)


def samples():
    rng = np.random.default_rng(0)
    yield b""
    for n in (1, 2, 255, 256, 257, 3000, 30_000):
        yield b"a" * n
        for letters in (2, 5, 256):
            yield rng.integers(0, letters, n).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "options", [{}, {"widest": 10}, {"widest": 12, "clear_every": 700}, {"block_mode": False}], ids=str
)
def test_what_was_compressed_comes_back(options):
    for data in samples():
        assert decompress(compress(data, **options)) == data


def test_a_file_that_compress_wrote():
    assert decompress(COMPRESSED) == TEXT


@pytest.mark.skipif(not shutil.which("gzip"), reason="gzip, which reads .Z files too, is not on this machine")
@pytest.mark.parametrize(
    "options", [{}, {"widest": 10}, {"widest": 12, "clear_every": 700}, {"block_mode": False}], ids=str
)
def test_gzip_reads_the_same(options):
    data = b"".join(list(samples())[-6:])
    packed = compress(data, **options)
    assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == decompress(packed)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it begins with nothing"),
        (b"\x1f\x8b\x08", "it begins with 1f 8b 08"),
        (MAGIC, "begins with 1f 9d, not 1f 9d and flags"),
        (MAGIC + b"\x89", "codes of up to 9 bits; read are 10 to 16"),
        (MAGIC + b"\x91", "codes of up to 17 bits"),
        (MAGIC + b"\x90\xff\xff\xff", "code 511 at byte"),
    ],
)
def test_what_is_damaged_or_something_else_is_told(data, message):
    with pytest.raises(ValueError, match=message):
        decompress(data)


def test_pen_strokes_as_the_uci_repository_serves_them(tmp_path):
    text = b'.SEGMENT DIGIT 0 ? "8"\n.COMMENT 8 12 224\n.PEN_DOWN\n10 20\n11 25\n.PEN_UP\n'
    (tmp_path / "some.tra.Z").write_bytes(compress(text))
    [digit] = read_unipen(tmp_path / "some.tra.Z")
    assert (digit.label, digit.writer) == (8, 12)
    np.testing.assert_array_equal(digit.strokes[0], [[10, -20], [11, -25]])

    (tmp_path / "some.tra.Z").write_bytes(compress(text)[:20] + b"\xff" * 20)
    with pytest.raises(DataError, match=r"some.tra.Z cannot be read as UNIPEN text: code \d+ at byte"):
        read_unipen(tmp_path / "some.tra.Z")

"""Files that are small in pixels and large in parts: rejected for their structure before it is parsed."""

import io
import struct
import zlib

import pytest
from PIL import Image, ImageOps, PngImagePlugin

from inkdigits.errors import ImageError, ImageTooLarge, UnreadableImage
from inkdigits.preprocess import Limits, preprocess
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import MAX_SCANS

from support.drawings import picture
from support.files import bmp, chunk, encode, gif, jpeg, png, scans, segment, tiff

MANY = 60_000  # parts; 20 MB would hold a million
PIXELS = zlib.compress(bytes(29 * 28))
HEADER = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
LIMITS = Limits()


TOO_MANY = {
    "PNG chunks": png(28, 28, PIXELS, chunk(b"prVt", b"") * MANY),
    "PNG pixels in chunks": png(28, 28, PIXELS, chunk(b"IDAT", b"") * MANY),
    "PNG texts after the pixels": png(28, 28, PIXELS) + chunk(b"tEXt", b"a\0b") * MANY,
    "JPEG comments": jpeg(segment(0xFE) * MANY),
    "JPEG parts of a program": jpeg(segment(0xE5) * MANY),
    "JPEG fill": jpeg(segment(0xFE), b"\xff" * 4 * MANY),
    "JPEG junk": jpeg(segment(0xFE), b"\0" * 4 * MANY),
    "JPEG restarts": jpeg(segment(0xFE), b"\xff\xd0" * 2 * MANY),
    "JPEG without length": jpeg((segment(0xF0, segment(0xFE) * 16_000)) * 8),
    "JPEG header": jpeg(segment(0xED, bytes(65_000)) * 140),
    "JPEG scans": scans(MAX_SCANS + 1),
    "JPEG scans after an end in a comment": scans(4)[:-2]
    + segment(0xFE, b"\xff\xd9")
    + scans(MAX_SCANS)[scans(4).find(b"\xff\xda") :],
    "GIF comments": gif(b"!\xfe\1x\0" * MANY),
    "GIF comment": gif(b"!\xfe", b"\1x" * MANY, b"\0"),
    "GIF extensions": gif(b"!\1\0" * MANY),
    "GIF junk": gif(bytes(MANY)),
    "TIFF strips": tiff((273, 4, MANY, 122), (278, 4, 1, 1), (279, 4, MANY, 122), tail=bytes(4 * MANY)),
    "TIFF tiles": tiff(
        (322, 4, 1, 1),
        (323, 4, 1, 1),
        (324, 4, MANY, 134),
        (325, 4, MANY, 134),
        width=300,
        height=200,
        tail=bytes(4 * MANY),
    ),
    "TIFF rationals": tiff((282, 5, 2 * MANY, 98), tail=bytes(16 * MANY)),
    "BMP runs": bmp(b"\1\7" * 1_100_000),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_parts_are_rejected(name):
    """By an error that names the limit, whatever the form."""
    with pytest.raises(ImageError) as found:
        preprocess(TOO_MANY[name])
    assert isinstance(found.value, ImageTooLarge) or "damaged" in str(found.value)


def test_a_rejection_names_the_limit():
    with pytest.raises(ImageTooLarge, match="the JPEG has more than 100 scans, the most that is read"):
        decode(scans(500), LIMITS)
    with pytest.raises(ImageTooLarge, match="more parts than the 30,000 reads"):
        decode(TOO_MANY["PNG chunks"], LIMITS)
    with pytest.raises(ImageTooLarge, match="65,536 numbers in its tags"):
        decode(TOO_MANY["TIFF strips"], LIMITS)


@pytest.mark.parametrize("name", ["progressive", "motion photo", "two pictures"])
def test_ordinary_photos_are_not_bombs(name):
    file = encode(Image.fromarray(picture(7)), "JPEG", progressive=True)
    # What follows a picture's end, as a phone's film or second picture does, is not the picture's.
    tail = {"progressive": b"", "motion photo": b"\xff\xda\0\x0c" * 500, "two pictures": file}[name]
    assert preprocess(file + tail).image.any()


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
@pytest.mark.parametrize("after", [False, True])
def test_texts_are_not_unpacked(kind, after, monkeypatch):
    bomb = zlib.compress(bytes(1 << 20), 9)
    data = {
        b"tEXt": b"Comment\0" + bytes(1 << 18),
        b"zTXt": b"Comment\0\0" + bomb,
        b"iTXt": b"Comment\0\1\0\0\0" + bomb,
        b"iCCP": b"profile\0\0" + bomb,
    }[kind]
    unpacked = []
    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", lambda data: unpacked.append(data) or b"")
    whole = encode(Image.fromarray(picture(7)))
    at = whole.rfind(b"IEND") - 4 if after else 33
    bombed = decode(whole[:at] + chunk(kind, data) * 20 + whole[at:], LIMITS)
    assert bombed.tobytes() == decode(whole, LIMITS).tobytes()
    assert not unpacked


@pytest.mark.parametrize(
    "first",
    [
        chunk(b"tEXt", HEADER) + chunk(b"IHDR", HEADER),
        chunk(b"prVt", HEADER) + chunk(b"IHDR", struct.pack(">II", 4096, 4096) + HEADER[8:]),
        chunk(b"IHDR", HEADER) + chunk(b"IHDR", struct.pack(">II", 4096, 4096) + HEADER[8:]),
        chunk(b"IHDR", HEADER + b"\0"),
        b"",
    ],
)
def test_a_png_begins_with_its_one_header(first):
    file = b"\x89PNG\r\n\x1a\n" + first + chunk(b"IDAT", PIXELS) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableImage, match="IHDR"):
        decode(file, LIMITS)


def test_tags_that_share_their_bytes_are_not_read_a_thousand_times():
    shared = [(40_000 + i, 7, 1 << 20, 98) for i in range(1000)]
    with pytest.raises(UnreadableImage, match="its tags take more than"):
        decode(tiff(*shared, tail=bytes(1 << 21)), LIMITS)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_upright_as_pillow_turns_it(form, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    file = encode(Image.fromarray(picture(7, 60, height=40)), form, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    assert decode(file, LIMITS).convert("RGB").tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [(1, (1 << 20) + 1), ((1 << 20) + 1, 10)])
def test_a_side_is_bounded(size):
    with pytest.raises(ImageTooLarge, match="at most 1,048,576 a side are read"):
        decode(encode(Image.new("L", size)), LIMITS)

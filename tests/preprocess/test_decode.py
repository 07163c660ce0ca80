"""Every kind of picture file and array arrives as the same upright pixels, or with an error that says why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inkdigits import ImageTooLarge, ImageTooSmall, InvalidPixels, Limits, NotAnImage, UnreadableImage
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import plain_png

from support.drawings import picture
from support.files import chunk, encode

FIVE = picture(5, 60)


def levels(source, limits=Limits()):  # noqa: B008
    image = decode(source, limits)
    assert image.mode in ("L", "RGB", "F")
    pixels = np.asarray(image, np.float32)
    return pixels if pixels.ndim == 2 else pixels.mean(axis=2)


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 40),
        ("JPEG", {"quality": 92}, 40),
        ("JPEG", {"quality": 92, "progressive": True}, 40),
    ],
)
def test_every_format(format, options, tolerance):
    assert np.abs(levels(encode(Image.fromarray(FIVE), format, **options)) - FIVE).max() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "YCbCr", "HSV", "LAB"])
def test_every_pillow_mode(mode):
    via = "RGB" if mode in ("LAB", "HSV", "YCbCr") else "L"
    image = Image.fromarray(FIVE).convert(via).convert("P").convert("PA") if mode == "PA" else None
    image = image or Image.fromarray(FIVE).convert(via).convert(mode)
    expected = np.where(FIVE < 128, 0, 255) if mode == "1" else FIVE
    seen = levels(image)
    if mode == "1":  # dithered at the edges: compare well inside
        assert (np.abs(seen - expected) < 1).mean() > 0.95
    else:
        assert np.abs(seen - expected).max() <= 4


def test_cmyk_jpeg_and_16_bit_files():
    assert np.abs(levels(encode(Image.fromarray(FIVE).convert("CMYK"), "JPEG", quality=95)) - FIVE).max() <= 60
    deep = FIVE.astype(np.uint16) * 257
    for format in ("PNG", "TIFF"):
        assert np.abs(levels(encode(Image.fromarray(deep), format)) - FIVE).max() < 0.01


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(FIVE), Image.fromarray(255 - FIVE)]
    for format in ("GIF", "TIFF", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert np.abs(levels(data) - FIVE).max() <= 1, format


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(turn):
    # The oracle: the transform a viewer applies for each value, by the EXIF 2.3 specification, table 6.
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]
    stored = Image.fromarray(picture(5, 60, height=40))
    upright = np.asarray(stored)
    if undo is not None:
        stored = stored.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = turn
    for format in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        np.testing.assert_array_equal(levels(encode(stored, format, exif=exif, **options)), upright)
    assert levels(encode(stored, "JPEG", exif=exif)).shape == upright.shape


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_every_array_type(dtype):
    sharp = np.where(FIVE < 128, 0, 255).astype(np.uint8)
    array = {bool: sharp > 0, np.uint8: sharp, np.uint16: sharp.astype(np.uint16) * 257}.get(dtype)
    array = (sharp / 255).astype(dtype) if array is None else array
    np.testing.assert_allclose(levels(array), sharp, atol=0.01)
    np.testing.assert_allclose(levels(np.stack([array] * 3, axis=2)), sharp, atol=0.01)
    np.testing.assert_allclose(levels(array[:, ::-1][:, ::-1]), sharp, atol=0.01)  # not contiguous


def test_bytes_path_and_file_are_the_same(tmp_path):
    data = encode(Image.fromarray(FIVE), "PNG")
    path = tmp_path / "five.jpg"  # the name is not believed
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        np.testing.assert_array_equal(levels(source), FIVE)


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_alone_on_a_transparent_sheet(ink):
    cover = 255 - FIVE
    rgba = np.dstack([np.full_like(FIVE, ink)] * 3 + [cover])
    seen = levels(rgba)
    np.testing.assert_allclose(seen, FIVE if ink == 0 else 255 - FIVE, atol=1)


@pytest.mark.parametrize("swap", [False, True])
def test_paper_with_transparent_corners_stays_paper(swap):
    sheet = 255 - FIVE if swap else FIVE
    alpha = np.full_like(sheet, 255)
    alpha[:8, :8] = alpha[-8:, -8:] = 0
    seen = levels(np.dstack([sheet] * 3 + [alpha]))
    np.testing.assert_allclose(seen, sheet, atol=1)


def test_color_key_transparency():
    image = Image.fromarray(np.where(FIVE < 128, 0, 255).astype(np.uint8))
    data = encode(image, "PNG", transparency=255)  # white is clear
    np.testing.assert_allclose(levels(data), np.asarray(image), atol=1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"hello, I am a text", "b'hello, I"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
    ],
)
def test_not_an_image(data, says):
    with pytest.raises(NotAnImage, match=says) as caught:
        decode(data, Limits())
    assert "PNG, JPEG, GIF, WebP, BMP and TIFF" in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_truncated(format, share):
    # A size that keeps more than the header in every format, and noise, which does not compress.
    noise = np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)
    data = encode(Image.fromarray(noise), format)
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        decode(data[: int(len(data) * share)], Limits())


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImage, match=r"cannot open .*nowhere\.png: No such file"):
        decode(tmp_path / "nowhere.png", Limits())
    with pytest.raises(UnreadableImage, match="cannot open"):
        decode(tmp_path, Limits())


def test_text_file_object_and_foreign_type():
    with pytest.raises(NotAnImage, match="binary mode"):
        decode(io.StringIO("x"), Limits())
    with pytest.raises(NotAnImage, match="int is not an image"):
        decode(5, Limits())


def test_size_limits():
    with pytest.raises(ImageTooSmall, match=r"9×9 pixels.*10"):
        decode(np.zeros((9, 9), np.uint8), Limits())
    assert decode(np.zeros((10, 3), np.uint8), Limits()).size == (3, 10)
    with pytest.raises(ImageTooLarge, match=r"100×101 = 10,100 pixels; at most 10,000"):
        decode(np.zeros((101, 100), np.uint8), Limits(max_pixels=10_000))
    with pytest.raises(ImageTooLarge, match="larger than 1,000 bytes"):
        decode(bytes(1001), Limits(max_bytes=1000))
    with pytest.raises(ImageTooLarge, match="larger than 1,000 bytes"):
        decode(io.BytesIO(bytes(1001)), Limits(max_bytes=1000))


@pytest.mark.parametrize("side", [5000, 12_000, 30_000])
def test_a_bomb_is_rejected_by_its_header(side):
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    with pytest.raises(ImageTooLarge, match="pixels"):
        decode(head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""), Limits())


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((28, 28, 2), np.uint8), r"shape \(28, 28, 2\)"),
        (np.zeros(784, np.uint8), r"shape \(784,\)"),
        (np.zeros((28, 28), np.int64), "int64"),
        (np.full((28, 28), 16.0), "16.*divide"),
        (np.full((28, 28), -0.5), "-0.5"),
        (np.full((28, 28), np.nan), "nan"),
        (np.full((28, 28), np.inf), "inf"),
        (np.zeros((28, 28), complex), "complex128"),
    ],
)
def test_arrays_that_are_not_pictures(array, says):
    with pytest.raises(InvalidPixels, match=says):
        decode(array, Limits())


def grey_png(
    compressed: bytes, width: int = 28, height: int = 28, kind: bytes = b"\x08\0\0\0\0", *more: bytes
) -> bytes:
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II", width, height) + kind)
    return b"".join((head, *more, chunk(b"IDAT", compressed), chunk(b"IEND", b"")))


def by_pillow(data: bytes) -> bytes | None:
    """The pixels, or None for what Pillow finds damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return image.tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


def plainly(data: bytes) -> bytes | None:
    """The pixels of a plain PNG; None for any other, or one whose pixels are damaged."""
    found = plain_png(data, Limits())
    try:
        return found and Image.frombytes("L", *found, "zip", "L").tobytes()
    except ValueError:
        return None


def test_plain_small_pngs_are_read_past_pillow_s_layers():
    data = encode(Image.fromarray(FIVE), "PNG")
    assert plainly(data) == decode(data, Limits()).tobytes() == FIVE.tobytes()


# Scanlines by each of the filters and none there is, streams that end early, that go on, and that are damaged anywhere.
@settings(max_examples=300, deadline=None)
@given(
    st.binary(min_size=28 * 29, max_size=28 * 29),
    st.lists(st.integers(0, 5), min_size=28, max_size=28),
    st.sampled_from([None, *range(0, 900, 7)]),
    st.sampled_from([b"", b"\0", b"more"]),
    st.sampled_from([None, *range(0, 60, 3)]),
)
def test_plain_small_pngs_are_read_as_pillow_reads_them(rows, filters, cut, more, flip):
    lines = bytearray(rows)
    lines[::29] = bytes(filters)
    stream = bytearray(zlib.compress(bytes(lines))[:cut] + more)
    if flip is not None and flip < len(stream):
        stream[flip] ^= 0x10
    data = grey_png(bytes(stream))
    plain = plainly(data)
    if plain is not None:
        assert plain == decode(data, Limits()).tobytes() == by_pillow(data)
    elif cut is flip is None and max(filters) < 5:
        raise AssertionError("it is whole, and was not read")


@pytest.mark.parametrize(
    "data",
    [
        grey_png(zlib.compress(bytes(29 * 28)), 28, 28, b"\x08\2\0\0\0"),  # color
        grey_png(zlib.compress(bytes(29 * 28)), 28, 28, b"\x08\0\0\0\1"),  # interlaced
        grey_png(zlib.compress(bytes(29 * 28)), 28, 28, b"\x10\0\0\0\0"),  # 16 bits
        grey_png(zlib.compress(bytes(29 * 28)), 28, 28, b"\x08\0\0\0\0", chunk(b"tRNS", b"\0\0")),
        grey_png(zlib.compress(bytes(29 * 28)), 28, 28, b"\x08\0\0\0\0", chunk(b"IDAT", b"")),
        grey_png(zlib.compress(bytes(29 * 28))) + b"\0",
        grey_png(zlib.compress(bytes(29 * 28)))[:-1],
        grey_png(zlib.compress(bytes(29 * 28)))[:-20] + b"\0\0\0\0" + grey_png(zlib.compress(bytes(29 * 28)))[-16:],
        grey_png(zlib.compress(bytes(100)), 0, 28),
        grey_png(zlib.compress(bytes(100)), 4, 4),
        grey_png(zlib.compress(bytes(100)), 1 << 20, 1 << 20),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"",
    ],
)
def test_all_but_plain_small_pngs_go_pillow_s_way(data):
    assert plain_png(data, Limits()) is None

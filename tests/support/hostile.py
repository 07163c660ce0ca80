"""A corpus of hostile uploads, made by code: what clients send by mistake, and what attackers send on purpose.

PYTHONPATH=tests python -m support.hostile FOLDER     # writes each as a file, for other tools
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from support.drawings import picture
from support.files import chunk, encode, png

DIGIT = 7
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
HUGE = 60_000  # pixels of a bomb's side
ORIENTATION = 0x0112  # the EXIF tag
PARTS = 5_000


@dataclass(frozen=True)
class Upload:
    """One request to ``POST /predict``; and the digit that it shows, or None where it need not be read."""

    name: str
    body: bytes
    digit: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def damaged_tiff(size: int) -> bytes:
    """A picture of the digit whose description claims to be this long: Pillow warns of it and names the length."""
    file = encode(Image.fromarray(picture(DIGIT)), "TIFF", tiffinfo={270: "x" * 50})
    entry = struct.pack("<HHI", 270, 2, 51)
    assert file.count(entry) == 1
    return file.replace(entry, struct.pack("<HHI", 270, 2, size))


def seven() -> Image.Image:
    return Image.fromarray(picture(DIGIT))


def uploads() -> Iterator[Upload]:
    """All of them."""
    yield from bombs()
    yield from damaged()
    yield from unusual()
    yield from documents()
    yield from forms()


def bombs() -> Iterator[Upload]:
    """Small files that say they are huge, or become so."""
    zeros = zlib.compress(bytes(8 << 20), 9)
    yield Upload("bomb.png", png(HUGE, HUGE, zeros))
    yield Upload("bomb-in-limits.png", png(4096, 4096, zlib.compress(bytes(4097 * 4096), 9)))
    yield Upload("bomb-more-data.png", png(28, 28, zeros))
    yield Upload("bomb-text.png", png(28, 28, zlib.compress(bytes(29 * 28)), chunk(b"zTXt", b"x\0\0" + zeros)))
    yield Upload("bomb-profile.png", png(28, 28, zlib.compress(bytes(29 * 28)), chunk(b"iCCP", b"x\0\0" + zeros)))
    small = Image.new("L", (64, 64), 255)
    side = struct.pack("<H", HUGE)
    gif = bytearray(encode(small, "GIF"))
    gif[6:10] = side * 2
    yield Upload("bomb.gif", bytes(gif))
    bmp = bytearray(encode(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", HUGE, HUGE)
    yield Upload("bomb.bmp", bytes(bmp))
    jpeg = bytearray(encode(small, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", HUGE, HUGE)
    yield Upload("bomb.jpg", bytes(jpeg))
    webp = bytearray(encode(small, "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9
    webp[at : at + 4] = struct.pack("<I", 0x0FFFFFFF)
    yield Upload("bomb.webp", bytes(webp))
    yield Upload("bomb.tiff", tiff(HUGE, HUGE))
    yield Upload("bomb-tags.tiff", tiff(64, 64, count=0x7FFFFFFF))
    yield Upload("bomb-rows.tiff", tiff(0xFFFFFFFF, 1))


def tiff(width: int, height: int, count: int = 1) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, count, 64)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def damaged() -> Iterator[Upload]:
    """Truncated at every fourth of the file, overwritten in the middle, and nothing but a header."""
    for form in FORMATS:
        data = encode(seven(), form)
        for quarter in (1, 2, 3):
            yield Upload(f"truncated-{quarter}.{form.lower()}", data[: len(data) * quarter // 4])
        middle = len(data) // 2
        yield Upload(f"overwritten.{form.lower()}", data[:middle] + b"\xff" * 64 + data[middle + 64 :])
        yield Upload(f"header.{form.lower()}", data[:16])
    yield Upload("empty", b"")
    yield Upload("zeros", bytes(100_000))
    yield Upload("noise", np.random.default_rng(0).bytes(100_000))
    for name, data in (
        ("page.html", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        ("entities.xml", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
        ("postscript.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(id) (r) file\n"),
        ("archive.zip", b"PK\x03\x04" + bytes(100)),
        ("program", b"\x7fELF" + bytes(1000)),
        (
            "pickle",
            b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
        ),
        ("array.npy", b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
    ):
        yield Upload(name, data, headers={"Content-Type": "image/png"})


def unusual() -> Iterator[Upload]:
    """Digits, in ways that few files have."""
    image = seven()
    yield Upload("polyglot.png", encode(image) + b"<script>alert(1)</script>PK\x03\x04", DIGIT)
    yield Upload("wrong-type", encode(image, "JPEG"), DIGIT, {"Content-Type": "image/gif"})
    yield Upload("cmyk.jpg", encode(image.convert("CMYK"), "JPEG", quality=95), DIGIT)
    yield Upload("16-bit.png", encode(Image.fromarray(np.asarray(image, np.uint16) * 257)), DIGIT)
    yield Upload("16-bit.tiff", encode(Image.fromarray(np.asarray(image, np.uint16) * 257), "TIFF"), DIGIT)
    yield Upload("1-bit.png", encode(image.point(lambda v: 255 * (v > 127), "1")), DIGIT)
    yield Upload("palette.png", encode(image.convert("P")), DIGIT)
    yield Upload("interlaced.jpg", encode(image, "JPEG", progressive=True, quality=95), DIGIT)
    frames = {"save_all": True, "append_images": [Image.new("L", image.size, 255)] * 50}
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        yield Upload(f"animated.{form.lower()}", encode(image, form, **frames), DIGIT)
    ink = Image.new("RGBA", image.size, (0, 0, 0, 0))
    ink.paste((0, 0, 0, 255), mask=ImageOps.invert(image))
    yield Upload("transparent.png", encode(ink), DIGIT)
    turns = [
        None,
        "FLIP_LEFT_RIGHT",
        "ROTATE_180",
        "FLIP_TOP_BOTTOM",
        "TRANSPOSE",
        "ROTATE_90",
        "TRANSVERSE",
        "ROTATE_270",
    ]
    for orientation, turn in enumerate(turns, 1):
        # What undoes the turn that the tag asks for.
        turned = image.transpose(Image.Transpose[turn]) if turn else image
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        yield Upload(f"turned-{orientation}.jpg", encode(turned, "JPEG", exif=exif, quality=95), DIGIT)
    yield Upload("broken-exif.jpg", encode(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95), DIGIT)
    long = image.resize((28, 28), Image.Resampling.BOX)
    strip = Image.new("L", (16_000, 28), 255)
    strip.paste(long, (8_000, 0))
    yield Upload("strip.png", encode(strip))
    yield Upload("noise.png", encode(Image.fromarray(np.random.default_rng(1).integers(0, 256, (900, 900), np.uint8))))
    checks = (np.indices((2000, 2000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    yield Upload("checks.png", encode(Image.fromarray(checks)))
    yield Upload("pixel.png", encode(Image.new("L", (1, 1))))
    yield Upload("float.tiff", encode(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"))
    yield Upload("infinite.tiff", encode(Image.fromarray(np.full((64, 64), np.inf, np.float32)), "TIFF"))


def documents() -> Iterator[Upload]:
    """JSON."""
    kind = {"Content-Type": "application/json"}
    pixels = (255 - np.asarray(seven().resize((28, 28), Image.Resampling.BOX))).ravel().tolist()
    yield Upload("pixels.json", json.dumps({"pixels": pixels}).encode(), DIGIT, kind)
    for name, text in (
        ("deep-lists.json", "[" * 100_000),
        ("deep-objects.json", '{"instances":' * 50_000 + "1" + "}" * 50_000),
        ("deep-pixels.json", '{"pixels":' + "[" * 900 + "]" * 900 + "}"),
        ("nan.json", '{"pixels": [' + ", ".join(["NaN"] * 784) + "]}"),
        ("infinity.json", '{"pixels": [' + ", ".join(["-Infinity"] * 784) + "]}"),
        ("large-numbers.json", '{"pixels": [' + ", ".join(["1e400"] * 784) + "]}"),
        ("long-number.json", '{"pixels": [' + "9" * 100_000 + "]}"),
        ("keys.json", "{" + ", ".join(f'"k{i}": 0' for i in range(100_000)) + "}"),
        ("same-key.json", "{" + ", ".join('"image": ""' for _ in range(10_000)) + "}"),
        ("surrogate.json", '{"image": "\\ud800"}'),
        ("null.json", "null"),
        ("instances.json", json.dumps({"instances": [[0] * 784] * 101})),
        ("address.json", json.dumps({"image": "http://169.254.169.254/latest/meta-data/"})),
        ("file.json", json.dumps({"image": "file:///etc/passwd"})),
        ("path.json", json.dumps({"image": "../../../../etc/passwd"})),
    ):
        yield Upload(name, text.encode(), headers=kind)
    yield Upload("not-utf8.json", b'{"image": "\xff\xfe"}', headers=kind)
    yield Upload("bom.json", b"\xef\xbb\xbf{}", headers=kind)


def forms() -> Iterator[Upload]:
    """Multipart bodies and forms."""

    def part(head: str, data: bytes = b"x") -> bytes:
        return b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    file, end = encode(seven()), b"--b--\r\n"
    yield Upload("one.multipart", part('name="a"; filename="../../etc/passwd"', file) + end, DIGIT, kind)
    yield Upload("parts.multipart", part('name="a"') * PARTS + end, headers=kind)
    yield Upload("files.multipart", part('name="a"; filename="a"') * PARTS + end, headers=kind)
    yield Upload("no-end.multipart", part('name="a"; filename="a"', file), headers=kind)
    yield Upload("long-name.multipart", part(f'name="{"a" * 100_000}"; filename="a"', file) + end, headers=kind)
    yield Upload("headers.multipart", b"--b\r\n" + b"X: y\r\n" * 50_000 + b"\r\nx\r\n" + end, headers=kind)
    yield Upload("nul.multipart", part('name="a\0"; filename="\0"', file) + end, headers=kind)
    yield Upload("no-boundary.multipart", part('name="a"'), headers={"Content-Type": "multipart/form-data"})
    long = {"Content-Type": f"multipart/form-data; boundary={'b' * 5_000}"}
    yield Upload("long-boundary.multipart", b"--" + b"b" * 5_000, headers=long)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    yield Upload("fields.form", b"&".join(b"a%d=1" % i for i in range(PARTS)), headers=form)
    yield Upload("percent.form", b"image=" + b"%25" * 50_000, headers=form)
    yield Upload("data-url.form", b"image=data:text/html;base64," + b"A" * 100_000, headers=form)
    yield Upload("packed.png", zlib.compress(bytes(30 << 20)), headers={"Content-Encoding": "deflate"})
    yield Upload("long-type", file, headers={"Content-Type": "image/" + "x" * 30_000})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for upload in uploads():
        (folder / upload.name).write_bytes(upload.body)

"""Any picture → upright, opaque, grey or RGB pixels: the half of image reading that knows file formats.

Formats are recognised by content, never by name, and the picture's size is checked before its pixels are decoded.
:mod:`inkdigits.image` goes on from here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from inkdigits.errors import ImageTooLarge, ImageTooSmall, InvalidPixels, NotAnImage, UnreadableImage
from inkdigits.parts import PNG, PNG_HEAD, spare_file

__all__ = ["ImageSource", "Limits", "decode", "encoded", "opened", "pixels_of", "plain_png", "quiet_pillow"]

ImageSource = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_SUPPORTED = "supported are PNG, JPEG, GIF, WebP, BMP and TIFF"
# First bytes of the supported formats: a file that starts so but does not open is damaged, not foreign.
_PNG_GREY = b"\x08\0\0\0\0"  # depth, colour, compression, filters, not interlaced
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_FIELDS = Struct(">II5xII").unpack_from  # width, height, the header's sum, length of the pixels
_IDAT = crc32(b"IDAT")
_MAGIC = (PNG, b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
# Formats that people send and that are not read, by their first bytes after an offset.
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
# Rec. 601 luma, as in Pillow's own conversion to "L".
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MAX_SIDE = 1 << 20  # pixels: to scale a longer one, Pillow makes a table as long with Python's lock in hand
WEBP_SHARE = 0.73  # of the most pixels, that a WebP may have, as its decoder holds four copies: a phone's 12 megapixels
MAX_EXIF = 64 << 10  # bytes; a longer block is not looked at, and no JPEG's own is longer
_ORIENTATION = 0x0112  # the EXIF tag, and what turns a picture of each value upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPAQUE = 128  # alpha from which a pixel's own colour is looked at
_TONE_SIDE = 512  # pixels of the longer side that the tones are judged by, so that a huge picture costs no more
_TONE_SPREAD = 64  # grey levels: opaque pixels that differ by more hold both ink and paper


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at all: anything beyond raises before memory is spent on it."""

    max_pixels: int = 4096 * 4096  # width × height
    max_bytes: int = 20 << 20  # of one encoded image
    min_side: int = 10  # pixels of the longer side


def quiet_pillow() -> None:
    """Print nothing of what Pillow warns of in a damaged file.

    For programs; a library leaves its user's filters alone. Each wording would be printed once and remembered for good,
    and files can vary it without end. What cannot be read is told by :func:`decode`'s errors.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(source: ImageSource, limits: Limits) -> Image.Image:
    """Open any image source as displayed: upright, first frame, alpha composited on the paper.

    Args:
        source: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
            (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
        limits: largest and smallest image to accept.

    Returns:
        A Pillow image of mode "L" or "RGB" (0 to 255), or "F" (float32, 0 to 255) for finer grey levels.

    Raises:
        NotAnImage, UnreadableImage, ImageTooSmall, ImageTooLarge, InvalidPixels: as their names say.
    """
    if isinstance(source, np.ndarray):
        return _flatten(_from_array(source, limits))
    if isinstance(source, Image.Image):
        _check_size(source.size, limits)
        image = source
    else:
        data = encoded(source, limits)
        if plain := plain_png(data, limits):
            try:
                return Image.frombytes("L", *plain, "zip", "L")
            except ValueError:  # Pillow's own way finds out what is amiss
                pass
        image = _open(data, limits)
    try:
        image.load()
    except ImageTooLarge:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error, …
        kind = image.format or "image"
        raise UnreadableImage(f"the {kind} is truncated or damaged: {error}; send the whole file") from None
    if image.format == "WEBP" and isinstance(image, ImageFile):
        image.fp = None  # which holds all of its pixels once more; and its decoder does, twice
        image = image.copy()
    if "exif" in image.info or image.format == "TIFF":
        image = _upright(image)
    return _flatten(image)


def encoded(source: str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO, limits: Limits) -> bytes:
    """The bytes of an image file, of which no more are read than the limits allow.

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


def _open(data: bytes, limits: Limits) -> Image.Image:
    if not data:
        raise NotAnImage(f"the image is empty (0 bytes); {_SUPPORTED}")
    try:
        image = opened(data)
    except (ImageTooLarge, UnreadableImage):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge(f"the image has more than the {limits.max_pixels:,} pixels that are read") from None
    except Exception as error:  # a damaged header raises whatever the format's parser stumbled over
        if data.startswith(_MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise UnreadableImage(
                "the image is truncated or damaged: its header does not parse; send the whole file"
            ) from None
        if not isinstance(error, OSError):
            raise UnreadableImage(f"the image is damaged: {error}") from None
        raise NotAnImage(f"not an image of a known format: it is {_describe(data)}; {_SUPPORTED}") from None
    _check_size(image.size, limits)
    if image.format == "WEBP" and image.width * image.height > (most := int(WEBP_SHARE * limits.max_pixels)):
        raise ImageTooLarge(
            f"the WebP is {image.width}×{image.height} = {image.width * image.height:,} pixels; "
            f"at most {most:,} are read, as its decoder takes much memory: scale it down, or send another format"
        )
    return image


def opened(data: bytes) -> Image.Image:
    """An image file whose header is read, and no pixels.

    Raises:
        ImageTooLarge, UnreadableImage: its structure costs too much, or is none.
        Exception: whatever the format's parser stumbles over.
    """
    # Nearly all that is small is PNG, for which finding out the format costs as much as parsing it.
    file = spare_file(data)
    return PngImageFile(file) if data.startswith(PNG) else Image.open(file, formats=FORMATS)


def pixels_of(source: bytes | np.ndarray) -> int:
    """Pixels of an image by its header alone; 0 for what has no readable header."""
    if isinstance(source, np.ndarray):
        return source.size
    if source.startswith(PNG_HEAD):  # any other PNG is damaged
        return int.from_bytes(source[16:20]) * int.from_bytes(source[20:24])
    try:
        width, height = opened(source).size
    except Exception:  # whatever a format's parser stumbles over; reading the image will tell what is wrong
        return 0
    return width * height


def plain_png(data: bytes, limits: Limits) -> tuple[tuple[int, int], bytes] | None:
    """Size and compressed pixels of a PNG of 8-bit grey that is whole, in one piece and holds nothing else.

    Most small digits are such, and Pillow takes three times as long to go through their chunks and its own layers as
    to decode them. None where it is any other file; what is amiss in any way goes Pillow's way.
    """
    at = len(PNG_HEAD)
    start, end = at + 25, len(data) - len(_PNG_END) - 4  # of the pixels, compressed
    if not (data.startswith(PNG_HEAD) and data.endswith(_PNG_END) and data[at + 8 : at + 13] == _PNG_GREY):
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


def _describe(data: bytes) -> str:
    start = data[:64].lstrip()
    for offset, magic, name in _FOREIGN:
        there = data[offset : offset + len(magic)] if offset else start  # text formats may begin with blanks
        if there[: len(magic)].lower() == magic.lower():
            return name
    return f"{len(data):,} bytes that start with {bytes(data[:8])!r}"


def _check_size(size: tuple[int, int], limits: Limits) -> None:
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


def _upright(image: Image.Image) -> Image.Image:
    """As ``ImageOps.exif_transpose``, which writes the whole block anew, however long."""
    if len(image.info.get("exif", b"")) > MAX_EXIF:
        return image
    try:
        orientation: Any = image.getexif().get(_ORIENTATION)
        turn = _TURNS.get(orientation)
    except Exception:  # a broken EXIF block says nothing about the pixels, which are fine
        return image
    return image if turn is None else image.transpose(turn)


def _from_array(array: np.ndarray, limits: Limits) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InvalidPixels(f"an array of shape {array.shape} is not an image; expected (H, W), (H, W, 3) or (H, W, 4)")
    _check_size((array.shape[1], array.shape[0]), limits)
    kind = array.dtype.kind
    if kind == "b":
        levels: np.ndarray = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8:
        levels = array
    elif array.dtype == np.uint16:
        levels = array.astype(np.float32) * np.float32(255 / 65535)
    elif kind == "f":
        low, high = array.min(), array.max()  # NaN goes through both
        if not (low >= 0 and high <= 1):
            raise InvalidPixels(
                f"a float array must hold values from 0 to 1, this one holds {low:g} to {high:g}; "
                "divide it by its full scale (255, say) or give uint8"
            )
        levels = array.astype(np.float32) * np.float32(255)
    else:
        raise InvalidPixels(
            f"an array of {array.dtype} is not an image; expected bool, uint8, uint16 or float in [0, 1]"
        )
    if levels.ndim == 3 and levels.dtype != np.uint8:
        levels = np.rint(levels).astype(np.uint8)  # Pillow has no colour of more than 8 bits a channel
    return Image.fromarray(np.ascontiguousarray(levels))


def _flatten(image: Image.Image) -> Image.Image:
    """To "L", "RGB" or "F", with alpha composited on the paper."""
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        return _composite(image if mode == "RGBA" else image.convert("RGBA"))
    if mode == "1":
        return image.convert("L")
    if mode == "F" or mode.startswith("I"):
        return _deep(image)
    return image.convert("RGB")  # P, CMYK, YCbCr, LAB, HSV


def _deep(image: Image.Image) -> Image.Image:
    """16- and 32-bit grey, and float, as "F" from 0 to 255; a float or 32-bit image is stretched to its own range."""
    levels = np.asarray(image).astype(np.float32)
    if image.mode.startswith("I;16") or (image.mode == "I" and levels.min() >= 0 and 255 < levels.max() <= 65535):
        levels *= np.float32(255 / 65535)
        return Image.fromarray(levels)
    low, high = float(levels.min()), float(levels.max())
    if not np.isfinite(low + high):
        raise InvalidPixels(f"the image holds values from {low} to {high}; all must be finite")
    levels -= np.float32(low)
    levels *= np.float32(255 / (high - low or 1))
    return Image.fromarray(levels)


def _composite(image: Image.Image) -> Image.Image:
    """Lay an RGBA image on its paper.

    A file with alpha does not say what it lies on. When its opaque pixels are of one tone they are the ink, and the
    paper is white or black, whichever is farther; when they differ they hold ink and paper, and paper is the majority.
    """
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    stride = max(1, max(image.size) // _TONE_SIDE)
    pixels = np.asarray(image.resize((image.width // stride, image.height // stride), Image.Resampling.NEAREST))
    opaque = pixels[pixels[..., 3] >= _OPAQUE][:, :3] @ _LUMA
    paper = 255
    if opaque.size:
        low, tone, high = np.quantile(opaque, (0.05, 0.5, 0.95))
        paper = round(float(tone)) if high - low > _TONE_SPREAD else (255 if tone < 128 else 0)
    sheet = Image.new("RGB", image.size, (paper, paper, paper))
    sheet.paste(image, mask=alpha)
    return sheet

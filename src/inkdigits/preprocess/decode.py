"""Decode any picture into upright, opaque, grey or RGB pixels, before the five steps."""

from __future__ import annotations

from os import PathLike
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from inkdigits.errors import ImageTooLarge, InvalidPixels, UnreadableImage
from inkdigits.preprocess.files import Limits, check_size, encoded, open_image, plain_png

__all__ = ["ImageSource", "decode"]

ImageSource = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray

MAX_EXIF = 64 << 10  # bytes, the most that a JPEG can hold; a longer block is ignored
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as in Pillow's own conversion to "L"
OPAQUE = 128  # alpha from which a pixel's color counts
TONE_SIDE = 512  # pixels of the longer side that tones are measured at, which bounds the cost of huge pictures
TONE_SPREAD = 64  # grey levels; opaque pixels that differ by more are both ink and paper
_ORIENTATION = 0x0112  # the EXIF tag, and the transpose for each of its values
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: ImageSource, limits: Limits) -> Image.Image:
    """Decode any image source as it is displayed: upright, first frame, alpha composited on the paper.

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
        check_size(source.size, limits)
        image = source
    else:
        data = encoded(source, limits)
        if plain := plain_png(data, limits):
            try:
                return Image.frombytes("L", *plain, "zip", "L")
            except ValueError:  # Pillow's slower way finds the fault
                pass
        image = open_image(data, limits)
    try:
        image.load()
    except ImageTooLarge:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error, …
        kind = image.format or "image"
        raise UnreadableImage(f"the {kind} is truncated or damaged: {error}; send the whole file") from None
    if image.format == "WEBP" and isinstance(image, ImageFile):
        image.fp = None  # the file and the decoder hold three more copies of the pixels
        image = image.copy()
    if "exif" in image.info or image.format == "TIFF":
        image = _upright(image)
    return _flatten(image)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture upright. ``ImageOps.exif_transpose`` also rewrites the whole EXIF block, however long."""
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
    check_size((array.shape[1], array.shape[0]), limits)
    kind = array.dtype.kind
    if kind == "b":
        levels: np.ndarray = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8:
        levels = array
    elif array.dtype == np.uint16:
        levels = array.astype(np.float32) * np.float32(255 / 65535)
    elif kind == "f":
        low, high = array.min(), array.max()  # NaN propagates through both
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
        levels = np.rint(levels).astype(np.uint8)  # Pillow has no color with more than 8 bits per channel
    return Image.fromarray(np.ascontiguousarray(levels))


def _flatten(image: Image.Image) -> Image.Image:
    """Convert to "L", "RGB" or "F", with alpha composited on the paper."""
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
    """Scale 16-bit grey to "F" from 0 to 255; stretch 32-bit and float images from their own range."""
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
    """Composite an RGBA image on its paper.

    A file with alpha does not say what its background is. If the opaque pixels have one tone, they are ink, and the
    paper is white or black, whichever is farther. If they differ, they are ink and paper, and most of them are paper.
    """
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    stride = max(1, max(image.size) // TONE_SIDE)
    pixels = np.asarray(image.resize((image.width // stride, image.height // stride), Image.Resampling.NEAREST))
    opaque = pixels[pixels[..., 3] >= OPAQUE][:, :3] @ np.array(LUMA, np.float32)
    paper = 255
    if opaque.size:
        low, tone, high = np.quantile(opaque, (0.05, 0.5, 0.95))
        paper = round(float(tone)) if high - low > TONE_SPREAD else (255 if tone < 128 else 0)
    sheet = Image.new("RGB", image.size, (paper, paper, paper))
    sheet.paste(image, mask=alpha)
    return sheet

"""A correction on its way into the store, and the checks of what people say: labels, keys and names."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from inkdigits.errors import ImageTooLarge, NotAnImage
from inkdigits.feedback.answers import Answer, Task
from inkdigits.preprocess import ImageSource, Limits
from inkdigits.preprocess.decode import decode

__all__ = [
    "JPEG",
    "KINDS",
    "MAX_LABEL",
    "MAX_PICTURE_BYTES",
    "NAME_EXPECTED",
    "PNG",
    "STROKES",
    "Conflict",
    "Kind",
    "Original",
    "Receipt",
    "Submission",
    "check_client",
    "check_key",
    "check_label",
    "check_source",
    "data_url",
    "original_of",
]

Kind = Literal["corrected", "confirmed"]
KINDS: tuple[Kind, ...] = ("corrected", "confirmed")

MAX_LABEL = 200  # characters
MAX_PICTURE_BYTES = 1 << 20  # of a picture that is kept
QUOTED = 60  # characters of a value that a message repeats
QUALITY = 95  # of photographs, which are written again without their metadata
PNG, JPEG = "image/png", "image/jpeg"
STROKES = "application/json"  # of a drawing that is kept as strokes
NAME_EXPECTED = "A-Z a-z 0-9 _ -"

_KEY = re.compile(r"[\w-]{16,64}", re.ASCII)
_CLIENT = re.compile(r"[\w-]{8,64}", re.ASCII)
_SOURCE = re.compile(r"[a-z0-9-]{1,32}")
_NUMBERS = re.compile(r"[0-9.,-]+(?:[ \n]+[0-9.,-]+)*")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA"}  # chunks without which it would look different


@dataclass(frozen=True, slots=True)
class Original:
    """A picture or drawing as it is kept: without metadata.

    Attributes:
        data: a file, or the strokes as JSON.
        media: its media type.
    """

    data: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One correction.

    Attributes:
        key: chosen by who sends it; the same key is the same correction.
        body_sha256: of what was sent with the key.
        label: what it is; "" for no digit, or no number.
        original: the picture, if it is to be kept.
        client: a random id; None if none is kept.
        source: where it comes from, such as "page".
        consent: who agreed to keep it: the "client" itself, or the "operator" who imported it.
    """

    key: str
    body_sha256: str
    kind: Kind
    label: str
    answer: Answer
    original: Original | None = None
    client: str | None = None
    source: str = "api"
    consent: Literal["client", "operator"] = "client"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A correction that is kept.

    Attributes:
        id: it removes the correction, for anyone who knows it.
        status: "pending", or "held" if a person should look at it first.
        is_new: whether this call added it.
    """

    id: str
    status: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key belongs to another correction."""

    key: str


def data_url(data: bytes, media: str) -> str:
    """Return a picture as ``POST /feedback`` and browsers take it."""
    return f"data:{media};base64,{b64encode(data).decode()}"


def check_label(label: Any, task: Task) -> str:
    """Return a label.

    Raises:
        ValueError: it is none; the message says what was expected.
    """
    if not isinstance(label, str):
        raise ValueError(f'{_shown(label)}; expected text, such as "7"')
    if label == "" or (task == "digit" and len(label) == 1 and label in "0123456789"):
        return label
    if task == "digit":
        raise ValueError(f'{_shown(label)}; expected one digit, or "" for an image that is not a digit')
    if len(label) > MAX_LABEL:
        raise ValueError(f"{_shown(label)}, {len(label):,} characters; at most {MAX_LABEL} are allowed")
    if not _NUMBERS.fullmatch(label) or not any(c.isdigit() for c in label):
        raise ValueError(
            f'{_shown(label)}; expected digits with . , or -, with blanks or newlines between numbers, or ""'
        )
    return label


def check_key(key: Any) -> str:
    """Return a key; :func:`check_label` says what is raised."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"{_shown(key)}; expected 16 to 64 of {NAME_EXPECTED}, such as a random UUID")
    return key


def check_client(client: Any) -> str | None:
    """Return a client's id, None for none; :func:`check_label` says what is raised."""
    if client is not None and (not isinstance(client, str) or not _CLIENT.fullmatch(client)):
        raise ValueError(f"{_shown(client)}; expected null, or a random id: 8 to 64 of {NAME_EXPECTED}")
    return client


def check_source(source: Any) -> str:
    """Return a source; :func:`check_label` says what is raised."""
    if not isinstance(source, str) or not _SOURCE.fullmatch(source):
        raise ValueError(f'{_shown(source)}; expected a word such as "page": 1 to 32 of a-z 0-9 -')
    return source


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = json.dumps(value[: QUOTED + 1] if isinstance(value, str) else value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def original_of(image: ImageSource, limits: Limits) -> Original:
    """Return a picture as it is kept: upright, and without metadata such as the place where it was taken.

    Args:
        image: a file's bytes, pixels, or whatever else :func:`decode` takes.

    Raises:
        ImageError: it is not a picture, or too large to be kept.
    """
    if isinstance(image, bytes) and image.startswith(_PNG_MAGIC):
        data, media = _without_metadata(image), PNG
    else:
        picture = decode(image, limits)
        is_photo = isinstance(image, bytes) and image[:3] == b"\xff\xd8\xff"
        media = JPEG if is_photo else PNG
        data = _encoded(picture, media)
    if len(data) > MAX_PICTURE_BYTES:
        raise ImageTooLarge(
            f"the picture has {len(data):,} bytes as {media}; at most {MAX_PICTURE_BYTES:,} are kept: scale it down"
        )
    return Original(data, media)


def _encoded(picture: Image.Image, media: str) -> bytes:
    if picture.mode == "F":
        picture = Image.fromarray(np.clip(np.rint(np.asarray(picture)), 0, 255).astype(np.uint8))
    bare = Image.fromarray(np.asarray(picture))  # without the metadata, which its attributes hold
    file = io.BytesIO()
    if media == JPEG:
        bare.save(file, "JPEG", quality=QUALITY)
    else:
        bare.save(file, "PNG")
    return file.getvalue()


def _without_metadata(png: bytes) -> bytes:
    """Return a PNG without chunks that do not change how it looks, such as texts, times and EXIF.

    Raises:
        NotAnImage: it is cut short.
    """
    kept, at = [_PNG_MAGIC], len(_PNG_MAGIC)
    while at + 12 <= len(png):
        length, name = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        end = at + 12 + length
        if name in _PNG_KEPT:
            kept.append(png[at:end])
        if name == b"IEND":
            return b"".join(kept)
        if name == b"eXIf":  # which may say that it lies on its side
            return _encoded(decode(png, Limits()), PNG)
        at = end
    raise NotAnImage("the PNG is truncated; send the whole file")

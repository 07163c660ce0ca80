"""What clients send to the service, and what it must answer."""

import io
import json
import struct
import zlib
from hashlib import sha256

import httpx
import numpy as np
from PIL import Image

from inkdigits import Recognizer
from inkdigits.preprocess import preprocess
from inkdigits.self_test import known_digit
from inkdigits.server.http.auth import Guard
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.processes.shared_state import Board
from inkdigits.settings import Settings

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def encode(image, form="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


THREE = encode(known_digit())
ROW = np.rint(preprocess(known_digit()).image * 255).astype(int).ravel().tolist()


def answer_of(recognizer: Recognizer, source, **options):
    return json.loads(json.dumps({**recognizer.predict(source).to_dict(**options), "model": recognizer.model.name}))


def assert_problem(response: httpx.Response, status: int, slug: str, *words: str):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["type"] == f"/docs#{slug}"
    assert document["status"] == status
    for word in words:
        assert word in document["detail"], document["detail"]


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PICTURE = np.array(ROW, np.uint8).reshape(28, 28)
KEYS = [b"first key", b"second"]
HASHES = ",".join(sha256(key).hexdigest() for key in KEYS)


def guard_of(board=None, **settings) -> Guard:
    board = board or Board()
    return Guard(Settings(**settings), board, Metrics(board))

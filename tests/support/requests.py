"""What clients send to the service, and what it must answer."""

import json
import zlib
from hashlib import sha256

import httpx
import numpy as np

from inkdigits import Recognizer
from inkdigits.preprocess import preprocess
from inkdigits.self_test import known_digit
from inkdigits.server.http.auth import Authenticator
from inkdigits.server.inference import Executor
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.settings import Settings

from support.files import encode, png

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


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
    return png(width, height, zlib.compress(bytes(10_000)))


PICTURE = np.array(ROW, np.uint8).reshape(28, 28)
KEYS = [b"first key", b"second"]
HASHES = ",".join(sha256(key).hexdigest() for key in KEYS)


def guard_of(shared=None, **settings) -> Authenticator:
    shared = shared or SharedState()
    return Authenticator(Settings(**settings), shared, Metrics(shared))


def reader_of(recognizer, metrics=None, most=1000):
    """What reads the images of a request by an executor with a queue of this length."""
    executor = Executor(Settings(max_queue=most), metrics or Metrics(SharedState()))
    return lambda sources: executor.predict(recognizer, sources, list)

"""Corrections, and the stores that keep them."""

import os
import time
import uuid
from dataclasses import replace

import numpy as np

from inkdigits.feedback.answers import VALID_SECONDS, Answer, Signer, digest_of
from inkdigits.feedback.store import Store
from inkdigits.feedback.submission import Original, Submission

MODEL = "a" * 64


def answer(digit=7, *, confidence=0.9, seen=None, audit=False, at=None) -> Answer:
    """A digit that a model was this sure of."""
    rest = (1 - confidence) / 9
    details = {
        "digit": digit,
        "probabilities": [confidence if i == digit else rest for i in range(10)],
        "digit_score": 1.0,
        "reason": None,
    }
    seen = os.urandom(784) if seen is None else seen
    source = digest_of(np.frombuffer(seen, np.uint8))
    at = int(time.time()) if at is None else at
    return Answer("digit", str(digit), confidence, details, seen, MODEL, at, os.urandom(16).hex(), source, audit)


def submission(label="1", of=None, *, original=None, key=None, body="b" * 64, kind="corrected", **more) -> Submission:
    original = Original(original, "image/png") if original else None
    return Submission(key or str(uuid.uuid4()), body, kind, label, of or answer(), original, **more)


def expired_prediction_id(path) -> str:
    """What a server that keeps corrections there gave more than a day ago."""
    store = Store(str(path))
    try:
        return Signer(store.secret()).sign(replace(answer(), at=int(time.time()) - VALID_SECONDS - 10))
    finally:
        store.close()

"""A service whose users all write in a way that its model often misreads, and who correct it."""

import hashlib
import uuid

import numpy as np
from PIL import Image
from sqlalchemy import update

from inkdigits import Recognizer
from inkdigits.feedback.answers import Answer
from inkdigits.feedback.database import writing
from inkdigits.feedback.split import drawn
from inkdigits.feedback.store import BATCH, Store
from inkdigits.feedback.submission import Submission
from inkdigits.feedback.tables import ACCEPTED, Correction

SLANT = 1.0  # pixels to the left for each pixel down


def slanted(images: np.ndarray) -> list[np.ndarray]:
    """Slant digits (N, 28, 28) uint8 to the left."""
    wide = [Image.fromarray(np.pad(image, 20)) for image in images]
    matrix = (1, -SLANT, SLANT * 34, 0, 1, 0)
    return [
        np.asarray(each.transform(each.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
        for each in wide
    ]


def clients_of(store: Store, **wanted: int) -> list[str]:
    """Return ids of clients of whom as many as wanted are drawn for each part: ``clients_of(store, train=9)``."""
    found: list[str] = []
    key = store.secret()
    while any(wanted.values()):
        name = uuid.uuid4().hex
        part = drawn(key, name)
        if wanted.get(part, 0):
            wanted[part] -= 1
            found.append(name)
    return found


def fill(
    store: Store, recognizer: Recognizer, pictures: list[np.ndarray], labels: np.ndarray, users: list[str]
) -> None:
    """Have users, in turn, confirm or correct what was read in their pictures, all of which are of the audit sample.

    Args:
        pictures: what they draw.
        labels: what they say that it is.
        users: ids of clients.
    """
    submissions = []
    for at, (seen, label) in enumerate(zip(recognizer.predict_batch(pictures), labels.tolist(), strict=True)):
        found = Answer.of(seen, recognizer.model.sha256, audit=True)
        text, key = str(label), uuid.uuid4().hex
        kind = "confirmed" if text == found.text else "corrected"
        hashed = hashlib.sha256(key.encode()).hexdigest()
        submissions.append(Submission(key, hashed, kind, text, found, client=users[at % len(users)]))
    for start in range(0, len(submissions), BATCH):
        store.add(submissions[start : start + BATCH])


def accept_all(store: Store) -> None:
    """Settle every correction as it was sent, as a reviewer's verdicts would, in one statement."""
    with writing(store.engine) as connection:
        connection.execute(update(Correction).values(status=ACCEPTED, final=Correction.label))

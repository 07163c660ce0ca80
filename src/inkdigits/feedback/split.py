"""Which clients' corrections are for training, and which are for measuring; and both as arrays.

A client is drawn for a part when it is first met, and stays in it, so that no model is measured on a hand that it, or
one that it was made from, was trained on. Corrections without a client are for training alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import Engine, exists, insert, select

from inkdigits.data.dataset import NON_DIGIT, Dataset, Lazy
from inkdigits.feedback.database import reading, writing
from inkdigits.feedback.queries import Listed, every
from inkdigits.feedback.tables import ACCEPTED, RELABELED, Correction, Secret, TrainingItem, UserSplit
from inkdigits.feedback.trust import CLIENT_CAP, trainable
from inkdigits.prediction import SIDE
from inkdigits.preprocess.layout import from_pixels

__all__ = [
    "GATE",
    "GUARANTEE",
    "NON_DIGIT",
    "TRAIN",
    "Corrections",
    "assign",
    "audit",
    "drawn",
    "to_train_on",
    "trained_rows",
]

TRAIN, GATE, GUARANTEE = "train", "gate", "guarantee"
SHARES = ((TRAIN, 0.5), (GATE, 0.3), (GUARANTEE, 0.2))  # of the clients


@dataclass(frozen=True, eq=False)
class Corrections:
    """N corrections of digits.

    Attributes:
        images: (N, 28, 28) uint8, what the network saw, ink 255 on paper 0.
        labels: (N,) int64, 0 to 9, or NON_DIGIT.
        clients: (N,) text, who sent each; "" for nobody in particular.
        sources: (N,) text, where each came from, such as "page".
        rows: (N,) int64, their numbers in the store.
        looks: fingerprints of their pictures.
        skipped: corrections of numbers, which are of another network.
    """

    images: np.ndarray
    labels: np.ndarray
    clients: np.ndarray
    sources: np.ndarray
    rows: np.ndarray
    looks: frozenset[int] = field(default=frozenset(), repr=False)
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def dataset(self, name: str) -> Dataset:
        """Return them as a data set of what the network saw, with the clients as writers."""
        seen = Lazy(lambda at: from_pixels(self.images[at]), range(len(self)))
        return Dataset(name, "all", seen, self.labels, {"corrections": self.sha256}, writers=self.clients)

    def take(self, at: Sequence[int]) -> Corrections:
        """Return the corrections at these indices."""
        arrays = (self.images, self.labels, self.clients, self.sources, self.rows)
        images, labels, clients, sources, rows = (each[list(at)] for each in arrays)
        return replace(
            self,
            images=images,
            labels=labels,
            clients=clients,
            sources=sources,
            rows=rows,
        )

    @property
    def sha256(self) -> str:
        """Hash of the pictures and their labels."""
        whole = hashlib.sha256(self.images.tobytes())
        whole.update(self.labels.tobytes())
        return whole.hexdigest()

    @property
    def users(self) -> int:
        """Number of clients; those without an id are one."""
        return len(np.unique(self.clients))


def assign(engine: Engine) -> None:
    """Draw a part for each client that has none yet.

    The draw is a keyed hash of the client's id, so that nobody can choose the part they are in.

    Raises:
        StoreError: the database cannot be used.
    """
    with writing(engine) as connection:
        key = connection.execute(select(Secret.key)).scalar_one()
        known = exists().where(UserSplit.client == Correction.client)
        fresh = select(Correction.client).where(Correction.client.is_not(None), ~known).distinct()
        rows = [
            {"client": client, "part": drawn(key, client), "created": datetime.now(UTC)}
            for client in connection.execute(fresh).scalars()
            if client is not None
        ]
        if rows:
            connection.execute(insert(UserSplit), rows)


def drawn(key: bytes, client: str) -> str:
    """Return the part that a client is drawn for, by the key of the database."""
    digest = hmac.digest(key, b"part " + client.encode(), "sha256")
    at, bound = int.from_bytes(digest[:8]) / 2**64, 0.0
    for part, share in SHARES:
        bound += share
        if at < bound:
            return part
    return SHARES[-1][0]


def to_train_on(engine: Engine, *, cap: int = CLIENT_CAP) -> Corrections:
    """Return the corrections to train on: reviewed ones, and of each client ``cap`` others that nothing speaks against.

    Raises:
        StoreError: the database cannot be used.
    """
    measuring = _clients(engine, (GATE, GUARANTEE))
    return _corrections((each, label) for each, label in trainable(engine, cap=cap) if each.client not in measuring)


def audit(engine: Engine, part: str = GATE) -> Corrections:
    """Return the reviewed audit sample of one part's clients, without pictures that look like one to train on.

    Raises:
        StoreError: the database cannot be used.
    """
    theirs, trained = _clients(engine, (part,)), to_train_on(engine).looks
    return _corrections(
        (each, each.truth)
        for status in (ACCEPTED, RELABELED)
        for each in every(engine, status=status)
        if each.is_audit and each.client in theirs and each.fingerprint not in trained and each.truth is not None
    )


def trained_rows(engine: Engine, model: str) -> set[int]:
    """Return the numbers of the corrections that a model was trained on, and that are still there."""
    with reading(engine) as connection:
        rows = select(TrainingItem.correction_id).where(TrainingItem.model_sha256 == model)
        return set(connection.execute(rows).scalars())


def _clients(engine: Engine, parts: Iterable[str]) -> set[str | None]:
    with reading(engine) as connection:
        return set(connection.execute(select(UserSplit.client).where(UserSplit.part.in_(list(parts)))).scalars())


def _corrections(found: Iterable[tuple[Listed, str]]) -> Corrections:
    kept: list[tuple[Listed, int]] = []
    skipped = 0
    for each, truth in found:
        if each.seen is None or len(truth) > 1:
            skipped += 1
        else:
            kept.append((each, int(truth) if truth else NON_DIGIT))
    pixels = b"".join(each.seen or b"" for each, _ in kept)
    return Corrections(
        images=np.frombuffer(pixels, np.uint8).reshape(len(kept), SIDE, SIDE),
        labels=np.array([label for _, label in kept], np.int64),
        clients=np.array([each.client or "" for each, _ in kept], dtype=str),
        sources=np.array([each.source for each, _ in kept], dtype=str),
        rows=np.array([each.row for each, _ in kept], np.int64),
        looks=frozenset(each.fingerprint for each, _ in kept),
        skipped=skipped,
    )

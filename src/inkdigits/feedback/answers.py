"""What was answered for an image, and its signed form: the prediction id that a client may send back.

A server keeps nothing of an answer until somebody sends it back. The prediction id is the answer itself, compressed and
signed with a key of the database, so that every worker and replica can check it, and no client can forge it.
"""

from __future__ import annotations

import hmac
import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import orjson

from inkdigits.prediction import SIDE, Number, Prediction, Reading

__all__ = ["TASKS", "VALID_SECONDS", "Answer", "Expired", "NotSigned", "Signer", "Task", "digest_of"]

Task = Literal["digit", "number"]
TASKS: tuple[Task, ...] = ("digit", "number")

VALID_SECONDS = 24 * 60 * 60  # for which a prediction id is accepted
CLOCK_SECONDS = 60  # by which the clocks of two servers may differ
MAX_SIGNED = 16 << 10  # characters of a prediction id
MAX_DETAILS = 6 << 10  # bytes of the details in a prediction id; more are left out
DECIMALS = 6  # of probabilities
_MAC_BYTES = 16
_UID_BYTES = 16
_END = b"\n"  # between the JSON, which has no line breaks, and the pixels


class NotSigned(ValueError):
    """The text is no prediction id of this database."""


class Expired(ValueError):
    """The prediction id is older than :data:`VALID_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for one image.

    Attributes:
        task: "digit" for ``predict``, "number" for ``read``.
        text: the accepted answer; "" if the image was rejected or blank.
        confidence: probability of that, 0 to 1; where the answer is a rejection, that it is right.
        details: of a digit its ``digit``, ``probabilities``, ``digit_score`` and ``reason``; of a number its ``text``
            and its ``numbers``, each with text, confidence, box, and the confidence of each character.
        seen: of a digit what the network saw, 28×28 bytes, row by row, ink 255 on paper 0; None for a number.
        model: SHA-256 of the model's file.
        at: when it was answered, in seconds since 1970.
        uid: random, in hex: one for each answer.
        source: :func:`digest_of` the image; "" if it is not known.
        audit: whether it belongs to the random sample of answers that are to be labeled whether right or wrong.
    """

    task: Task
    text: str
    confidence: float
    details: dict[str, Any]
    seen: bytes | None
    model: str
    at: int
    uid: str
    source: str = ""
    audit: bool = False

    @classmethod
    def of(cls, found: Prediction | Reading, model: str, *, source: str = "", audit: bool = False) -> Answer:
        """Return the answer that a prediction or a reading is."""
        fill = _of_digit if isinstance(found, Prediction) else _of_number
        text, details, seen = fill(found)  # type: ignore[arg-type]  # each gets its own
        task: Task = "digit" if isinstance(found, Prediction) else "number"
        answer = cls(task, text, 0.0, details, seen, model, int(time.time()), _new_uid(), source, audit)
        return replace(answer, confidence=round(answer.chance(text), DECIMALS))

    def chance(self, label: str) -> float:
        """Return the probability that the answer gave to a label, 0 to 1; "" stands for no digit, or no number."""
        if self.task == "number":
            best = min([number["confidence"] for number in self.details["numbers"]], default=1.0)
            return float(best if label == self.details["text"] else 1 - best)
        score = self.details["digit_score"]
        if self.details["digit"] is None:
            return float(label == "")
        if label == "":
            return 0.0 if score is None else 1 - score
        return float(self.details["probabilities"][int(label)] * (1.0 if score is None else score))

    def suspicion(self, label: str) -> float:
        """Return how much speaks against a label, 0 to 1: how much more probable the answer found its own text."""
        return 0.0 if label == self.text else max(0.0, round(self.confidence - self.chance(label), DECIMALS))


def _of_digit(found: Prediction) -> tuple[str, dict[str, Any], bytes | None]:
    details = {
        "digit": found.digit,
        "probabilities": [round(p, DECIMALS) for p in found.probabilities],
        "digit_score": None if found.digit_score is None else round(float(found.digit_score), DECIMALS),
        "reason": found.reason,
    }
    return str(found.digit) if found.is_digit else "", details, np.rint(found.image * 255).astype(np.uint8).tobytes()


def _of_number(found: Reading) -> tuple[str, dict[str, Any], bytes | None]:
    details = {"text": found.text, "numbers": [_number(number) for number in found.numbers]}
    return found.text if found.is_number else "", details, None


def _number(number: Number) -> dict[str, Any]:
    return {
        "text": number.text,
        "confidence": round(number.confidence, DECIMALS),
        "box": [round(side) for side in number.box],
        "characters": [round(digit.confidence, 3) for digit in number.digits],
    }


def digest_of(image: bytes | np.ndarray) -> str:
    """Return a digest of an image as it was sent: of a file's bytes, or of pixels, which those of strokes are, too."""
    if isinstance(image, bytes):
        return sha256(image).hexdigest()[:32]
    return sha256(f"{image.dtype.str} {image.shape} ".encode() + image.tobytes()).hexdigest()[:32]


def _new_uid() -> str:
    return secrets.token_hex(_UID_BYTES)


class Signer:
    """Signs answers, and checks them.

    Args:
        key: secret; the same for all who check.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, answer: Answer) -> str:
        """Return the prediction id of an answer. Details that would make it too long are left out."""
        details = answer.details
        if answer.task == "number" and len(orjson.dumps(details)) > MAX_DETAILS:
            lowest = min(details["numbers"], key=lambda number: float(number["confidence"]))
            details = {"text": details["text"], "numbers": [{**lowest, "text": "", "characters": []}]}
        head = [
            *(answer.task, answer.text, answer.confidence, details, answer.model),
            *(answer.at, answer.uid, answer.source, answer.audit),
        ]
        body = zlib.compress(orjson.dumps(head) + _END + (answer.seen or b""), 1)
        return urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode()

    def open(self, text: str) -> Answer:
        """Return the answer of a prediction id.

        Raises:
            NotSigned: it was not signed with this key.
            Expired: it is too old.
        """
        try:
            if len(text) > MAX_SIGNED:
                raise NotSigned
            signed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (NotBase64, UnicodeEncodeError):
            raise NotSigned from None
        mac, body = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise NotSigned
        head, _, seen = zlib.decompress(body).partition(_END)
        task, label, confidence, details, model, at, uid, source, audit = orjson.loads(head)
        if not -CLOCK_SECONDS <= time.time() - at <= VALID_SECONDS:
            raise Expired
        pixels = seen if len(seen) == SIDE * SIDE else None
        return Answer(task, label, confidence, details, pixels, model, at, uid, source, audit)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]

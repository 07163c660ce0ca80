"""``POST /feedback`` and ``DELETE /feedback/{id}``: corrections in, with consent, and out again for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as replaced
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from starlette.types import Receive, Scope, Send

from inkdigits.errors import InvalidStrokes
from inkdigits.feedback.answers import TASKS, Answer, Expired, NotSigned, Task, digest_of
from inkdigits.feedback.submission import (
    KINDS,
    STROKES,
    Conflict,
    Original,
    Submission,
    check_client,
    check_key,
    check_label,
    check_source,
    original_of,
)
from inkdigits.options import did_you_mean
from inkdigits.preprocess.apart import decode_apart
from inkdigits.preprocess.strokes import Drawing, check_strokes, draw_strokes
from inkdigits.reading import Options
from inkdigits.recognizer import Recognizer
from inkdigits.server.cost import check_pixels
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    CONSENT_REQUIRED,
    FEEDBACK_CONFLICT,
    INVALID_FEEDBACK,
    NOT_FOUND,
    PREDICTION_EXPIRED,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    shorten,
)
from inkdigits.server.http.responses import JSON
from inkdigits.server.http.responses import Answer as Response
from inkdigits.server.inference import Executor, keeps_the_lock
from inkdigits.server.json_images import describe, image_of, load
from inkdigits.server.keeper import Keeper
from inkdigits.server.observability.metrics import Metrics
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.server.cost import Source

__all__ = ["MAX_BODY", "Feedback", "bodies_of", "checked_object"]

MAX_BODY = 2 << 20  # bytes of a correction
PICTURES = ("image", "pixels", "strokes")
FIELDS = ("key", "consent", "kind", "label", "prediction_id", *PICTURES, "reading", "client", "source")
CREATED, OK = 201, 200

T = TypeVar("T")


def bodies_of(settings: Settings, executor: Executor, metrics: Metrics) -> Bodies:
    """Return what receives the bodies of corrections, which are smaller than others."""
    return Bodies(replaced(settings, max_bytes=min(settings.max_bytes, MAX_BODY)), executor, metrics)


class Feedback:
    """The ASGI application that answers ``POST /feedback``.

    Args:
        recognizer: the model, which reads pictures that come without the answer of a server.
        keeper: writes corrections to the store.
        bodies: receives request bodies, from :func:`bodies_of`.
    """

    def __init__(
        self, recognizer: Recognizer, executor: Executor, bodies: Bodies, keeper: Keeper, metrics: Metrics
    ) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies
        self._keeper = keeper
        self._metrics = metrics

    def _decodable(self, picture: Source) -> Any:
        """Return a picture, decoded in another process if decoding it here would keep the lock for long."""
        return decode_apart(picture, self._executor.limits) if keeps_the_lock(picture) else picture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        async with self._bodies.receive(receive, headers) as body:
            _check_type(headers.get(b"content-type", b""))
            document = await self._executor.call(len(body), _document, body)
            if any(name in document for name in PICTURES):  # decoding, and reading, run in a thread
                submission = await self._executor.run(self._submission, document)
            else:
                submission = self._submission(document)
        found = await self._keeper.add(submission)
        if isinstance(found, Conflict):
            raise Problem(
                FEEDBACK_CONFLICT, f"the key {found.key!r} belongs to a correction with another body; choose a new one"
            )
        self._metrics.feedback(submission.kind, submission.answer.audit, is_new=found.is_new)
        answer = orjson.dumps({"id": found.id, "status": found.status})
        await Response(CREATED if found.is_new else OK, JSON, answer)(scope, receive, send)

    async def forget(self, id: str) -> None:
        """Remove a correction.

        Raises:
            Problem: there is none with this id.
        """
        if not await self._keeper.forget(id):
            raise Problem(NOT_FOUND, "there is no correction with this id; it may have been removed already")

    def _submission(self, document: Mapping[str, Any]) -> Submission:
        key, kind = _field(document, "key", check_key), _choice(document, "kind", KINDS)
        client, source = _field(document, "client", check_client), _field(document, "source", check_source, "api")
        task = _choice(document, "reading", TASKS) if "reading" in document else None
        picture, drawing = _picture(document)
        if "prediction_id" in document:
            answer = self._signed(document["prediction_id"])
            if task not in (None, answer.task):
                detail = f'reading is "{task}", but the answer of prediction_id is a {answer.task}'
                raise Problem(INVALID_FEEDBACK, f"{detail}; leave it out")
            if picture is not None and digest_of(picture) != answer.source:
                detail = "the picture is not the one that was answered; send the same bytes, pixels or strokes again"
                raise Problem(INVALID_FEEDBACK, f"{detail}, or leave out prediction_id")
            if picture is None and answer.task == "number":
                raise Problem(INVALID_FEEDBACK, "a number needs its picture; add image, pixels or strokes")
        elif picture is None:
            detail = f"neither prediction_id, nor any of {', '.join(PICTURES)}, is there; send one of them"
            raise Problem(INVALID_FEEDBACK, detail)
        else:
            label = document.get("label")
            short: Task = "digit" if isinstance(label, str) and len(label) <= 1 else "number"
            answer = self._read(picture, drawing, task or short)
        label = _field(document, "label", lambda value: check_label(value, answer.task))
        if "prediction_id" in document and (kind == "confirmed") != (label == answer.text):
            detail = f'kind is "{kind}" and label is {describe(label)}, but the answer was {describe(answer.text)}'
            raise Problem(INVALID_FEEDBACK, detail)
        original = None
        if drawing is not None:
            original = Original(orjson.dumps({"strokes": document["strokes"]}), STROKES)
        elif picture is not None and "image" in document:
            original = original_of(self._decodable(picture), self._executor.limits)
        elif picture is not None and answer.task == "number":
            original = original_of(_levels(picture), self._executor.limits)
        body = sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return Submission(key, body, kind, label, answer, original, client, source)

    def _signed(self, text: Any) -> Answer:
        if not isinstance(text, str):
            raise Problem(INVALID_FEEDBACK, f"prediction_id is {describe(text)}; expected the text from an answer")
        try:
            return self._keeper.signer.open(text)
        except NotSigned:
            detail = f"prediction_id is {describe(text)}, which this server has not given"
            raise Problem(INVALID_FEEDBACK, f"{detail}; send the picture instead") from None
        except Expired:
            raise Problem(PREDICTION_EXPIRED, PREDICTION_EXPIRED.example) from None

    def _read(self, picture: Source, drawing: Drawing | None, task: Task) -> Answer:
        """Read a picture that was answered elsewhere, as on a device."""
        check_pixels([picture], self._executor.limits.max_pixels, numbers=task == "number")
        recognizer, source = self._recognizer, self._decodable(picture) if drawing is None else drawing.picture
        if task == "digit":
            found: Any = recognizer.predict(source)
        elif drawing is not None:
            found = recognizer.read_drawing(drawing, Options())
        else:
            found = recognizer.read(source)
        return Answer.of(found, recognizer.model.sha256, source=digest_of(picture))


def _check_type(content_type: bytes) -> None:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind and kind != JSON and not kind.endswith(b"+json"):
        seen = shorten(content_type.decode("latin-1"))
        headers = {"Accept-Post": JSON.decode()}
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"the Content-Type is {seen!r}; supported is application/json", headers)


def checked_object(document: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return a JSON object that has none but known fields.

    Raises:
        Problem: it is not an object, or has another field.
    """
    if not isinstance(document, dict):
        raise Problem(BAD_REQUEST, f"the JSON is {describe(document)}; expected an object")
    for name in document.keys() - set(known):
        raise Problem(INVALID_FEEDBACK, f"unknown field {shorten(name)!r}; {did_you_mean(name, known, 'fields')}")
    return document


def _document(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object, with consent, and without unknown fields."""
    if not body:
        raise Problem(BAD_REQUEST, "the body is empty (0 bytes); send JSON")
    document = checked_object(load(body, 1, strokes=True), FIELDS)
    if document.get("consent") is not True:
        seen = describe(document["consent"]) if "consent" in document else "missing"
        raise Problem(
            CONSENT_REQUIRED,
            f"consent is {seen}: nothing was kept; ask the writer whether this may be kept, and send true",
        )
    return document


def _field(document: Mapping[str, Any], name: str, check: Callable[[Any], T], default: Any = None) -> T:
    try:
        return check(document.get(name, default))
    except ValueError as error:
        seen = str(error) if name in document else f"missing; {str(error).partition('; ')[2]}"
        raise Problem(INVALID_FEEDBACK, f"{name} is {seen}") from None


def _choice(document: Mapping[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = document.get(name)
    if value not in choices:
        seen = describe(value) if name in document else "missing"
        raise Problem(INVALID_FEEDBACK, f"{name} is {seen}; expected one of {', '.join(choices)}")
    return value


def _picture(document: Mapping[str, Any]) -> tuple[Source | None, Drawing | None]:
    """Return the picture of a correction, and its drawing if it came as strokes."""
    given = [name for name in PICTURES if name in document]
    if not given:
        return None, None
    if len(given) > 1:
        raise Problem(INVALID_FEEDBACK, f"{' and '.join(given)} are both there; send one picture")
    if given == ["strokes"]:
        drawing = draw_strokes(check_strokes(document["strokes"]))
        if not document["strokes"]:
            raise InvalidStrokes("strokes is empty; there is nothing to correct")
        return np.asarray(drawing.picture), drawing
    return image_of({given[0]: document[given[0]]}), None


def _levels(pixels: Any) -> np.ndarray:
    """Return pixels as 8-bit ones."""
    array = np.asarray(pixels)
    return array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8)

"""``POST /read``: images or drawings in, the numbers in each of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from starlette.types import Receive, Scope, Send

from inkdigits.errors import ImageError
from inkdigits.prediction import Reading
from inkdigits.preprocess import Limits
from inkdigits.preprocess.apart import decode_apart
from inkdigits.preprocess.decode import decode
from inkdigits.reading import Options
from inkdigits.recognizer import Recognizer
from inkdigits.server.cost import check_pixels
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import BAD_REQUEST, Problem
from inkdigits.server.http.responses import JSON, Answer
from inkdigits.server.inference import Executor, keeps_the_lock
from inkdigits.server.keeper import Keeper
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.payloads import Input, parse
from inkdigits.server.predict import Marks, integer, marks_of, query_options, render, rows_of, sources_of, switch

if TYPE_CHECKING:
    from inkdigits.server.trial import Trial

__all__ = ["MAX_ALTERNATIVES", "MAX_LENGTH", "Read", "answer", "options_of", "render_readings"]

READ = "/read"
MAX_LENGTH = 100  # digits of a number that may be asked for, and characters of a pattern
MAX_ALTERNATIVES = 20  # the search follows hardly more
JSON_INTEGER = 1 << 63  # from which orjson writes no integers

Result = Reading | ImageError
_OPTIONS = tuple(field.name for field in fields(Options))


def options_of(query: bytes) -> tuple[Options, bool]:
    """Return the options of a query string, and whether the answers are to have prediction ids.

    Raises:
        Problem: an option is unknown, or has an invalid value.
    """
    given: dict[str, Any] = query_options(query, READ, (*_OPTIONS, "feedback"))
    feedback = switch(given, "feedback")
    given.pop("feedback", None)
    for name, value in given.items():
        if len(value) > MAX_LENGTH:
            detail = f"the query option {name} has {len(value):,} characters; the limit is {MAX_LENGTH}"
            raise Problem(BAD_REQUEST, detail)
    bounds = {"length": (1, MAX_LENGTH), "alternatives": (0, MAX_ALTERNATIVES)}
    numbers = {name: integer(name, given[name], *bounds[name]) for name in bounds.keys() & given.keys()}
    try:
        return Options(**{**given, **numbers}), feedback
    except ValueError as error:
        raise Problem(BAD_REQUEST, f"the query option {error}") from None


class Read:
    """The ASGI application that answers ``POST /read``.

    Reading takes many times as long as predicting, so each request counts as a large one, and runs in a thread.

    Args:
        recognizer: the model.
        executor: runs large requests.
        bodies: receives request bodies.
        metrics: counts readings and their time.
        keeper: gives prediction ids; None if no corrections are kept.
        trial: chooses the model of each request; None where there is one.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        executor: Executor,
        bodies: Bodies,
        metrics: Metrics,
        keeper: Keeper | None = None,
        trial: Trial | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies
        self._metrics = metrics
        self._keeper = keeper
        self._trial = trial

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        options, feedback = options_of(scope["query_string"])
        async with self._bodies.receive(receive, headers, is_heavy=True) as body:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            recognizer, trial = self._recognizer, self._trial
            if trial is not None:
                recognizer = trial.choose(recognizer, scope, headers)
            found = await self._executor.run(self._answer, recognizer, scope, content_type, body, options, feedback)
        await Answer(200, JSON, found)(scope, receive, send)

    def _answer(
        self, recognizer: Recognizer, scope: Scope, content_type: str, body: bytes, options: Options, feedback: bool
    ) -> bytes:
        inputs, several = parse(content_type, body, self._executor.max_files, strokes=True)
        charge(scope, len(inputs))
        check_pixels(sources_of(inputs), self._executor.limits.max_pixels, numbers=True)
        try:
            results = self._read_all(recognizer, _valid(inputs), options)
        except Exception as error:
            other = self._trial.instead(recognizer, error, len(inputs)) if self._trial else None
            if other is None:
                raise
            recognizer = other
            results = self._read_all(recognizer, _valid(inputs), options)
        self._metrics.readings(results)
        marks = marks_of(self._keeper, recognizer) if feedback else None
        return render_readings(recognizer, inputs, several, results, marks)

    def _read_all(self, recognizer: Recognizer, inputs: Sequence[Input], options: Options) -> list[Result]:
        executor, spent = self._executor, _Spent()
        results: list[Result] = []
        for part in executor.in_time(([i] for i in inputs), len(inputs)):
            results += (_read(recognizer, i, options, executor.limits, spent) for i in part)
        self._metrics.stage("decode", spent.decode)
        self._metrics.stage("read", spent.read)
        return results


@dataclass(slots=True)
class _Spent:
    """Seconds spent on the images of a request."""

    decode: float = 0.0
    read: float = 0.0


def _valid(inputs: Sequence[Input]) -> list[Input]:
    return [i for i in inputs if not isinstance(i.source, Problem)]


def _read(recognizer: Recognizer, image: Input, options: Options, limits: Limits, spent: _Spent) -> Result:
    start = decoded = perf_counter()
    if image.drawing:
        reading = recognizer.read_drawing(image.drawing, options)
    else:
        source: Any = image.source
        try:
            picture = decode_apart(source, limits) if keeps_the_lock(source) else decode(source, limits)
        except ImageError as error:
            return error
        finally:
            decoded = perf_counter()
            spent.decode += decoded - start
        reading = recognizer.read_decoded(picture, options)
    spent.read += perf_counter() - decoded
    return reading


def answer(recognizer: Recognizer, inputs: list[Input], several: bool) -> bytes:
    """Read images, and return :func:`render_readings` of the results."""
    results = [_read(recognizer, i, Options(), Limits(), _Spent()) for i in _valid(inputs)]
    return render_readings(recognizer, inputs, several, results)


def render_readings(
    recognizer: Recognizer,
    inputs: Sequence[Input],
    several: bool,
    results: Sequence[Result],
    marks: Marks | None = None,
) -> bytes:
    """Return the JSON answer: one object, or ``readings`` in order, in which an invalid image has its error.

    Args:
        results: for :func:`sources_of`, in order.
        marks: see :func:`inkdigits.server.predict.render`.

    Raises:
        ImageError, Problem: there is a single image, and it is invalid.
    """

    def document(reading: Reading) -> dict[str, Any]:
        found = reading.to_dict()
        for number in found["numbers"]:
            if isinstance(number["value"], int) and abs(number["value"]) >= JSON_INTEGER:
                number["value"] = orjson.Fragment(str(number["value"]))
        found["model"] = recognizer.model.name
        return found

    return render(inputs, rows_of(inputs, results), "readings" if several else "", document, marks)

"""``POST /predict``: images in, one prediction or several out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from inkdigits.errors import ImageError
from inkdigits.options import did_you_mean
from inkdigits.prediction import Prediction
from inkdigits.recognizer import Recognizer
from inkdigits.server.cost import Source, is_heavy, load_of
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import BAD_REQUEST, Problem, problem_of, shorten
from inkdigits.server.http.responses import JSON, Answer
from inkdigits.server.inference import Executor, Result
from inkdigits.server.keeper import Keeper
from inkdigits.server.payloads import Input, parse

if TYPE_CHECKING:
    from inkdigits.server.trial import Trial

__all__ = [
    "MAX_TOP",
    "Marks",
    "Options",
    "Predict",
    "answer",
    "integer",
    "marks_of",
    "query_options",
    "render",
    "render_predictions",
    "rows_of",
    "sources_of",
    "switch",
]

MAX_OPTIONS = 100  # of a query
MAX_TOP = 10  # digits there are
_SWITCH = {"": True, "true": True, "1": True, "false": False, "0": False}

Row = Prediction | ImageError | Problem  # the result for one image
R = TypeVar("R")
Marks = Callable[[Input, Any], Mapping[str, Any]]  # what the answer for an image has in addition


@dataclass(frozen=True, slots=True)
class Options:
    """What a query asks for in addition to the digit."""

    image: bool = False  # what the network saw
    explain: bool = False  # how much each part of the ink mattered
    top: int = 0  # number of most likely digits; 0 for no list
    feedback: bool = False  # a prediction id, for POST /feedback

    @classmethod
    def of(cls, query: bytes) -> Options:
        """Return the options of a query string.

        Raises:
            Problem: an option is unknown, or has an invalid value.
        """
        if not query:
            return _DEFAULTS
        given = query_options(query, "/predict", _OPTIONS)
        top = integer("top", given["top"], 1, MAX_TOP) if "top" in given else 0
        return cls(switch(given, "image"), switch(given, "explain"), top, switch(given, "feedback"))


def query_options(query: bytes, path: str, known: Sequence[str]) -> dict[str, str]:
    """Return the options of a query string by name; of one that is given several times, the last.

    Raises:
        Problem: an option is not one of those known, or there are too many.
    """
    try:
        given = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_OPTIONS)
    except ValueError:
        raise Problem(BAD_REQUEST, f"the query has more than {MAX_OPTIONS} options, the limit") from None
    for name in given.keys() - set(known):
        hint = did_you_mean(name, known, "query options")
        raise Problem(BAD_REQUEST, f"{path} has no query option {shorten(name)!r}; {hint}")
    return {name: values[-1] for name, values in given.items()}


def switch(given: Mapping[str, str], name: str) -> bool:
    """Return a boolean option: ``?name``, ``?name=true`` or ``1`` is true, ``false`` or ``0`` is false.

    Raises:
        Problem: it is neither.
    """
    value = given.get(name, "false")
    if value.lower() not in _SWITCH:
        raise Problem(BAD_REQUEST, f"the query option {name} is {shorten(value)!r}; expected true or false")
    return _SWITCH[value.lower()]


def integer(name: str, value: str, low: int, high: int) -> int:
    """Return the value of an option that is a number.

    Raises:
        Problem: it is none, or out of bounds.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(high)) and low <= int(value) <= high):
        detail = f"the query option {name} is {shorten(value)!r}; expected a number from {low} to {high}"
        raise Problem(BAD_REQUEST, detail)
    return int(value)


_DEFAULTS = Options()
_OPTIONS = tuple(field.name for field in fields(Options))


class Predict:
    """The ASGI application that answers ``POST /predict``.

    Args:
        recognizer: the model.
        executor: decides where images are predicted.
        bodies: receives request bodies.
        keeper: gives prediction ids; None if no corrections are kept.
        trial: chooses the model of each request; None where there is one.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        executor: Executor,
        bodies: Bodies,
        keeper: Keeper | None = None,
        trial: Trial | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies
        self._keeper = keeper
        self._trial = trial

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        executor = self._executor
        headers = dict(scope["headers"])
        options = Options.of(scope["query_string"])
        async with self._bodies.receive(receive, headers) as body:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            size = 0 if content_type.startswith("image/") else len(body)  # an image is not parsed
            inputs, several = await executor.call(size, parse, content_type, body, executor.max_files)
            charge(scope, len(inputs))

            async def answered(recognizer: Recognizer) -> bytes:
                marks = marks_of(self._keeper, recognizer) if options.feedback else None
                render = partial(render_predictions, recognizer, inputs, several, options, marks=marks)
                sources = sources_of(inputs)
                return await executor.predict(recognizer, sources, render, size=len(body), explain=options.explain)

            recognizer, trial = self._recognizer, self._trial
            if trial is not None:
                recognizer = trial.choose(recognizer, scope, headers)
            try:
                found = await answered(recognizer)
            except Exception as error:
                other = trial.instead(recognizer, error, len(inputs)) if trial else None
                if other is None:
                    raise
                found = await answered(other)
        await Answer(200, JSON, found)(scope, receive, send)

    def begin(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        body: bytes,
        done: Callable[[bytes | Exception], None],
    ) -> bool:
        """Start a small, complete request without options, and avoid the event loop turns that awaiting takes.

        Args:
            headers: of the request.
            done: called with the answer or an error in a later turn of the event loop.

        Returns:
            False for any other request, for which nothing was started.

        Raises:
            Problem: the request is invalid.
        """
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        inputs, several = parse(content_type, body, self._executor.max_files)
        sources = sources_of(inputs)
        if not sources or is_heavy(load := load_of(sources)):
            return False
        trial = self._trial

        def finish(recognizer: Recognizer, found: list[Result] | Exception) -> None:
            if isinstance(found, Exception):
                other = trial.instead(recognizer, found, len(sources)) if trial else None
                if other is None:
                    done(found)
                else:
                    self._executor.submit(other, sources, partial(finish, other), load)
                return
            try:
                rendered = render_predictions(recognizer, inputs, several, _DEFAULTS, found)
            except Exception as error:
                done(error)
            else:
                done(rendered)

        recognizer = self._recognizer
        if trial is not None:
            recognizer = trial.choose(recognizer, scope, headers)
        self._executor.submit(recognizer, sources, partial(finish, recognizer), load)
        return True


def sources_of(inputs: Sequence[Input]) -> list[Source]:
    """Return the images of a request that are valid so far."""
    return [i.source for i in inputs if not isinstance(i.source, Problem)]


def rows_of(inputs: Sequence[Input], results: Sequence[R]) -> Sequence[R | Problem]:
    """Return a row for each image of a request, from the results for :func:`sources_of`."""
    if len(results) == len(inputs):
        return results
    found = iter(results)
    return [i.source if isinstance(i.source, Problem) else next(found) for i in inputs]


def answer(recognizer: Recognizer, inputs: list[Input], several: bool, options: Options) -> bytes:
    """Predict images, and return :func:`render_predictions` of the results."""
    results = recognizer.predict_batch(sources_of(inputs), errors="return", explain=options.explain)
    return render_predictions(recognizer, inputs, several, options, results)


def marks_of(keeper: Keeper | None, recognizer: Recognizer) -> Marks:
    """Return what gives each answer its prediction id; null if no corrections are kept."""
    if keeper is None:
        return lambda image, found: {"prediction_id": None, "audit": False}
    return lambda image, found: keeper.marks(image.source, found, recognizer.model.sha256)


def render_predictions(
    recognizer: Recognizer,
    inputs: Sequence[Input],
    several: bool,
    options: Options,
    results: Sequence[Result],
    *,
    marks: Marks | None = None,
) -> bytes:
    """Return the JSON answer: one object, or ``predictions`` in order, in which an invalid image has its error.

    Args:
        results: for :func:`sources_of`, in order.
        marks: see :func:`render`.

    Raises:
        ImageError, Problem: there is a single image, and it is invalid.
    """

    def document(prediction: Prediction) -> dict[str, Any]:
        found = prediction.to_dict(image=options.image)
        if options.top:
            found["top"] = _most_likely(prediction, options.top)
        found["model"] = recognizer.model.name
        return found

    return render(inputs, rows_of(inputs, results), "predictions" if several else "", document, marks)


def render(
    inputs: Sequence[Input],
    rows: Sequence[R | Exception],
    key: str,
    document: Callable[[R], dict[str, Any]],
    marks: Marks | None = None,
) -> bytes:
    """Return the JSON answer to a request.

    Args:
        rows: the result for each image, or its error.
        key: of the list of all of them; "" for a single one by itself.
        document: returns the answer for a result.
        marks: returns what it has in addition.

    Raises:
        ImageError, Problem: there is a single image, and it is invalid.
    """

    def whole(image: Input, row: R) -> dict[str, Any]:
        return {**document(row), **marks(image, row)} if marks else document(row)

    if key:
        named = [
            {"name": i.name, **({"error": problem_of(row).document()} if isinstance(row, Exception) else whole(i, row))}
            for i, row in zip(inputs, rows, strict=True)
        ]
        return orjson.dumps({key: named})
    if isinstance(rows[0], Exception):
        raise rows[0]
    return orjson.dumps(whole(inputs[0], rows[0]))


def _most_likely(prediction: Prediction, count: int) -> list[dict[str, Any]]:
    """Return the most likely digits, best first; none for a blank image."""
    if prediction.is_blank:
        return []
    probabilities = prediction.probabilities
    best = sorted(range(len(probabilities)), key=lambda digit: -probabilities[digit])[:count]
    return [{"digit": digit, "probability": probabilities[digit]} for digit in best]

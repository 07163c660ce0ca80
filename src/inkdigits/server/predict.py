"""``POST /predict``: images in, one answer or several out; and the routes that report what the server is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from inkdigits.errors import ImageError
from inkdigits.options import did_you_mean
from inkdigits.prediction import Prediction
from inkdigits.recognizer import Recognizer
from inkdigits.server.cost import Source, is_heavy, load_of
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import BAD_REQUEST, Problem, not_ready, problem_of, shown
from inkdigits.server.http.responses import FRESH, JSON, Answer, fixed
from inkdigits.server.inference import Executor, Result
from inkdigits.server.model_info import about
from inkdigits.server.payloads import Input, parse

__all__ = ["MAX_TOP", "Options", "Predict", "answer", "api", "render_predictions", "rows_of", "sources_of"]

MAX_OPTIONS = 100  # of a query
MAX_TOP = 10  # digits there are
_SWITCH = {"": True, "true": True, "1": True, "false": False, "0": False}

Row = Prediction | ImageError | Problem  # what came of one image


@dataclass(frozen=True, slots=True)
class Options:
    """What a query asks for beside the digit."""

    image: bool = False  # what the network saw
    explain: bool = False  # how much each part of the ink mattered
    top: int = 0  # so many likeliest digits; 0: no list of them

    @classmethod
    def of(cls, query: bytes) -> Options:
        """Return the options of a query string.

        Raises:
            Problem: one has a value that it cannot have.
        """
        if not query:
            return _PLAIN
        try:
            given = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_OPTIONS)
        except ValueError:
            detail = f"the query has more than {MAX_OPTIONS} options, the most that is read"
            raise Problem(BAD_REQUEST, detail) from None
        last = {name: values[-1] for name, values in given.items()}
        for name in last.keys() - set(_OPTIONS):
            hint = did_you_mean(name, _OPTIONS, "query options")
            raise Problem(BAD_REQUEST, f"/predict has no query option {shown(name)!r}; {hint}")
        return cls(_switch(last, "image"), _switch(last, "explain"), _top(last.get("top")))


def _switch(given: Mapping[str, str], name: str) -> bool:
    """Read an on-or-off option: ``?name``, ``?name=true`` or ``1`` is on, ``false`` or ``0`` is off."""
    value = given.get(name, "false")
    if value.lower() not in _SWITCH:
        raise Problem(BAD_REQUEST, f"the query option {name} is {shown(value)!r}; expected true or false")
    return _SWITCH[value.lower()]


def _top(value: str | None) -> int:
    if value is None:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) < 4 and 1 <= int(value) <= MAX_TOP):
        raise Problem(BAD_REQUEST, f"the query option top is {shown(value)!r}; expected a number from 1 to {MAX_TOP}")
    return int(value)


_PLAIN = Options()
_OPTIONS = tuple(field.name for field in fields(Options))


class Predict:
    """The ASGI application that answers ``POST /predict``: on the hot path there is nothing else.

    Args:
        recognizer: the model.
        executor: decides where images are read.
        bodies: receives what is sent.
    """

    def __init__(self, recognizer: Recognizer, executor: Executor, bodies: Bodies) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        executor = self._executor
        headers = dict(scope["headers"])
        options = Options.of(scope["query_string"])
        async with self._bodies.receive(receive, headers) as body:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            size = 0 if content_type.startswith("image/") else len(body)  # nothing is parsed of an image
            inputs, several = await executor.call(size, parse, content_type, body, executor.max_files)
            charge(scope, len(inputs))
            render = partial(render_predictions, self._recognizer, inputs, several, options)
            found = await executor.predict(
                self._recognizer, sources_of(inputs), render, size=len(body), explain=options.explain
            )
        await Answer(200, JSON, found)(scope, receive, send)

    def begin(self, content_type: str, body: bytes, done: Callable[[bytes | Exception], None]) -> bool:
        """Read a small request that is all there and has no options, without the turns of the loop that waiting takes.

        Args:
            done: is given the answer, or why there is none, in a turn of the event loop to come.

        Returns:
            False for a request that is not of this kind: nothing has been begun then.

        Raises:
            Problem: what was sent cannot be read.
        """
        inputs, several = parse(content_type, body, self._executor.max_files)
        sources = sources_of(inputs)
        if not sources or is_heavy(load := load_of(sources)):
            return False

        def finish(found: list[Result] | Exception) -> None:
            if isinstance(found, Exception):
                done(found)
                return
            try:
                rendered = render_predictions(self._recognizer, inputs, several, _PLAIN, found)
            except Exception as error:
                done(error)
            else:
                done(rendered)

        self._executor.submit(self._recognizer, sources, finish, load)
        return True


def sources_of(inputs: Sequence[Input]) -> list[Source]:
    """Return the images of a request that can be looked at."""
    return [i.source for i in inputs if not isinstance(i.source, Problem)]


def rows_of(inputs: Sequence[Input], results: Sequence[Result]) -> Sequence[Row]:
    """Return what came of each image of a request, from the results of :func:`sources_of`."""
    if len(results) == len(inputs):
        return results
    found = iter(results)
    return [i.source if isinstance(i.source, Problem) else next(found) for i in inputs]


def answer(recognizer: Recognizer, inputs: list[Input], several: bool, options: Options) -> bytes:
    """Read images and :func:`render_predictions`."""
    results = recognizer.predict_batch(sources_of(inputs), errors="return", explain=options.explain)
    return render_predictions(recognizer, inputs, several, options, results)


def render_predictions(
    recognizer: Recognizer, inputs: Sequence[Input], several: bool, options: Options, results: Sequence[Result]
) -> bytes:
    """Return the JSON that answers images: one object, or ``predictions`` in order, where a broken one has its error.

    Args:
        results: of those that could be looked at, in order.

    Raises:
        ImageError, Problem: it is one image, and cannot be read.
    """
    rows = rows_of(inputs, results)
    if several:
        named = zip(inputs, rows, strict=True)
        return orjson.dumps({"predictions": [{"name": i.name, **_plain(row, recognizer, options)} for i, row in named]})
    if isinstance(rows[0], Exception):
        raise rows[0]
    return orjson.dumps(_plain(rows[0], recognizer, options))


def _plain(row: Row, recognizer: Recognizer, options: Options) -> dict[str, Any]:
    if isinstance(row, Exception):
        return {"error": problem_of(row).document()}
    plain = row.to_dict(image=options.image)
    if options.top:
        plain["top"] = _likeliest(row, options.top)
    plain["model"] = recognizer.model.name
    return plain


def _likeliest(prediction: Prediction, count: int) -> list[dict[str, Any]]:
    """Return the likeliest digits, best first; none of a blank image."""
    if prediction.is_blank:
        return []
    probabilities = prediction.probabilities
    best = sorted(range(len(probabilities)), key=lambda digit: -probabilities[digit])[:count]
    return [{"digit": digit, "probability": probabilities[digit]} for digit in best]


def api(recognizer: Recognizer, predict: Predict, fault: Callable[[], str]) -> list[BaseRoute]:
    """Return the API's routes.

    Args:
        fault: what keeps the server from being ready now, "" for nothing; ``GET /ready`` reports it.
    """
    state = orjson.dumps({"status": "ready", "model": recognizer.model.name})

    async def ready(request: Request) -> Response:
        if wrong := fault():
            raise not_ready(wrong)
        return Response(state, 200, FRESH, "application/json")

    return [
        Route("/predict", predict, methods=["POST"]),
        Route("/health", fixed(orjson.dumps({"status": "ok"}), "application/json", FRESH)),
        Route("/ready", ready),
        Route("/model", fixed(orjson.dumps(about(recognizer)), "application/json", FRESH)),
    ]

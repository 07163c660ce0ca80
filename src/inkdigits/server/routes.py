"""The routes of the API. ``POST /predict`` is an ASGI application of its own: on the hot path there is nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inkdigits.errors import ImageError
from inkdigits.prediction import Prediction
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import INLINE_BYTES, is_heavy, load_of
from inkdigits.server.http.problems import BAD_REQUEST, NOT_READY, Problem, problem_of, shown
from inkdigits.server.inference import Result
from inkdigits.server.inputs import Input, parse
from inkdigits.server.reader import Reader

__all__ = ["FRESH", "Options", "Predict", "answer", "fixed", "not_ready", "reply", "tell"]

RETRY_SECONDS = 10  # after which to ask a server again that is not ready
MAX_OPTIONS = 100  # of a query
MAX_TOP = 10  # digits there are
FRESH = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_SWITCH = {"": True, "true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Options:
    """What a query asks for beside the digit."""

    image: bool = False  # what the network saw
    explain: bool = False  # how much each part of the ink mattered
    top: int = 0  # so many likeliest digits; 0: no list of them

    @classmethod
    def of(cls, query: bytes) -> Options:
        """The options of a query string.

        Raises:
            Problem: one has a value that it cannot have.
        """
        try:
            given = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_OPTIONS)
        except ValueError:
            raise Problem(
                BAD_REQUEST, f"the query has more than {MAX_OPTIONS} options, the most that is read"
            ) from None
        last = {name: values[-1] for name, values in given.items()}
        for name in last.keys() - set(_OPTIONS):
            near = get_close_matches(name, _OPTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_OPTIONS)}"
            raise Problem(BAD_REQUEST, f"/predict has no query option {shown(name)!r}; {hint}")
        return cls(_switch(last, "image"), _switch(last, "explain"), _top(last.get("top")))


def _switch(given: Mapping[str, str], name: str) -> bool:
    """An on-or-off option: ``?name``, ``?name=true`` or ``1`` is on, ``false`` or ``0`` is off."""
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
    """``POST /predict``: images in, one answer or several out.

    Small requests are read in the event loop, together with others that came at the same time; heavy ones in threads.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        headers = dict(scope["headers"])
        options = Options.of(scope["query_string"]) if scope["query_string"] else _PLAIN
        with await reader.body(receive, headers) as body:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            sent = content_type, body, reader.max_files
            heavy = len(body) > INLINE_BYTES and not content_type.startswith("image/")
            inputs, several = await reader.heavy.run(parse, *sent) if heavy else parse(*sent)
            charge(scope, len(inputs))
            sources = [i.source for i in inputs if not isinstance(i.source, Problem)]
            if len(body) > INLINE_BYTES or options.explain or is_heavy(load := load_of(sources)):
                told = await reader.heavy.run(self._read, sources, inputs, several, options)
            else:
                told = tell(reader.recognizer, inputs, await reader.read_small(sources, load), several, options)
        await reply(send, told)

    def at_once(
        self, headers: Mapping[bytes, bytes], body: bytes, deliver: Callable[[bytes | Exception], None]
    ) -> bool:
        """Read a small request that is all there and has no options, without the turns of the loop that waiting takes.

        Args:
            deliver: is given the answer, or why there is none, in a turn of the event loop to come.

        Returns:
            False for a request that is not of this kind: nothing has been begun then.

        Raises:
            Problem: what was sent cannot be read.
        """
        reader = self._reader
        if len(body) > reader.inline or b"content-encoding" in headers:
            return False
        inputs, several = parse(headers.get(b"content-type", b"").decode("latin-1"), body, reader.max_files)
        sources = [i.source for i in inputs if not isinstance(i.source, Problem)]
        if not sources or is_heavy(load := load_of(sources)):
            return False

        def told(results: list[Result] | Exception) -> None:
            if not isinstance(results, Exception):
                try:
                    deliver(tell(reader.recognizer, inputs, results, several, _PLAIN))
                    return
                except ImageError as error:
                    results = error
            deliver(results)

        reader.put_small(sources, told, load)
        return True

    def _read(
        self, sources: Sequence[bytes | np.ndarray], inputs: list[Input], several: bool, options: Options
    ) -> bytes:
        results = self._reader.read(sources, explain=options.explain)
        return tell(self._reader.recognizer, inputs, results, several, options)


def answer(recognizer: Recognizer, inputs: list[Input], several: bool, options: Options) -> bytes:
    """Read images and :func:`tell`."""
    readable = (i.source for i in inputs if not isinstance(i.source, Problem))
    results = recognizer.predict_batch(readable, errors="return", explain=options.explain)
    return tell(recognizer, inputs, results, several, options)


def tell(
    recognizer: Recognizer,
    inputs: list[Input],
    results: Iterable[Prediction | ImageError],
    several: bool,
    options: Options,
) -> bytes:
    """The JSON that answers images: one object, or ``predictions`` in order, where a broken one holds its error.

    Args:
        results: what was read in those that could be looked at, in order.

    Raises:
        ImageError: it is one image, and cannot be read.
    """
    result = iter(results)
    rows = [i.source if isinstance(i.source, Problem) else next(result) for i in inputs]
    if not several:
        if isinstance(rows[0], Exception):
            raise rows[0]
        return orjson.dumps(_plain(rows[0], recognizer, options))
    named = zip(inputs, rows, strict=True)
    return orjson.dumps({"predictions": [{"name": i.name, **_plain(row, recognizer, options)} for i, row in named]})


def _plain(result: Prediction | ImageError | Problem, recognizer: Recognizer, options: Options) -> dict[str, Any]:
    if isinstance(result, ImageError):
        result = problem_of(result)
    if isinstance(result, Problem):
        return {"error": result.document()}
    plain = result.to_dict(image=options.image)
    if options.top:
        plain["top"] = _likeliest(result, options.top)
    plain["model"] = recognizer.model.name
    return plain


def _likeliest(prediction: Prediction, count: int) -> list[dict[str, Any]]:
    """The likeliest digits, best first; none of a blank image."""
    if prediction.is_blank:
        return []
    probabilities = prediction.probabilities
    best = sorted(range(len(probabilities)), key=lambda digit: -probabilities[digit])[:count]
    return [{"digit": digit, "probability": probabilities[digit]} for digit in best]


async def reply(
    send: Send, body: bytes, kind: bytes = b"application/json", *headers: tuple[bytes, bytes], status: int = 200
) -> None:
    """Send an answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", kind),
                (b"content-length", b"%d" % len(body)),
                (b"x-content-type-options", b"nosniff"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def not_ready(fault: str) -> Problem:
    """The problem of a server that is not ready, for this fault."""
    return Problem(NOT_READY, fault, {"Cache-Control": "no-store", "Retry-After": str(RETRY_SECONDS)})


def fixed(body: bytes, media_type: str, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that always gives the same."""

    async def endpoint(request: Request) -> Response:
        return Response(body, 200, headers, media_type)

    return endpoint

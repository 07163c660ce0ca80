"""``/review``: the page on which people review corrections, and the JSON behind it.

``GET /review/next?queue=…&reviewer=…``   the next correction of a queue
``POST /review/{row}``                    a verdict on it
``GET /review/progress?reviewer=…``       how many wait, are settled, and how far the reviewers agree

The page itself holds nothing; the rest needs a reviewer's key. It is a part of the page, not of the public API, so it
is not in the OpenAPI document; ``docs/review.md`` describes it.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from inkdigits.errors import SettingError, StoreError
from inkdigits.feedback.queries import Listed
from inkdigits.feedback.queues import COUNTED, QUEUES, Item, next_items
from inkdigits.feedback.reread import Reread
from inkdigits.feedback.review import STATUS_COUNTED, VERDICTS, Decision, check_reviewer, decide, progress
from inkdigits.feedback.store import Store
from inkdigits.feedback.submission import STROKES, data_url
from inkdigits.options import did_you_mean
from inkdigits.recognizer import Recognizer
from inkdigits.server.feedback import checked_object
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import (
    BAD_REQUEST,
    INVALID_FEEDBACK,
    NOT_FOUND,
    Problem,
    shorten,
)
from inkdigits.server.http.responses import FRESH, fixed
from inkdigits.server.inference import Executor
from inkdigits.server.json_images import describe, load
from inkdigits.server.keeper import store_unavailable
from inkdigits.server.observability.metrics import PATH_OF_REVIEW
from inkdigits.server.pages import HEADERS
from inkdigits.server.predict import query_options

__all__ = ["review_routes"]

FIELDS = ("verdict", "label", "group", "reviewer")
MARK = 6  # hex digits by which a reviewer recognizes a client
_HERE = Path(__file__)
_FILES = (
    ("review.html", "", "text/html"),
    ("review.css", ".css", "text/css"),
    ("review.js", ".js", "text/javascript"),
    ("review-card.js", "-card.js", "text/javascript"),
)

T = TypeVar("T")


def review_routes(recognizer: Recognizer, executor: Executor, bodies: Bodies, store: Store) -> list[BaseRoute]:
    """Return the routes of the review.

    Args:
        bodies: receives request bodies.
        store: the database of corrections.
    """
    review = _Review(recognizer, executor, bodies, store)
    return [
        *(
            Route(f"{PATH_OF_REVIEW}{ending}", fixed(_HERE.with_name(name).read_bytes(), kind, HEADERS))
            for name, ending, kind in _FILES
        ),
        Route(f"{PATH_OF_REVIEW}/next", review.next),
        Route(f"{PATH_OF_REVIEW}/progress", review.progress),
        Route(f"{PATH_OF_REVIEW}/{{row}}", review.decide, methods=["POST"]),
    ]


class _Review:
    """The endpoints. The database is used in threads."""

    def __init__(self, recognizer: Recognizer, executor: Executor, bodies: Bodies, store: Store) -> None:
        self._model = recognizer.model.sha256
        self._executor = executor
        self._bodies = bodies
        self._engine = store.engine
        self._reread = Reread(store.engine, recognizer)
        self._reads = threading.Lock()

    async def next(self, request: Request) -> Response:
        given = _query(request, ("queue", "reviewer"))
        reviewer = _reviewer(given.get("reviewer"))
        queue = given.get("queue", "")
        if queue not in QUEUES:
            raise Problem(BAD_REQUEST, f"queue is {shorten(queue)!r}; {did_you_mean(queue, tuple(QUEUES), 'queues')}")
        return await self._answer(self._next, queue, reviewer)

    def _next(self, queue: str, reviewer: str) -> dict[str, Any]:
        if queue == "changed" and self._reads.acquire(blocking=False):  # one thread at a time is enough
            try:
                self._reread.step()
            finally:
                self._reads.release()
        found = next_items(self._engine, queue, reviewer, model=self._model)
        more = queue == "changed" and not self._reread.done
        return {"item": _document(found[0]) if found else None, "reading": more}

    async def progress(self, request: Request) -> Response:
        reviewer = _reviewer(_query(request, ("reviewer",)).get("reviewer"))
        return await self._answer(self._progress, reviewer)

    def _progress(self, reviewer: str) -> dict[str, Any]:
        return {
            **asdict(progress(self._engine, reviewer, model=self._model)),
            "counted": COUNTED,
            "status_counted": STATUS_COUNTED,
        }

    async def decide(self, request: Request) -> Response:
        async with self._bodies.receive(request.receive, dict(request.scope["headers"])) as body:
            document = checked_object(load(body, 1) if body else None, FIELDS)
        verdict, group = document.get("verdict"), document.get("group", False)
        if verdict not in VERDICTS:
            raise Problem(INVALID_FEEDBACK, f"verdict is {describe(verdict)}; expected one of {', '.join(VERDICTS)}")
        if not isinstance(group, bool):
            raise Problem(INVALID_FEEDBACK, f"group is {describe(group)}; expected true or false")
        reviewer = _reviewer(document.get("reviewer"))
        text = request.path_params["row"]
        row = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
        return await self._answer(self._decide, row, reviewer, verdict, document.get("label"), group)

    def _decide(self, row: int, reviewer: str, verdict: str, label: Any, group: bool) -> dict[str, Any]:
        try:
            found = decide(self._engine, row, reviewer, verdict, label, group=group)
        except ValueError as error:
            raise Problem(INVALID_FEEDBACK, f"label is {error}") from None
        mine: Decision | None = next((each for each in found if each.row == row), None)
        if mine is None:
            raise Problem(NOT_FOUND, "there is no correction with this number; it may have been removed")
        decided = sum(each.is_new for each in found)
        return {"row": row, "status": mine.status, "final": mine.final, "decided": decided} | {
            "label": mine.label,
            "answer": mine.text,
        }

    async def _answer(self, function: Callable[..., dict[str, Any]], *args: Any) -> Response:
        try:
            found = await self._executor.run(function, *args)
        except SettingError as error:
            raise Problem(BAD_REQUEST, str(error)) from None
        except StoreError:
            raise store_unavailable() from None
        return Response(orjson.dumps(found), 200, FRESH, "application/json")


def _query(request: Request, known: tuple[str, ...]) -> Mapping[str, str]:
    return query_options(request.scope["query_string"], request.scope["path"], known)


def _reviewer(name: Any) -> str:
    try:
        return check_reviewer(name)
    except ValueError as error:
        raise Problem(INVALID_FEEDBACK, f"reviewer is {error}") from None


def _document(item: Item) -> dict[str, Any]:
    """Return a correction as the page shows it. A blind one has neither the answer nor the label."""
    each = item.listed
    document = {
        "row": each.row,
        "reading": each.task,
        "blind": item.blind,
        "audit": each.is_audit,
        "created": each.created.isoformat(timespec="seconds"),
        **_picture(each),
    }
    if item.blind:
        return document
    return document | {
        "label": each.label,
        "answer": each.text,
        "confidence": each.confidence,
        "probabilities": each.details.get("probabilities"),
        "kind": each.kind,
        "status": each.status,
        "suspicion": each.suspicion,
        "disputes": each.disputes,
        "source": each.source,
        "client": None if each.client is None else sha256(each.client.encode()).hexdigest()[:MARK],
        "model": each.model,
        "now": item.now,
        "group": [
            {"row": one.row, "label": one.label, "status": one.status, "seen": _base64(one.seen)} for one in item.group
        ],
    }


def _picture(each: Listed) -> dict[str, Any]:
    picture = strokes = None
    if each.original is not None and each.media is not None:
        if each.media == STROKES:
            strokes = orjson.loads(each.original)["strokes"]
        else:
            picture = data_url(each.original, each.media)
    return {"seen": _base64(each.seen), "picture": picture, "strokes": strokes}


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()

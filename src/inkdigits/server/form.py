"""``POST /``: the page's form, for browsers without JavaScript. The answer is an HTML page without scripts.

A browser that asks for what does not exist gets such a page, too. A program that posts there and does not accept HTML
gets the JSON of ``POST /predict``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from inkdigits.prediction import Prediction
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import HANDLERS, NOT_FOUND, PROTOCOL, ROOT, Problem, problem_of, shorten
from inkdigits.server.http.responses import Answer
from inkdigits.server.inference import Executor
from inkdigits.server.pages import HEADERS
from inkdigits.server.payloads import Input, parse
from inkdigits.server.predict import Predict, Row, rows_of, sources_of

__all__ = ["HOME", "Form", "on_http", "page_of", "wants_page"]

HOME = "/"
HTML = b"text/html; charset=utf-8"
_HTML = Path(__file__).with_name("form.html").read_text(encoding="utf-8")
_FIELD = re.compile(r"\{(title|heading|root|content)\}")
SURE = 0.999  # above this, more decimals would claim more precision than calibration has
# The page's headers without the one that Answer adds; browsers and proxies must not store answers.
_HEADERS = [
    (name.encode(), value.encode())
    for name, value in {**HEADERS, "cache-control": "no-store", "vary": "Accept"}.items()
    if name != "x-content-type-options"
]

# The same sentences as in web/strings.js.
_NOT_AN_IMAGE = "This file is not a supported picture. Save it as PNG or JPEG."
_SENTENCES = {
    "not-an-image": _NOT_AN_IMAGE,
    "unsupported-media-type": _NOT_AN_IMAGE,
    "unreadable-image": "This picture is damaged or incomplete.",
    "image-too-large": "This picture has too many pixels. Scale it down.",
    "body-too-large": "These files are too large. Choose fewer or smaller ones.",
    "unauthorized": "This server needs an API key, which this page cannot send.",
}


def wants_page(scope: Scope) -> bool:
    """Return whether a request's Accept header names text/html, as browsers send it and programs do not."""
    return any(name == b"accept" and b"text/html" in value.lower() for name, value in scope["headers"])


class Form:
    """The ASGI application that answers ``POST /``."""

    def __init__(self, recognizer: Recognizer, executor: Executor, bodies: Bodies, predict: Predict) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies
        self._predict = predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not wants_page(scope):
            await self._predict(scope, receive, send)
            return
        headers = dict(scope["headers"])
        async with self._bodies.receive(receive, headers) as body:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            page = await self._executor.run(self._read, content_type, body)
        await page(scope, receive, send)

    def _read(self, content_type: str, body: bytes) -> Answer:
        """Read the images of a form, and render them."""
        inputs, _ = parse(content_type, body, self._executor.max_files)
        rows = rows_of(inputs, self._executor.predict_all(self._recognizer, sources_of(inputs)))
        alone = len(rows) == 1
        problem = problem_of(rows[0]) if alone and isinstance(rows[0], Exception) else None
        heading = problem.type.title if problem else "Answer" if alone else f"{len(rows)} pictures"
        title = f"Error: {heading}" if problem else f"Answer: {_digit(rows[0])}" if alone else heading
        pairs = enumerate(zip(inputs, rows, strict=True))
        sections = "".join(_section(n, item, row, open_=alone) for n, (item, row) in pairs)
        page = _page(title, heading, _summary(inputs, rows) + sections)
        return Answer(problem.type.status if problem else 200, HTML, page, _HEADERS)


def page_of(problem: Problem, root: str = ".") -> Answer:
    """Return the page that explains a problem, with its status.

    Args:
        root: address of the server's first page, from that of the request, without a slash at the end.
    """
    text = f'<section class="reading"><p>{escape(_sentence(problem))}</p></section>'
    page = _page(f"Error: {problem.type.title}", problem.type.title, text, root)
    return Answer(problem.type.status, HTML, page, [*_HEADERS, *problem.own_headers()])


async def on_http(request: Request, error: HTTPException) -> Answer:
    """Answer a request for what does not exist: with a page for browsers, else as :data:`HANDLERS` do."""
    path = request.scope["path"]
    is_page = error.status_code == NOT_FOUND.status and not path.startswith(f"{PROTOCOL}/")
    if is_page and request.method in ("GET", "HEAD") and wants_page(request.scope):
        return page_of(Problem(NOT_FOUND, f"there is nothing at {shorten(path)}"), ROOT.get())
    answer: Answer = await HANDLERS[HTTPException](request, error)
    return answer


def _page(title: str, heading: str, content: str, root: str = ".") -> bytes:
    values = {"title": escape(title), "heading": escape(heading), "root": escape(root), "content": content}
    return _FIELD.sub(lambda field: values[field[1]], _HTML).encode(errors="replace")


def _summary(inputs: Sequence[Input], rows: Sequence[Row]) -> str:
    """Return a table of all pictures; "" for a single one."""
    if len(rows) == 1:
        return ""
    lines = "".join(
        f'<tr><th scope="row"><a href="#picture-{n}">{_name(i)}</a></th>'
        f'<td class="number">{_digit(row)}</td><td class="number">{_confidence(row)}</td></tr>'
        for n, (i, row) in enumerate(zip(inputs, rows, strict=True))
    )
    head = '<th scope="col">Picture</th><th scope="col" class="number">Digit</th>'
    return (
        '<div class="table" tabindex="0" role="region" aria-label="Answers"><table class="summary">'
        f'<thead><tr>{head}<th scope="col" class="number">Confidence</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _section(number: int, item: Input, row: Row, *, open_: bool) -> str:
    """Return the section with the result for one picture."""
    if not isinstance(row, Prediction):
        problem = problem_of(row)
        content = f"<p>{escape(_sentence(problem))}</p>"
    elif row.is_blank:
        content = f'<p class="numeral doubtful">{_digit(row)}</p><p>This picture is blank.</p>'
    elif row.is_digit:
        sure = ", sure" if row.is_sure else ""
        content = f'<p class="numeral">{_digit(row)}</p><p>Confidence {_confidence(row)}{sure}</p>'
        content += _details(row, open_)
    elif row.reason == "several digits":
        words = "This looks like more than one digit. Send one at a time."
        content = f'<p class="numeral doubtful">{_digit(row)}</p><p>{words}</p>' + _details(row, open_)
    else:
        what = "is hard to read" if row.reason == "unclear" else "does not look like a digit"
        words = f"This {what}. The closest digit is {row.digit}."
        content = f'<p class="numeral doubtful">{_digit(row)}</p><p>{words}</p>' + _details(row, open_)
    name = _name(item) or f"Picture {number + 1}"
    return f'<section id="picture-{number}" class="reading"><h2>{name}</h2>{content}</section>'


def _details(prediction: Prediction, open_: bool) -> str:
    """Return what the network saw, and the probability of each digit."""
    bars = "".join(
        f'<tr{" class=best" if digit == prediction.digit else ""}><th scope="row">{digit}</th><td class="bar">'
        f'<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * p:.2f}" height="1"/></svg></td><td class="number">{_percent(p)}</td></tr>'
        for digit, p in enumerate(prediction.probabilities)
    )
    return (
        f'<p class="seen"><img src="{_picture(prediction)}" alt="" width="28" height="28"> What the network saw</p>'
        f"<details{' open' if open_ else ''}><summary>How likely each digit is</summary>"
        '<table class="probabilities"><thead class="unseen"><tr><th scope="col">Digit</th><td></td>'
        f'<th scope="col">Probability</th></tr></thead><tbody>{bars}</tbody></table></details>'
    )


def _digit(row: Row) -> str:
    if not isinstance(row, Prediction):
        return "error"
    return row.reason or str(row.digit)


def _confidence(row: Row) -> str:
    """Return the confidence as a percentage, or a dash if the picture is not a digit."""
    return _percent(row.confidence) if isinstance(row, Prediction) and row.is_digit and not row.is_blank else "–"


def _percent(probability: float) -> str:
    return f">{SURE:.1%}" if probability > SURE else f"{probability:.1%}"


def _name(item: Input) -> str:
    """Return a file's name, escaped and isolated from the text direction around it."""
    return f"<bdi>{escape(item.name)}</bdi>" if item.name else ""


def _sentence(problem: Problem) -> str:
    """Return a sentence for people: a fixed one for common problems, else the problem's detail."""
    detail = problem.detail
    return _SENTENCES.get(problem.type.slug, f"{detail[:1].upper()}{detail[1:]}.")


def _picture(prediction: Prediction) -> str:
    """Return the 28×28 pixels that the network saw, as a data URL with dark ink on white."""
    file = BytesIO()
    Image.fromarray(np.rint(255 - 255 * prediction.image).astype(np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"

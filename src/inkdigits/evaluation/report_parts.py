"""The parts that a report's page is put together from: numbers in words, tables, figures, pictures as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

from inkdigits.evaluation.charts import Axis

__all__ = [
    "count",
    "facts",
    "figure",
    "fold",
    "heat",
    "link",
    "micro",
    "percent",
    "picture",
    "scale",
    "section",
    "table",
]

PICTURE_SIDE = 168  # pixels, that pictures are reduced to; twice what they are shown with
SMALL = 64  # pixels; smaller pictures are shown enlarged, and with the edges of their pixels

_KILO = 1000


def percent(share: float, digits: int = 2) -> str:
    """``0.9954`` → ``99.54%``. What is not quite all never rounds to 100%, what is not quite nothing never to 0%."""
    text = f"{share:.{digits}%}"
    step = 10.0**-digits
    if share < 1 and text == f"{1:.{digits}%}":
        return f"&gt;{100 - step:.{digits}f}%"
    if share > 0 and text == f"{0:.{digits}%}":
        return f"&lt;{step:.{digits}f}%"
    return text.replace(f".{'0' * digits}%", "%") if share in (0, 1) else text


def count(n: int, noun: str = "", nouns: str = "") -> str:
    """``1 image``, ``10,000 images``."""
    if not noun:
        return f"{n:,}"
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def micro(us: float) -> str:
    """Microseconds as ``83 µs`` or ``1.24 ms``."""
    return f"{us:.0f} µs" if us < _KILO else f"{us / _KILO:.2f} ms"


def heat(value: float) -> str:
    """Attributes of a cell that is coloured by ``value``, 0 to 1."""
    return f' class="heat" style="--heat:{min(max(value, 0), 1):.3f}"' if value > 0 else ""


def link(text: str) -> str:
    """A name for an anchor: lower-case letters and dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def section(title: str, lead: str, *content: str) -> str:
    """A section with its heading, a paragraph that says what is to be seen, and the rest."""
    name = link(title)
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2><p class="lead">{lead}</p>'
        f"{''.join(content)}</section>"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, kind: str = "", quiet: bool = False
) -> str:
    """A table whose first column names its rows. Cells are HTML; one that begins with ``<td`` is taken as it is.

    A ``quiet`` caption is for those who do not see the heading above the table.
    """
    unseen = ' class="unseen"' if quiet else ""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="{kind}">'
        f"<caption{unseen}>{caption}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[str]) -> str:
    first, *rest = row
    return f'<th scope="row">{first}</th>' + "".join(
        cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in rest
    )


def facts(rows: Iterable[Sequence[str]], *, caption: str) -> str:
    """A table of two columns, what and how much, without a head."""
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f'<table class="facts"><caption class="unseen">{caption}</caption><tbody>{body}</tbody></table>'


def scale(axis: Axis) -> str:
    """The ends of an axis, as the head of a column of small charts."""
    return f'<span class="scale"><span>{axis.text(axis.low)}</span> <span>{axis.text(axis.high)}</span></span>'


def figure(chart: str, caption: str, numbers: str = "") -> str:
    """A chart, what is to be seen in it, and the numbers behind it."""
    return (
        f"<figure>{chart}<figcaption>{caption}</figcaption>{fold('The numbers', numbers) if numbers else ''}</figure>"
    )


def fold(summary: str, content: str) -> str:
    """What is there for who asks; printed, it is all there."""
    return f"<details><summary>{summary}</summary>{content}</details>"


def picture_url(pixels: np.ndarray | Image.Image, side: int = PICTURE_SIDE) -> str:
    """A picture as a PNG in a data URL, reduced to at most ``side`` pixels a side; never enlarged."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def picture(pixels: np.ndarray | Image.Image, alt: str, *, side: int = PICTURE_SIDE, kind: str = "") -> str:
    """An ``img`` element of a picture; small ones are shown with the edges of their pixels."""
    size = pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]
    kinds = " ".join(filter(None, [kind, "pixels" if max(size) <= SMALL else ""]))
    return f'<img src="{picture_url(pixels, side)}" alt="{escape(alt)}" class="{kinds}">'

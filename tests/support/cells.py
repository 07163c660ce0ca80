"""Printed cells with digits in them: drawn flat, and then as a phone would photograph them."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from inkdigits.synthesis.fonts import rendered
from inkdigits.synthesis.strokes import draw, place

from support.drawings import DIGITS

RULE, DIGIT, PAPER = 90, 40, 235  # grey levels


def drawn(text, height, pen=None):
    """Ink of digits drawn by hand, (h, w) uint8, ink 255 on paper 0, with ``height`` pixels from top to bottom."""
    pen = pen or max(2.0, 0.11 * height)
    strokes, x = [], pen
    for character in text:
        one = place(DIGITS[int(character)], height - pen, (0.0, 0.0))
        points = np.concatenate(one)
        strokes += [stroke - [points[:, 0].min() - x, -pen / 2] for stroke in one]
        x += np.ptp(points[:, 0]) + 0.3 * height
    return 255 - draw(strokes, int(x - 0.3 * height + pen) + 1, int(height) + 2, pen=pen, paper=255, ink=0)


def printed(text, height, font=("font_source_sans_pro", "SourceSansPro-Regular.ttf")):
    """Ink of digits in a font, as :func:`drawn`."""
    ink = Image.fromarray(rendered(text, *font))
    return np.asarray(ink.resize((max(1, round(ink.width * height / ink.height)), round(height)), Image.Resampling.BOX))


def page(width, height):
    return np.full((height, width), PAPER, np.uint8)


def put(picture, ink, center, level=DIGIT):
    """Put ink on a picture, its middle at (x, y)."""
    h, w = ink.shape
    x, y = round(center[0] - w / 2), round(center[1] - h / 2)
    part = picture[y : y + h, x : x + w]
    part[:] = np.minimum(part, (PAPER - (PAPER - level) * (ink / 255.0)).astype(np.uint8))


def table(rows, *, widths=None, height=64, ink=drawn, size=0.55, thick=0, margin=70, gaps=None, broken=0.0, seed=0):
    """Draw rules with texts between them, "" for an empty cell: a table, a sudoku, a field of boxes.

    Args:
        rows: rows of texts.
        widths: pixels of each column; None: square cells.
        ink: draws a text, as :func:`drawn` and :func:`printed` do; or a function of row and column that returns one.
        thick: every so many rules is thicker; 0: none.
        gaps: pixels between boxes, each with rules of its own.
        broken: share of the rules that is missing.
    """
    rng = np.random.default_rng(seed)
    widths = widths or [height] * len(rows[0])
    xs = margin + np.concatenate([[0], np.cumsum(np.array(widths) + (gaps or 0))])
    ys = margin + height * np.arange(len(rows) + 1)
    picture = page(int(xs[-1]) + margin, int(ys[-1]) + margin)
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    if gaps:
        for y0, y1 in pairwise(ys):
            for x0, width in zip(xs[:-1], widths, strict=True):
                pen.rectangle((int(x0), int(y0), int(x0 + width), int(y1)), outline=RULE, width=2)
    else:
        for k, y in enumerate(ys):
            pen.line((int(xs[0]), int(y), int(xs[-1]), int(y)), fill=RULE, width=4 if thick and k % thick == 0 else 2)
        for k, x in enumerate(xs):
            pen.line((int(x), int(ys[0]), int(x), int(ys[-1])), fill=RULE, width=4 if thick and k % thick == 0 else 2)
    for _ in range(round(broken * (len(xs) + len(ys)) * 4)):
        x, y = rng.uniform(xs[0], xs[-1]), rng.uniform(ys[0], ys[-1])
        pen.rectangle((x - 6, y - 6, x + 6, y + 6), fill=PAPER)
    picture = np.asarray(image).copy()
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            if text:
                how = ink(i, j) if isinstance(ink, Mixed) else ink
                put(picture, how(text, size * height), (xs[j] + widths[j] / 2, ys[i] + height / 2))
    return picture


class Mixed:
    """Digits of several kinds, one in each cell."""

    def __init__(self, *kinds):
        self.kinds = kinds

    def __call__(self, row, column):
        return self.kinds[(2 * row + column) % len(self.kinds)]


def photographed(picture, *, tilt=0.0, turn=0.0, shade=0.0, noise=0.0, blur=0.0, seed=0):
    """Photograph a picture: from the side, turned, in uneven light, with noise, out of focus.

    Args:
        tilt: share of the width by which the upper edge is shorter.
        turn: degrees.
        shade: share of the light that is missing in one corner.
        noise: grey levels, a standard deviation.
        blur: pixels, a standard deviation.
    """
    rng = np.random.default_rng(seed)
    h, w = picture.shape
    corners = np.array([[0.0, 0.0], [w, 0], [w, h], [0, h]])
    seen = corners.copy()
    seen[0, 0] += tilt * w / 2
    seen[1, 0] -= tilt * w / 2
    seen[1, 1] += tilt * h / 3
    angle = np.deg2rad(turn)
    middle = corners.mean(axis=0)
    seen = (seen - middle) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 0.92 + middle
    image = Image.fromarray(picture).transform(
        (w, h), Image.Transform.PERSPECTIVE, _coefficients(seen, corners), Image.Resampling.BICUBIC, fillcolor=PAPER
    )
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    y, x = np.mgrid[0:h, 0:w]
    light = 1 - shade * (x / w + y / h) / 2
    return np.clip(np.asarray(image, float) * light + rng.normal(0, noise, (h, w)), 0, 255).astype(np.uint8)


def _coefficients(seen, corners):
    """Return the eight numbers of the perspective that maps what is seen to the corners."""
    rows = []
    for (x, y), (u, v) in zip(seen, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), corners.ravel())

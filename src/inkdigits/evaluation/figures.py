"""Figures of evaluations, data sets and images for notebooks; the report uses the reliability diagram, too."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from statistics import median

import numpy as np
from PIL import Image

from inkdigits.data.dataset import CLASSES
from inkdigits.evaluation.charts import GAP, Axis, Drawing, Plot, sheet, svg_file
from inkdigits.evaluation.evaluate import BINS, BLANK, Evaluation, calibration_bins, calibration_error, wilson

__all__ = [
    *("averages", "balance", "calibration", "confusion", "data_url", "gallery"),
    *("reliability", "scatter", "trade"),
]

WIDE = 720  # width of a gallery
COLORS = 96  # of an image in it: a quarter of the bytes without a visible difference
FEW = 5  # mistakes of a kind; smaller maxima do not get the strongest color
_PAPER, _INK, _AGAINST, _FOR = ((252, 250, 245), (27, 35, 51), (61, 106, 138), (176, 49, 29))  # colors of images


def reliability(confidences: np.ndarray, right: np.ndarray) -> Plot:
    """Plot accuracy against confidence, with 95% intervals; a calibrated model is on the diagonal.

    Args:
        confidences: (N,) in [0, 1].
        right: (N,) bool.
    """
    plot = Plot(
        "Reliability diagram",
        f"Share of right answers against confidence in {BINS} bins. The calibration error, the mean distance from the "
        f"diagonal, is {calibration_error(confidences, right):.2%}.",
        Axis.percent(0, 1, "confidence"),
        Axis.percent(0, 1, "share of answers that are right"),
        name="reliability",
    )
    plot.line([(0, 0), (1, 1)], "ideal")
    bins = [each for each in calibration_bins(confidences, right) if each.n]
    plot.points((each.confidence, each.accuracy, *wilson(round(each.accuracy * each.n), each.n)) for each in bins)
    return plot


def calibration(found: Evaluation) -> Drawing:
    """Draw the reliability diagram as an SVG file."""
    return sheet(f"Calibration error {found.calibration_error:.2%}", [reliability(found.confidences, found.right)])


def confusion(found: Evaluation) -> Drawing:
    """Draw the confusion matrix: right answers in bold, mistakes in red."""
    matrix = found.confusion if found.confusion[:, BLANK].any() else found.confusion[:, :BLANK]
    side, left, top = 44, 66, 76
    most = max(FEW, *(int(n) for (row, column), n in np.ndenumerate(matrix) if row != column))
    parts = []
    for (row, column), n in np.ndenumerate(matrix):
        x, y = left + side * column, top + side * row
        if n and row != column:
            parts.append(
                f'<rect class="column" x="{x}" y="{y}" width="{side - 2}" height="{side - 2}" '
                f'fill-opacity="{0.6 * (min(n / most, 1)) ** 0.5:.3f}"/>'
            )
        kind = "label bold" if row == column else "label" if n else ""
        middle = f'x="{x + side / 2 - 1}" y="{y + side / 2 + 3}" text-anchor="middle"'
        parts.append(f'<text class="{kind}" {middle}>{f"{n:,}" if n else "·"}</text>')
    for i, head in enumerate([*map(str, range(CLASSES)), "blank"][: matrix.shape[1]]):
        parts.append(f'<text x="{left + side * (i + 0.5) - 1}" y="{top - 8}" text-anchor="middle">{head}</text>')
    for digit in range(CLASSES):
        parts.append(f'<text x="{left - 10}" y="{top + side * (digit + 0.5) + 3}" text-anchor="end">{digit}</text>')
    parts.append(f'<text x="{GAP}" y="{top - 8}">label</text><text x="{left}" y="{top - 26}">read as</text>')
    title = f"{found.model} on {found.dataset}: {found.accuracy:.2%} of {found.n:,} right"
    return svg_file(
        title, left + side * matrix.shape[1] + GAP, top + side * CLASSES + 20, parts, "The confusion matrix."
    )


def balance(labels: np.ndarray) -> Drawing:
    """Draw the number of images of each digit, and their mean as a dashed line.

    Args:
        labels: (N,) from 0 to 9.
    """
    counts = np.bincount(labels, minlength=CLASSES).tolist()
    even = len(labels) / CLASSES
    x = Axis(-0.5, CLASSES - 0.5, range(CLASSES), lambda digit: f"{digit:.0f}", "digit")
    about = ", ".join(f"{digit}: {n:,}" for digit, n in enumerate(counts))
    plot = Plot("Images by digit", about, x, Axis.count(0, max(counts), "images"), name="balance")
    plot.columns((digit - 0.35, digit + 0.35, n) for digit, n in enumerate(counts))
    plot.line([(x.low, even), (x.high, even)], "ideal")
    return sheet(f"{len(labels):,} images", [plot])


def averages(images: np.ndarray, labels: np.ndarray) -> Drawing:
    """Draw the mean and the standard deviation of each digit's images.

    Args:
        images: (N, 28, 28) uint8, ink 255.
        labels: (N,) from 0 to 9, each at least once.
    """
    shares = [images[labels == digit].astype(np.float32) / 255 for digit in range(CLASSES)]
    means, deviations = ([of(share, axis=0) for share in shares] for of in (np.mean, np.std))
    most = max(float(each.max()) for each in deviations)
    tiles = [_blend(each, _INK) for each in means] + [_blend(each / most, _FOR) for each in deviations]
    return _tiles("Mean of each digit, and standard deviation", tiles, [], CLASSES)


def gallery(
    images: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    columns: int = 10,
    *,
    why: Sequence[np.ndarray] = (),
    title: str = "",
) -> Drawing:
    """Draw images in rows, with titles under them.

    Args:
        images: each (H, W), uint8 with ink 255 or float with ink 1.
        titles: text under each image, of one or more lines; empty: none.
        columns: images per row.
        why: for each (28, 28) image its explanation, in [-1, 1], drawn over it: red for the answer, blue against it.
        title: title above them.
    """
    tiles = []
    for at, image in enumerate(images):
        tile = _blend(image / (255 if image.dtype == np.uint8 else 1) * (0.3 if len(why) else 1), _INK)
        if len(why):
            share = np.abs(why[at])[..., None]
            tile = tile * (1 - share) + np.where(why[at][..., None] > 0, _FOR, _AGAINST) * share
        tiles.append(tile)
    return _tiles(title, tiles, titles, columns)


def scatter(points: np.ndarray, labels: np.ndarray, title: str) -> Drawing:
    """Draw an embedding of images: each a point in the color of its digit, and each digit at the median of its points.

    Args:
        points: (N, 2).
        labels: (N,) from 0 to 9.
        title: title above it.
    """
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    places = GAP + (points - low) / np.maximum(span, 1e-9) * (WIDE - 2 * GAP, WIDE * 0.7 - 2 * GAP) + (0, GAP)
    parts = [
        f'<circle class="f{label}" cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill-opacity="0.65"/>'
        for (x, y), label in zip(places.tolist(), labels.tolist(), strict=True)
    ]
    for digit in np.unique(labels).tolist():
        x, y = (median(values) for values in places[labels == digit].T.tolist())
        parts.append(
            f'<circle class="paper s{digit}" cx="{x:.1f}" cy="{y:.1f}" r="12" stroke-width="1.5"/>'
            f'<text class="head" x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle">{digit}</text>'
        )
    return svg_file(title, WIDE, WIDE * 0.7 + GAP, parts, title)


def trade(values: Sequence[float], accuracies: Sequence[float], name: str, *, log: bool = False) -> Drawing:
    """Draw validation accuracy against the value of one searched option, a point per trial.

    Args:
        values: of the option.
        accuracies: 0 to 1, of the same trials.
        name: of the option.
        log: whether the scale is logarithmic.
    """
    ends = min(values), max(values)
    x = Axis.logarithmic(*ends, lambda value: f"{value:g}", name) if log else Axis.linear(*ends, name)
    y = Axis.percent(min(accuracies), max(accuracies), "validation accuracy")
    plot = Plot(f"Accuracy by {name}", f"{len(values)} trials.", x, y, name="trade")
    plot.points((value, right, right, right) for value, right in zip(values, accuracies, strict=True))
    return sheet(f"{len(values)} trials", [plot])


def data_url(image: Image.Image) -> str:
    """Return an image as a PNG in a data URL."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _blend(shares: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Blend a color over paper by each pixel's share: (H, W) to (H, W, 3)."""
    blended: np.ndarray = np.array(_PAPER) + shares[..., None] * (np.array(color) - _PAPER)
    return blended


def _tiles(title: str, tiles: Sequence[np.ndarray], titles: Sequence[str], columns: int) -> Drawing:
    """Make an SVG file of images, (H, W, 3) from 0 to 255, in rows."""
    gap, line = 6, 15
    side = (WIDE - 2 * GAP + gap) / columns - gap
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    top, step = 46 if title else GAP, side + gap + line * lines + 4 * bool(lines)
    parts = []
    for at, tile in enumerate(tiles):
        x, y = GAP + at % columns * (side + gap), top + at // columns * step
        url = data_url(Image.fromarray(np.rint(tile).astype(np.uint8)).quantize(COLORS))
        parts.append(
            f'<image style="image-rendering:pixelated" x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" href="{url}"/>'
        )
        for i, text in enumerate(titles[at].split("\n") if titles else ()):
            middle = f'x="{x + side / 2:.1f}" y="{y + side + line * (i + 1):.1f}" text-anchor="middle"'
            parts.append(f"<text {middle}>{escape(text)}</text>")
    return svg_file(title, WIDE, top + step * -(-len(tiles) // columns) + 12, parts, title)

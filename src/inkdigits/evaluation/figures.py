"""Figures for notebooks: digits, classes, maps, confusion and calibration, drawn with matplotlib as PNG.

What a notebook shows is computed by the library; what it looks like is settled here, once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from inkdigits.data.catalog import describe
from inkdigits.data.dataset import CLASSES
from inkdigits.evaluation.evaluate import BLANK, Evaluation, calibration_bins
from inkdigits.settings import Settings

__all__ = [
    "Picture",
    "averages",
    "balance",
    "calibration",
    "confusion",
    "data_at_hand",
    "gallery",
    "scatter",
    "trade",
]

KAGGLE = Path("/kaggle/input")  # where Kaggle attaches data sets
DPI = 80  # pixels an inch
COLOURS = 96  # of a picture: a quarter of the bytes, and no difference to be seen
WIDTH = 9.0  # inches
FEW = 5  # mistakes of a kind, which are not drawn as if they were many
PAPER, INK, SOFT, LINE, ACCENT, SECOND = "#fcfaf5", "#1b2333", "#5a5f6d", "#e0d8c8", "#b0311d", "#3d6a8a"
STYLE: dict[Any, object] = {  # Matplotlib has a type for its keys, of its newest versions
    "axes.edgecolor": SOFT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "figure.facecolor": PAPER,
    "figure.titlesize": 12,
    "font.size": 9,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
INKED = LinearSegmentedColormap.from_list("ink", [PAPER, INK])
HEAT = LinearSegmentedColormap.from_list("heat", [PAPER, "#e9a48f", ACCENT])
FOR_AND_AGAINST = LinearSegmentedColormap.from_list("why", [SECOND, PAPER, ACCENT])


class Picture:
    """A drawn figure, which a notebook shows.

    Attributes:
        png: the file's bytes.
    """

    def __init__(self, figure: Figure) -> None:
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        out = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(COLOURS).save(out, "PNG", optimize=True)
        self.png = out.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png


def data_at_hand(settings: Settings) -> str:
    """What to train on without a download: Kaggle's ``train.csv`` where that is attached, MNIST where it is, or the
    digits inside scikit-learn; a value for the option ``data``.
    """
    for table in sorted(KAGGLE.glob("**/train.csv")):
        with table.open(encoding="utf-8") as file:
            if file.readline().startswith("label,pixel0"):
                return str(table)
    return next(
        (source.name for source in describe(settings) if source.name == "mnist" and source.state == "ready"), "digits"
    )


def balance(labels: np.ndarray) -> Picture:
    """How many images there are of each digit.

    Args:
        labels: (N,) from 0 to 9.
    """
    counts = np.bincount(labels, minlength=CLASSES)
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.0)
        bars = axes.bar(range(CLASSES), counts, color=ACCENT, width=0.7)
        axes.bar_label(bars, [f"{n:,}" for n in counts], label_type="center", color=PAPER)
        axes.axhline(len(labels) / CLASSES, color=SECOND, linewidth=1, linestyle="--")
        axes.annotate(
            "even", (CLASSES, len(labels) / CLASSES), (0, 3), textcoords="offset points", color=SECOND, ha="right"
        )
        axes.set(xticks=range(CLASSES), xlabel="digit", ylabel="images", xlim=(-0.6, CLASSES))
        axes.set_title(f"{len(labels):,} images", loc="left")
        return Picture(figure)


def averages(images: np.ndarray, labels: np.ndarray) -> Picture:
    """The mean of each digit's images, and where they differ from each other: their standard deviation.

    Args:
        images: (N, 28, 28) uint8, ink 255.
        labels: (N,) from 0 to 9, each at least once.
    """
    shares = images.astype(np.float32) / 255
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
        maps: tuple[tuple[str, Callable[..., np.ndarray], Colormap], ...] = (
            ("mean", np.mean, INKED),
            ("deviation", np.std, HEAT),
        )
        for row, (name, of, colours) in enumerate(maps):
            for digit in range(CLASSES):
                axes = figure.add_subplot(2, CLASSES, row * CLASSES + digit + 1)
                axes.imshow(of(shares[labels == digit], axis=0), cmap=colours)
                _bare(axes)
                if digit == 0:
                    axes.set_ylabel(name)
        return Picture(figure)


def gallery(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 10, *, why: Sequence[np.ndarray] = ()
) -> Picture:
    """Images in rows, with a line or two under each.

    Args:
        images: each (H, W), uint8 with ink 255 or float with ink 1.
        titles: what stands under each; empty: nothing.
        columns: images a row.
        why: for each (28, 28) an explanation of that shape in [-1, 1], laid over it: red for the answer, blue against.
    """
    rows = max(1, -(-len(images) // columns))
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    with matplotlib.rc_context(STYLE):
        side = WIDTH / columns
        figure = Figure(figsize=(WIDTH, rows * (side + 0.17 * lines) + 0.1), layout="constrained")
        for at, image in enumerate(images):
            axes = figure.add_subplot(rows, columns, at + 1)
            full = 255 if image.dtype == np.uint8 else 1
            axes.imshow(image, cmap=INKED, vmin=0, vmax=full, alpha=0.3 if len(why) else 1.0)
            if len(why):
                axes.imshow(why[at], cmap=FOR_AND_AGAINST, vmin=-1, vmax=1, alpha=np.abs(why[at]))
            _bare(axes)
            if titles:
                axes.set_xlabel(titles[at], fontsize=8)
        return Picture(figure)


def scatter(points: np.ndarray, labels: np.ndarray, title: str) -> Picture:
    """A map of images in the plane: each a point in the colour of its digit, and the digit where most of them are.

    Args:
        points: (N, 2).
        labels: (N,) from 0 to 9.
        title: stands above it.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(6.0)
        colours = matplotlib.colormaps["tab10"]
        axes.scatter(points[:, 0], points[:, 1], s=7, c=[colours(label) for label in labels], alpha=0.65, linewidths=0)
        for digit in np.unique(labels):
            x, y = np.median(points[labels == digit], axis=0)
            place = {"boxstyle": "circle,pad=0.25", "facecolor": PAPER, "edgecolor": colours(digit)}
            axes.text(x, y, str(digit), fontsize=12, ha="center", va="center", bbox=place)
        _bare(axes)
        axes.set_title(title, loc="left")
        return Picture(figure)


def confusion(found: Evaluation) -> Picture:
    """The confusion matrix: what was read right in ink, mistakes in red, each with its count."""
    matrix = found.confusion if found.confusion[:, BLANK].any() else found.confusion[:, :BLANK]
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.62 * WIDTH, 0.58 * WIDTH), layout="constrained")
        axes = figure.subplots()
        axes.imshow(wrong, cmap=HEAT, vmin=0, vmax=max(FEW, wrong.max()))
        for (row, column), n in np.ndenumerate(matrix):
            strong = row != column and n > 0.6 * max(FEW, wrong.max())
            axes.text(
                column,
                row,
                f"{n:,}" if n else "·",
                ha="center",
                va="center",
                color=PAPER if strong else INK if n else LINE,
                fontweight="bold" if row == column else "normal",
            )
        heads = [*map(str, range(CLASSES)), "blank"][: matrix.shape[1]]
        axes.set(xticks=range(len(heads)), xticklabels=heads, yticks=range(CLASSES), xlabel="read as", ylabel="label")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{found.model} on {found.dataset}: {found.accuracy:.2%} of {found.n:,} right", loc="left")
        return Picture(figure)


def calibration(found: Evaluation) -> Picture:
    """How often answers of some confidence are right; on the line a confidence means what it says."""
    bins = [each for each in calibration_bins(found.confidences, found.right) if each.n]
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.6, share=0.62)
        axes.plot([0, 1], [0, 1], color=SECOND, linewidth=1, linestyle="--")
        sizes = [12 + 220 * each.n / found.n for each in bins]
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], s=sizes, color=ACCENT, alpha=0.8)
        axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1.03), ylim=(-0.03, 1.05))
        axes.set_title(f"calibration error {found.calibration_error:.2%}; size: how many answers", loc="left")
        return Picture(figure)


def trade(values: Sequence[float], accuracies: Sequence[float], name: str, *, log: bool = False) -> Picture:
    """What one searched option does: validation accuracy by its value, a point for each trial.

    Args:
        values: of the option.
        accuracies: 0 to 1, of the same trials.
        name: of the option.
        log: on a logarithmic scale.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.2, share=0.62)
        axes.scatter(values, [100 * accuracy for accuracy in accuracies], color=ACCENT, s=22)
        axes.set(xlabel=name, ylabel="validation accuracy, %", xscale="log" if log else "linear")
        axes.grid(axis="y", color=LINE)
        axes.set_axisbelow(True)
        return Picture(figure)


def _figure(height: float, share: float = 1.0) -> tuple[Figure, matplotlib.axes.Axes]:
    figure = Figure(figsize=(share * WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _bare(axes: matplotlib.axes.Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)

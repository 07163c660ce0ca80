"""The results of a comparison: a table as Markdown, CSV and text, all figures as JSON, and a plot as SVG."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from inkdigits.atomic import write_atomically
from inkdigits.evaluation.charts import svg_file
from inkdigits.evaluation.latency import environment
from inkdigits.training.runs import aligned

__all__ = ["Cell", "Comparison", "Mean", "Row"]

TICKS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # accuracies that get a tick on an axis
WIDTH, ROW, TOP, BOTTOM = 760, 40, 78, 44  # of the plot, in pixels
NAMES, FIGURES = 168, 120  # pixels for the names at the left, at least, and the figures at the right
LETTER, MARGIN = 8, 24  # pixels per letter of a name, and around the name


@dataclass(frozen=True)
class Cell:
    """One model with one seed.

    Attributes:
        model: its name.
        seed: of its training.
        config: every option of its training.
        validation: accuracy on the validation images, 0 to 1; None if it may have been trained on them.
        tests: (n, accuracy) by data set, measured once after training.
        parameters: learned or stored numbers; None if unknown.
        bytes: of its file, or of what it keeps.
        seconds: of training; None if unknown.
        network_us: median µs on one image, one thread, without preprocessing.
    """

    model: str
    seed: int
    config: dict[str, Any]
    validation: float | None
    tests: dict[str, tuple[int, float]]
    parameters: int | None
    bytes: int
    seconds: float | None
    network_us: float


@dataclass(frozen=True)
class Mean:
    """Mean, sample standard deviation (None for a single value) and number of values over seeds."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Compute the mean of at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def percent(self) -> str:
        """Format as text, such as ``99.24 ± 0.05``."""
        return f"{self.mean * 100:.2f}" + ("" if self.sd is None else f" ± {self.sd * 100:.2f}")


@dataclass(frozen=True)
class Row:
    """One model over its seeds; ``gain`` is the difference of the first test's mean to the previous row, if any."""

    model: str
    about: str
    validation: Mean | None
    tests: dict[str, Mean]
    gain: float | None
    parameters: int | None
    bytes: int
    seconds: float | None
    network_us: float


class Comparison:
    """The rows of a comparison, and the formats to write them in.

    Args:
        data: data sets of training and tests.
        cells: all cells, in the order of the models.
        about: description of each model, by name.
    """

    def __init__(self, data: str, cells: Sequence[Cell], about: Mapping[str, str]) -> None:
        self.data, self.cells = data, list(cells)
        self._names = _names(list(dict.fromkeys(cell.model for cell in cells)))
        self.rows: list[Row] = []
        for name in dict.fromkeys(cell.model for cell in cells):
            self.rows.append(self._row(name, about[name]))

    def write(self, path: Path) -> None:
        """Write ``path.md``, ``.csv``, ``.json`` and ``.svg``, each atomically.

        Raises:
            TrainingError: a file cannot be written.
        """
        for suffix, text in (
            (".md", self.markdown(f"{path.name}.svg")),
            (".csv", self.csv()),
            (".json", json.dumps(self.to_dict(), indent=2) + "\n"),
            (".svg", self.svg()),
        ):
            write_atomically(path.with_name(path.name + suffix), text.encode())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "data": self.data,
            "rows": [asdict(row) for row in self.rows],
            "cells": [asdict(cell) for cell in self.cells],
            "environment": environment(),
        }

    def csv(self) -> str:
        """Return CSV with a row per model; shares are from 0 to 1."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        tests = self._tests()
        figures = [f"{data}_{figure}" for data in ("validation", *(f"test_{t}" for t in tests)) for figure in _FIGURES]
        table.writerow(["model", *figures, "gain", "parameters", "bytes", "train_seconds", "network_us", "about"])
        for row in self.rows:
            means = [row.validation, *(row.tests.get(test) for test in tests)]
            values = [value for mean in means for value in ((mean.mean, mean.sd, mean.n) if mean else ("", "", ""))]
            table.writerow(
                [row.model, *values, row.gain, row.parameters, row.bytes, row.seconds, row.network_us, row.about]
            )
        return out.getvalue()

    def markdown(self, plot: str) -> str:
        """Return the table with its notes as Markdown, and a link to the plot, a file in the same folder."""
        heads, rows = self._table()
        lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 2) + "---|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        title = f"# Models compared on {self.data}"
        return f"{title}\n\n" + "\n".join(lines) + f"\n\n![Accuracy of each]({plot})\n\n{self._notes()}\n"

    def text(self) -> str:
        """Return the table for a terminal."""
        heads, rows = self._table()
        table = [row[:-1] for row in (heads, *rows)]  # without the descriptions, which would not fit
        return aligned(table, right=range(1, len(table[0])))

    def svg(self) -> str:
        """Draw the accuracy on the first test, ± one standard deviation, on a logarithmic scale of the errors."""
        [test] = self._tests()[:1]
        means = [row.tests[test] for row in self.rows]
        ends = [m.mean + d * (m.sd or 0) for m in means for d in (-1, 1)]
        ends += [row.validation.mean for row in self.rows if row.validation]
        low, high = _ends(min(ends), max(ends))
        names = [self._names[row.model] for row in self.rows]
        left = max(NAMES, LETTER * max(map(len, names)) + MARGIN)
        width = WIDTH + left - NAMES
        right = width - FIGURES
        floor = TOP + ROW * len(self.rows)

        def x(accuracy: float) -> float:
            share = math.log(_error(low) / _error(accuracy)) / math.log(_error(low) / _error(high))
            return left + min(max(share, 0.0), 1.0) * (right - left)

        parts = [
            f'<circle class="mark" cx="{left + 6}" cy="54" r="5"/><text x="{left + 18}" y="58">test set</text>'
            f'<circle class="held" cx="{left + 106}" cy="54" r="4"/>'
            f'<text x="{left + 118}" y="58">validation images</text>'
        ]
        for tick in (t for t in TICKS if low <= t <= high):
            parts.append(f'<path class="grid" d="M{x(tick):.1f} {TOP}V{floor}"/>')
            parts.append(f'<text x="{x(tick):.1f}" y="{floor + 20}" text-anchor="middle">{tick * 100:.4g}</text>')
        parts.append(
            f'<text x="{(left + right) / 2}" y="{floor + 38}" text-anchor="middle">'
            "accuracy in %, logarithmic by the share of errors</text>"
        )
        for at, (name, row, mean) in enumerate(zip(names, self.rows, means, strict=True)):
            y = TOP + ROW * (at + 0.5)
            parts.append(f'<text class="label" x="{left - 14}" y="{y + 4.5}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
            if row.validation:
                parts.append(f'<circle class="held" cx="{x(row.validation.mean):.1f}" cy="{y}" r="4"/>')
            if mean.sd is not None:
                start, end = x(mean.mean - mean.sd), x(mean.mean + mean.sd)
                parts.append(f'<path class="whisker" d="M{start:.1f} {y}H{end:.1f}"/>')
            parts.append(f'<circle class="mark" cx="{x(mean.mean):.1f}" cy="{y}" r="5"/>')
            parts.append(f'<text class="label" x="{right + 16}" y="{y + 4.5}">{mean.percent()}</text>')
        about = "; ".join(f"{name} {mean.percent()}%" for name, mean in zip(names, means, strict=True))
        return svg_file(f"Accuracy of {len(self.rows)} models on {test}", width, floor + BOTTOM, parts, about)

    def _row(self, name: str, about: str) -> Row:
        cells = [cell for cell in self.cells if cell.model == name]
        tests = {test: Mean.of([cell.tests[test][1] for cell in cells]) for test in cells[0].tests}
        first = next(iter(tests.values())).mean
        before = next(iter(self.rows[-1].tests.values())).mean if self.rows else None
        held = [cell.validation for cell in cells if cell.validation is not None]
        seconds = [cell.seconds for cell in cells if cell.seconds is not None]
        return Row(
            model=name,
            about=about,
            validation=Mean.of(held) if held else None,
            tests=tests,
            gain=None if before is None else first - before,
            parameters=cells[0].parameters,
            bytes=cells[0].bytes,
            seconds=statistics.fmean(seconds) if seconds else None,
            network_us=statistics.median(cell.network_us for cell in cells),
        )

    def _tests(self) -> list[str]:
        return list(self.rows[0].tests)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        tests = self._tests()
        measured = ["test %" if len(tests) == 1 else f"{test} test %" for test in tests]
        heads = ["model", "n", "validation %", *measured, "gain", "parameters", "kB", "training s", "µs", "what it is"]
        rows = [
            [
                self._names[row.model],
                str(row.tests[tests[0]].n),
                row.validation.percent() if row.validation else "–",
                *(row.tests[test].percent() for test in tests),
                "" if row.gain is None else f"{row.gain * 100:+.2f}",
                "–" if row.parameters is None else f"{row.parameters:,}",
                f"{row.bytes / 1000:,.0f}",
                "–" if row.seconds is None else f"{row.seconds:,.0f}" if row.seconds >= 10 else f"{row.seconds:.1f}",
                f"{row.network_us:,.0f}",
                row.about,
            ]
            for row in self.rows
        ]
        return heads, rows

    def _notes(self) -> str:
        where = ", ".join(f"{name} {value}" for name, value in environment().items() if name != "processor")
        epochs = {cell.model: cell.config["epochs"] for cell in self.cells if "epochs" in cell.config}
        trained = ", ".join(f"{self._names[name]} {n}" for name, n in epochs.items())
        images = "; ".join(f"{test}: {n:,}" for test, (n, _) in self.cells[0].tests.items())
        return "\n".join(
            [
                "`n` is the number of seeds; figures are means over them, ± one standard deviation. All models were",
                "trained on the same images and selected by the same validation images. The test set was read once",
                f"for each, after its training ({images} images), and nothing was selected by it. `gain` is the",
                "difference of the test's mean to the previous row, in points. `kB` is the file, or for nearest",
                "neighbors the images that it keeps; `µs` is the model alone on one image with one thread, without",
                "preprocessing.",
                "",
                *([f"Epochs: {trained}."] if trained else []),
                f"Measured on {environment()['processor']} with {where}.",
            ]
        )


_FIGURES = ("mean", "sd", "n")


def _names(models: Sequence[str]) -> dict[str, str]:
    """Return the name to show for each model: a file's stem, with its path if several models have the same name."""
    short = {model: Path(model).stem if model.endswith(".onnx") else model for model in models}
    names = Counter(short.values())
    return {model: name if names[name] == 1 or name == model else f"{name} ({model})" for model, name in short.items()}


def _error(accuracy: float) -> float:
    return max(1 - accuracy, 1e-4)


def _ends(low: float, high: float) -> tuple[float, float]:
    """Return the nearest ticks outside the accuracies from ``low`` to ``high``."""
    below = max((tick for tick in TICKS if tick <= low), default=0.0)
    return below, min((tick for tick in TICKS if tick >= high and tick > below), default=1.0)

"""Find, list and compare recorded training runs. ``tracking`` writes what this module reads.

A run is a folder with ``run.json``, its record; ``config.toml``, for ``inkdigits train --config``; ``metrics.csv``, a
row per epoch; ``curves.svg``; and TensorBoard's event files.
"""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from inkdigits.errors import SettingError, TrainingError
from inkdigits.evaluation.charts import SERIES, Axis, Format, Plot, sheet
from inkdigits.training.config import TrainConfig

__all__ = ["Run", "aligned", "compared", "curves", "find", "find_all", "listed"]

RECORD, METRICS, CURVES, CONFIG = "run.json", "metrics.csv", "curves.svg", "config.toml"
EPOCHS_SHOWN = 12  # in the table of a comparison; the plot shows all
SMALLEST_ERROR = 1e-4  # in a plot, as a logarithmic scale cannot show 0


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes:
        folder: where it is.
        record: content of ``run.json``.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run in a folder.

        Raises:
            TrainingError: the folder holds no run, or its record is damaged.
        """
        path = folder / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, {**record, "config": TrainConfig.renamed(record.get("config", {}))})
        except OSError as error:
            raise TrainingError(f"cannot read {path}: {error.strerror}; is {folder} the folder of a run?") from None
        except (ValueError, TypeError, AttributeError):
            raise TrainingError(f"{path} is damaged; delete the folder to list the other runs") from None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def state(self) -> str:
        """State: running, finished, interrupted (its best epoch was exported), failed, or killed."""
        state = str(self.record.get("state"))
        return "killed" if state == "running" and not _lives(self.record) else state

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """The figures of each epoch, in order."""
        try:
            with (self.folder / METRICS).open(encoding="utf-8", newline="") as file:
                return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, OSError) as error:
            raise TrainingError(f"{self.folder / METRICS} is damaged ({error}); fix it or delete the folder") from None

    @property
    def validation(self) -> float | None:
        """Accuracy on the validation images, of the exported model or of the best epoch so far."""
        model = self.record.get("model")
        if model:
            return float(model["metrics"]["validation"]["accuracy"])
        return max((row["validation_accuracy"] for row in self.rows), default=None)

    @property
    def test(self) -> float | None:
        """Mean accuracy over the test sets, measured once after training; None before."""
        metrics = (self.record.get("model") or {}).get("metrics", {})
        tests = [figures["accuracy"] for name, figures in metrics.items() if name != "validation"]
        return sum(tests) / len(tests) if tests else None

    @property
    def seconds(self) -> float:
        """Duration of the training until now."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def curves(self) -> str:
        """Draw the learning curves as an SVG file."""
        return curves([self])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        summary = {"name": self.name, "folder": str(self.folder), "state": self.state}
        return {**self.record, **summary, "validation": self.validation, "test": self.test, "epochs": self.rows}


def find_all(folder: Path) -> list[Run]:
    """Return the runs in a folder, oldest first.

    Raises:
        TrainingError: a record is damaged.
    """
    return [Run.read(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]


def find(folder: Path, name: str) -> Run:
    """Find a run by its name, a unique part of its name, or the path of its folder.

    Raises:
        SettingError: no run matches, or several do.
        TrainingError: its record is damaged.
    """
    for path in (folder / name, Path(name)):
        if (path / RECORD).is_file():
            return Run.read(path)
    found = [path.parent for path in sorted(folder.glob(f"*/{RECORD}")) if name in path.parent.name]
    if len(found) == 1:
        return Run.read(found[0])
    if not found:
        raise SettingError(f"there is no run {name!r} in {folder}; inkdigits runs lists them")
    shown = ", ".join(path.name for path in found[:5])
    raise SettingError(f"{len(found)} runs in {folder} have {name!r} in their name: {shown}; give more of it")


def listed(runs: Sequence[Run], sort: str = "validation") -> str:
    """Format runs as a table.

    Args:
        runs: any.
        sort: one of config.SORTS; best accuracies first, smallest times first, unknown values last.
    """

    def key(run: Run) -> tuple[bool, Any]:
        value: Any = {"started": run.name}.get(sort) or getattr(run, sort)
        return value is None, value if sort in ("started", "seconds") or value is None else -value

    heads = ["run", "state", "data", "epochs", "validation %", "test %", "seconds", "model"]
    rows = [
        [
            run.name,
            run.state,
            str(run.record["config"].get("data", "")),
            f"{len(run.rows)}/{run.record['config'].get('epochs', '?')}",
            _percent(run.validation),
            _percent(run.test),
            f"{run.seconds:,.1f}",
            Path(str(run.record.get("out", ""))).name,
        ]
        for run in sorted(runs, key=key)
    ]
    return aligned([heads, *rows], right={3, 4, 5, 6})


def compared(runs: Sequence[Run]) -> str:
    """Format what differs between runs: options, data, code, environment and results; and their validation curves."""
    heads = ["", *(run.name for run in runs)]
    facts = [_facts(run) for run in runs]
    table = []
    for part in zip(*facts, strict=True):
        names = dict.fromkeys(name for each in part for name in each)
        table += [[name, *(each.get(name, "–") for each in part)] for name in names]
    differing = [row for row in table if len(set(row[1:])) > 1 or len(runs) == 1]
    last = max((len(run.rows) for run in runs), default=0)
    step = max(1, -(-last // EPOCHS_SHOWN))
    shown = [n for n in range(1, last + 1) if n % step == 0 or n in (1, last)]
    curve = [
        [str(n), *(_percent(run.rows[n - 1]["validation_accuracy"] if n <= len(run.rows) else None) for run in runs)]
        for n in shown
    ]
    parts = [aligned([heads, *differing])] if differing else [f"{' and '.join(heads[1:])} do not differ"]
    if curve:
        parts.append(f"validation %\n{aligned([['epoch', *heads[1:]], *curve], right=range(1, len(heads)))}")
    return "\n\n".join(parts)


def curves(runs: Sequence[Run]) -> str:
    """Draw learning curves as an SVG file: training and validation for one run, validation only for several.

    Raises:
        SettingError: there is no run with a finished epoch, or there are more than SERIES.
    """
    runs = [run for run in runs if run.rows]
    if not 0 < len(runs) <= SERIES:
        raise SettingError(f"learning curves need 1 to {SERIES} runs with a finished epoch, not {len(runs)}")
    if len(runs) == 1:
        [run] = runs
        title, legend = run.name, ["validation images", "training images, augmented"]
        errors = [_points(run, "validation_accuracy"), _points(run, "train_accuracy")]
        losses = [_points(run, "validation_loss"), _points(run, "train_loss")]
        what, of = "validation and training", "of validation and training"
    else:
        title, legend = f"{len(runs)} training runs", [run.name for run in runs]
        errors = [_points(run, "validation_accuracy") for run in runs]
        losses = [_points(run, "train_loss") for run in runs]
        what, of = "validation", "of training"
    errors = [[(epoch, max(1 - accuracy, SMALLEST_ERROR)) for epoch, accuracy in points] for points in errors]
    return sheet(
        title,
        [
            _plot(errors, "errors", f"share of errors, {what}", lambda share: f"{share * 100:g}%"),
            _plot(losses, "losses", f"cross-entropy {of}", lambda loss: f"{loss:g}"),
        ],
        legend,
    )


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Format rows of cells as lines of text with aligned columns; those in ``right`` are right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = set(right)
    return "\n".join(
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _points(run: Run, figure: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[figure]) for row in run.rows if figure in row]


def _plot(curves: Sequence[Sequence[tuple[float, float]]], name: str, label: str, text: Format) -> Plot:
    points = [point for curve in curves for point in curve]
    epochs, values = [x for x, _ in points], [y for _, y in points]
    x = Axis.count(int(min(epochs)), int(max(epochs)), "epoch")
    plot = Plot(
        label,
        f"By epoch, starting at {text(values[0])}.",
        x,
        Axis.logarithmic(min(values), max(values), text, label),
        name=name,
    )
    for i, curve in enumerate(curves):
        plot.line(curve, f"curve s{i}")
    return plot


def _facts(run: Run) -> tuple[dict[str, str], dict[str, str]]:
    """Return everything in which runs may differ, as text by name: the options, and the rest."""
    record, model = run.record, run.record.get("model") or {}
    best = model.get("training", {}).get("best_epoch")
    git = record.get("git") or {}
    changed = f" with {len(git.get('changed', []))} changed files" if git.get("changed") else ""
    metrics = model.get("metrics", {})
    return {name: str(value) for name, value in record["config"].items()}, {
        **{f"data {Path(name).name}": sha256[:12] for name, sha256 in record.get("data", {}).items()},
        **{name: str(value) for name, value in record.get("environment", {}).items()},
        "git": f"{git['commit'][:12]}{changed}" if git else "–",
        "started": str(record.get("started", "–")),
        "state": run.state + (f": {record['error']}" if record.get("error") else ""),
        "model": str(record.get("out", "–")),
        **({"warning": str(model["warning"])} if model.get("warning") else {}),
        "epochs done": str(len(run.rows)),
        "best epoch": "–" if best is None else str(best),
        "seconds": f"{run.seconds:,.1f}",
        "validation %": _percent(run.validation),
        **{f"{name} test %": _percent(each["accuracy"]) for name, each in metrics.items() if name != "validation"},
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.2f}"


def _lives(record: Mapping[str, Any]) -> bool:
    """Return whether the process of a recorded run exists; assume so if that cannot be determined."""
    if record.get("host") != platform.node() or os.name == "nt":
        return True
    try:
        os.kill(int(record["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError):
        return False
    except PermissionError:
        pass
    return True
